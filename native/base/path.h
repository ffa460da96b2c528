// Paths as text.
#ifndef DVDI_BASE_PATH_H_
#define DVDI_BASE_PATH_H_

#include <string>
#include <string_view>

namespace dvdi {

// Absolute, no empty, "." or ".." component, no trailing slash (but "/"), no NUL, valid UTF-8, shorter
// than PATH_MAX.
bool IsNormalPath(std::string_view path);
// The same path in that form ("//a/./b/" is "/a/b"); "" where it has none (relative, "..", NUL, …).
std::string NormalPath(std::string_view path);
// The same for a path inside a volume: relative, "" allowed. False where it has none.
bool NormalSubpath(std::string_view path, std::string* normal);
bool IsStrictlyBelow(std::string_view root, std::string_view path);
// "/a/b" -> "/a", "b". `path` is normal and not "/".
std::string ParentOf(const std::string& path);
std::string NameOf(const std::string& path);

}  // namespace dvdi

#endif  // DVDI_BASE_PATH_H_
