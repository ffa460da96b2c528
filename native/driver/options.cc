#include "driver/options.h"

#include <algorithm>

#include "base/text.h"

namespace dvdi {
namespace {

constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB, kTiB = 1024 * kGiB;
constexpr int64_t kMostPerSecond = int64_t{1} << 50;
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

Result<int64_t> ParseSize(std::string_view text, int64_t largest) {
  Status wrong(
      Code::kInvalid, "size " + Quoted(text) + " is not understood",
      "give a whole number with k, m, g or t (powers of 1024), as 512m or 10g; without a unit it is GiB");
  size_t digits = 0;
  int64_t number = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (number > largest) break;
    number = number * 10 + (text[digits++] - '0');
  }
  if (digits == 0 ||
      (digits < text.size() && text[digits] >= '0' && text[digits] <= '9' && number <= largest))
    return wrong;
  Status large(Code::kInvalid, "size " + Quoted(text) + " is above " + FormatSize(largest),
               "a number without a unit counts GiB; give a unit, as 512m or 10g");
  if (number > largest) return large;
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
  if (number > largest / factor) return large;
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

std::string RoundSize(int64_t bytes) {
  struct {
    int64_t factor;
    const char* unit;
  } units[] = {{kTiB, " TiB"}, {kGiB, " GiB"}, {kMiB, " MiB"}, {kKiB, " KiB"}};
  for (const auto& u : units) {
    if (bytes < u.factor) continue;
    int64_t tenths = bytes / u.factor * 10 + bytes % u.factor * 10 / u.factor;
    return std::to_string(tenths / 10) + (tenths % 10 == 0 ? "" : "." + std::to_string(tenths % 10)) + u.unit;
  }
  return std::to_string(bytes) + " bytes";
}

const char* FilesystemName(Filesystem fs) {
  switch (fs) {
    case Filesystem::kExt4: return "ext4";
    case Filesystem::kXfs: return "xfs";
    case Filesystem::kBtrfs: return "btrfs";
  }
  return "ext4";
}

Result<Filesystem> ParseFilesystem(std::string_view text) {
  for (Filesystem fs : {Filesystem::kExt4, Filesystem::kXfs, Filesystem::kBtrfs})
    if (Lower(text) == FilesystemName(fs)) return fs;
  return Status(Code::kInvalid, "filesystem " + Quoted(text) + " is not known", "give ext4, xfs or btrfs");
}

int64_t SmallestSize(Filesystem fs) {
  switch (fs) {
    case Filesystem::kExt4: return 8 * kMiB;
    case Filesystem::kXfs: return 300 * kMiB;
    case Filesystem::kBtrfs: return 256 * kMiB;  // below it btrfs is never resized
  }
  return 8 * kMiB;
}

namespace {

Result<int64_t> ParsePerSecond(const std::string& name, const std::string& value) {
  Status wrong(Code::kInvalid, "option " + name + " is " + Quoted(value),
               name == "iops" ? "give a whole number of operations a second"
                              : "give bytes a second, a whole number with k, m or g where you like");
  const bool digits = IsDigits(value);
  if (name == "iops" && !digits) return wrong;
  // ParseSize takes a number without a unit for GiB; a rate counts single bytes.
  if (!digits) {
    auto rate = ParseSize(value, kMostPerSecond);
    return rate.ok() ? rate : wrong;
  }
  if (value.size() > 15) return wrong;
  int64_t rate = std::stoll(value);
  if (rate < 1 || rate > kMostPerSecond) return wrong;
  return rate;
}

// What other names of the same option are set to is overruled by nobody: they must agree.
template <class T>
Status SetOnce(const std::string& name, T value, std::optional<T>* field) {
  if (field->has_value() && **field != value)
    return Status(Code::kInvalid, "option " + name + " contradicts another option of the same meaning",
                  "give one of them");
  *field = std::move(value);
  return OkStatus();
}

constexpr const char* kOptions[] = {"size",       "newfstype", "fstype", "overwritefs", "tier",
                                    "volumetype", "type",      "iops",   "bps"};

}  // namespace

bool IsOption(const std::string& name) {
  for (const char* option : kOptions)
    if (name == option) return true;
  return false;
}

Result<CreateOptions> ParseCreateOptions(const std::map<std::string, std::string>& opts,
                                         const std::set<std::string>& attributes) {
  CreateOptions out;
  for (const auto& [key, value] : opts) {
    const std::string name = Lower(key);
    if (name == "size") {
      DVDI_ASSIGN_OR_RETURN(int64_t size, ParseSize(value));
      DVDI_RETURN_IF_ERROR(SetOnce(name, size, &out.size_bytes));
    } else if (name == "newfstype" || name == "fstype") {
      DVDI_ASSIGN_OR_RETURN(Filesystem fs, ParseFilesystem(value));
      DVDI_RETURN_IF_ERROR(SetOnce(name, fs, &out.filesystem));
    } else if (name == "overwritefs") {
      if (Lower(value) != "true" && Lower(value) != "false")
        return Status(Code::kInvalid, "option overwritefs is " + Quoted(value), "give true or false");
      out.overwrite = Lower(value) == "true";
    } else if (name == "tier" || name == "volumetype" || name == "type") {
      if (Status s = CheckName(value, "tier name"); !s.ok()) return s;
      DVDI_RETURN_IF_ERROR(SetOnce(name, Lower(value), &out.tier));
    } else if (name == "iops" || name == "bps") {
      DVDI_ASSIGN_OR_RETURN(int64_t rate, ParsePerSecond(name, value));
      DVDI_RETURN_IF_ERROR(SetOnce(name, rate, name == "iops" ? &out.iops : &out.bps));
    } else if (attributes.count(name) != 0) {
      if (value.empty())
        return Status(Code::kInvalid, "option " + name + " is empty", "give a value, or leave it out");
      out.attributes[name] = value;
    } else {
      std::string more;
      for (const auto& attribute : attributes)
        if (!IsOption(attribute)) more += ", " + attribute;
      return Status(
          Code::kInvalid, "option " + Quoted(key) + " is not known",
          "dvdi-driver takes size, newfstype (ext4, xfs, btrfs), overwritefs (true, false), tier, iops, bps" +
              OneLine(more, 400));
    }
  }
  return out;
}

}  // namespace dvdi
