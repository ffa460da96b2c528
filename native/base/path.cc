#include "base/path.h"

#include <limits.h>

#include "base/text.h"

namespace dvdi {
namespace {

// Appends the components of `path` to *out, each after a slash. False for "..", NUL, bad UTF-8, length.
bool AppendComponents(std::string_view path, std::string* out) {
  if (path.size() >= PATH_MAX || path.find('\0') != std::string_view::npos || !IsValidUtf8(path))
    return false;
  while (!path.empty()) {
    size_t end = path.find('/');
    std::string_view part = path.substr(0, end);
    path.remove_prefix(end == std::string_view::npos ? path.size() : end + 1);
    if (part.empty() || part == ".") continue;
    if (part == ".." || part.size() > NAME_MAX) return false;
    *out += '/';
    *out += part;
  }
  return true;
}

}  // namespace

std::string NormalPath(std::string_view path) {
  std::string out;
  if (path.empty() || path[0] != '/' || !AppendComponents(path, &out)) return "";
  return out.empty() ? "/" : out;
}

bool IsNormalPath(std::string_view path) { return !path.empty() && NormalPath(path) == path; }

bool NormalSubpath(std::string_view path, std::string* normal) {
  std::string out;
  if ((!path.empty() && path[0] == '/') || !AppendComponents(path, &out)) return false;
  *normal = out.empty() ? "" : out.substr(1);
  return true;
}

bool IsStrictlyBelow(std::string_view root, std::string_view path) {
  if (root == "/") return path.size() > 1 && path[0] == '/';
  return path.size() > root.size() + 1 && path.starts_with(root) && path[root.size()] == '/';
}

std::string ParentOf(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace dvdi
