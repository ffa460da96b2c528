#include "driver/options.h"

#include "base/text.h"

namespace dvdi {
namespace {

constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB, kTiB = 1024 * kGiB;
constexpr int64_t kLargest = 64 * kTiB;
constexpr size_t kNameMax = 128;

bool IsAlnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string Quoted(std::string_view text) { return "'" + OneLine(text, 80) + "'"; }

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

}  // namespace

Status CheckName(std::string_view name, std::string_view what) {
  std::string w(what);
  const char* accepted =
      "1 to 128 of letters, digits, '_', '.' and '-', beginning with a letter, digit or '_'";
  if (name.empty()) return Status(Code::kInvalid, "the " + w + " is empty", accepted);
  if (name.size() > kNameMax)
    return Status(Code::kInvalid,
                  "the " + w + " " + Quoted(name) + " is " + std::to_string(name.size()) + " bytes long",
                  accepted);
  if (!IsAlnum(name[0]) && name[0] != '_')
    return Status(Code::kInvalid,
                  "the " + w + " " + Quoted(name) + " begins with " + Quoted(name.substr(0, 1)), accepted);
  for (char c : name)
    if (!IsAlnum(c) && c != '_' && c != '.' && c != '-')
      return Status(Code::kInvalid,
                    "the " + w + " " + Quoted(name) + " holds a character that is not allowed", accepted);
  return OkStatus();
}

Result<int64_t> ParseSize(std::string_view text) {
  Status wrong(
      Code::kInvalid, "size " + Quoted(text) + " is not understood",
      "give a whole number with k, m, g or t (powers of 1024), as 512m or 10g; without a unit it is GiB");
  size_t digits = 0;
  int64_t number = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (number > kLargest) break;
    number = number * 10 + (text[digits++] - '0');
  }
  if (digits == 0 ||
      (digits < text.size() && text[digits] >= '0' && text[digits] <= '9' && number <= kLargest))
    return wrong;
  Status large(Code::kInvalid, "size " + Quoted(text) + " is above 64 TiB",
               "a number without a unit counts GiB; give a unit, as 512m or 10g");
  if (number > kLargest) return large;
  std::string unit = Lower(text.substr(digits));
  int64_t factor = kGiB;
  if (!unit.empty()) {
    std::string tail = unit.substr(1);
    if (!tail.empty() && tail != "b" && tail != "ib") return wrong;
    switch (unit[0]) {
      case 'k': factor = kKiB; break;
      case 'm': factor = kMiB; break;
      case 'g': factor = kGiB; break;
      case 't': factor = kTiB; break;
      default: return wrong;
    }
  }
  if (number == 0) return Status(Code::kInvalid, "size " + Quoted(text) + " is zero", wrong.hint());
  if (number > kLargest / factor) return large;
  return number * factor;
}

std::string FormatSize(int64_t bytes) {
  struct {
    int64_t factor;
    const char* unit;
  } units[] = {{kTiB, " TiB"}, {kGiB, " GiB"}, {kMiB, " MiB"}, {kKiB, " KiB"}};
  for (const auto& u : units)
    if (bytes >= u.factor && bytes % u.factor == 0) return std::to_string(bytes / u.factor) + u.unit;
  return std::to_string(bytes) + " bytes";
}

const char* FilesystemName(Filesystem fs) { return fs == Filesystem::kXfs ? "xfs" : "ext4"; }

Result<Filesystem> ParseFilesystem(std::string_view text) {
  if (text == "ext4") return Filesystem::kExt4;
  if (text == "xfs") return Filesystem::kXfs;
  return Status(Code::kInvalid, "filesystem " + Quoted(text) + " is not known", "give ext4 or xfs");
}

int64_t SmallestSize(Filesystem fs) { return fs == Filesystem::kXfs ? 300 * kMiB : 8 * kMiB; }

Result<CreateOptions> ParseCreateOptions(const std::map<std::string, std::string>& opts) {
  CreateOptions out;
  for (const auto& [key, value] : opts) {
    if (key == "size") {
      DVDI_ASSIGN_OR_RETURN(out.size_bytes, ParseSize(value));
    } else if (key == "newfstype") {
      DVDI_ASSIGN_OR_RETURN(out.filesystem, ParseFilesystem(value));
    } else if (key == "overwritefs") {
      if (value != "true" && value != "false")
        return Status(Code::kInvalid, "option overwritefs is " + Quoted(value), "give true or false");
      out.overwrite = value == "true";
    } else {
      return Status(Code::kInvalid, "option " + Quoted(key) + " is not known",
                    "dvdi-driver takes size, newfstype (ext4, xfs) and overwritefs (true, false)");
    }
  }
  return out;
}

}  // namespace dvdi
