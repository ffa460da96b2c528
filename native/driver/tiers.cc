#include "driver/tiers.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "base/fd.h"
#include "base/text.h"
#include "base/yaml.h"
#include "driver/files.h"
#include "driver/shutdown.h"

namespace dvdi {
namespace {

constexpr size_t kMaxTiers = 64;
constexpr size_t kMaxText = 200;
constexpr int64_t kShortestLease = 2000, kLongestLease = 24 * 3600 * 1000;
constexpr double kMostOvercommit = 100;
constexpr char kFields[] =
    "name, pool, label, filesystem, default_size, capacity, overcommit, lease_seconds, attributes";

std::string Lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// A whole number, or nothing.
std::optional<int64_t> Number(const std::string& text) {
  if (text.size() > 15 || !IsDigits(text)) return std::nullopt;
  return std::stoll(text);
}

// A scalar as it was written: 512 is "512".
std::optional<std::string> Scalar(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer() || value.is_boolean()) return value.dump();
  return std::nullopt;
}

// Reads one tier; errors say where.
class TierReader {
 public:
  TierReader(const YamlDocument& document, std::string file, std::string at)
      : document_(document), file_(std::move(file)), at_(std::move(at)) {}

  Result<TierConfig> Read(const Json& item) {
    if (!item.is_object()) return Wrong("", "a tier is an object", kFields);
    TierConfig tier;
    for (auto it = item.begin(); it != item.end(); ++it)
      DVDI_RETURN_IF_ERROR(Field(it.key(), it.value(), &tier));
    if (tier.name.empty()) return Wrong("", "a tier has no name", "give it a name");
    if (tier.pool.empty())
      return Wrong("", "tier " + tier.name + " has no pool", "name its folder: pool: /srv/…");
    if (tier.default_size < SmallestSize(tier.filesystem))
      return Wrong("/default_size",
                   "default_size is too small for " + std::string(FilesystemName(tier.filesystem)),
                   "give at least " + FormatSize(SmallestSize(tier.filesystem)));
    return tier;
  }

 private:
  Status Wrong(const std::string& field, const std::string& what, const std::string& hint) const {
    auto line = document_.lines.find(at_ + field);
    if (line == document_.lines.end()) line = document_.lines.find(at_);
    std::string where =
        file_ + (line == document_.lines.end() ? "" : ", line " + std::to_string(line->second));
    return Status(Code::kInvalid, where + ": " + what, hint);
  }

  Status Field(const std::string& key, const Json& value, TierConfig* tier) const {
    const std::string place = "/" + JsonPointerToken(key);
    if (key == "attributes") return Attributes(value, tier);
    auto text = Scalar(value);
    if (key == "overcommit") {
      double ratio = value.is_number() ? value.get<double>() : 0;
      if (!(ratio >= 1 && ratio <= kMostOvercommit))
        return Wrong(place, "overcommit is no number from 1 to 100", "give 1.5, say");
      tier->overcommit = ratio;
      return OkStatus();
    }
    if (!text.has_value())
      return Wrong(place, OneLine(key, 80) + " is not a text or a number",
                   std::string("the fields are ") + kFields);
    if (text->empty() || text->size() > 4000 || OneLine(*text, 4000) != *text)
      return Wrong(place, key + " is empty, or not one line", "write it on one line");
    if (key == "name") {
      if (Status s = CheckName(*text, "tier name"); !s.ok()) return Wrong(place, s.message(), s.hint());
      tier->name = *text;
    } else if (key == "pool") {
      if ((*text)[0] != '/')
        return Wrong(place, "the pool " + *text + " is not an absolute path", "begin it with /");
      tier->pool = *text;
    } else if (key == "label") {
      if (text->size() > kMaxText) return Wrong(place, "label is longer than 200 bytes", "shorten it");
      tier->label = *text;
    } else if (key == "filesystem") {
      auto fs = ParseFilesystem(*text);
      if (!fs.ok()) return Wrong(place, fs.status().message(), fs.status().hint());
      tier->filesystem = *fs;
    } else if (key == "default_size" || key == "capacity") {
      auto size = ParseSize(*text, key == "capacity" ? kLargestCapacity : kLargestVolume);
      if (!size.ok()) return Wrong(place, key + ": " + size.status().message(), size.status().hint());
      if (key == "capacity")
        tier->capacity = *size;
      else
        tier->default_size = *size;
    } else if (key == "lease_seconds") {
      auto seconds = Number(*text);
      if (!seconds.has_value() || !LeaseTimeFits(*seconds * 1000))
        return Wrong(place, "lease_seconds is " + *text, "give 0 (leases last for ever) or 2 to 86400");
      tier->lease_ms = *seconds * 1000;
    } else {
      return Wrong(place, "a tier has no field " + OneLine(key, 80),
                   std::string("the fields are ") + kFields);
    }
    return OkStatus();
  }

  Status Attributes(const Json& value, TierConfig* tier) const {
    if (!value.is_object())
      return Wrong("/attributes", "attributes is not an object", "write media: ssd beneath it");
    for (auto it = value.begin(); it != value.end(); ++it) {
      const std::string place = "/attributes/" + JsonPointerToken(it.key());
      auto text = Scalar(it.value());
      std::string name = Lower(it.key());
      if (!CheckName(name, "attribute").ok() || !text.has_value() || text->empty() ||
          text->size() > kMaxText || OneLine(*text, kMaxText) != *text)
        return Wrong(place,
                     "attribute " + OneLine(it.key(), 80) + " is not a name with a text or a whole number",
                     "write media: ssd, or iops: 20000");
      if (IsOption(name) && name != "iops" && name != "bps")
        return Wrong(place, "attribute " + name + " has the name of an option", "take another name");
      tier->attributes[name] = *text;
    }
    return OkStatus();
  }

  const YamlDocument& document_;
  const std::string file_, at_;
};

Result<std::string> ReadConfigText(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot open " + path, path);
  struct stat st;
  if (::fstat(fd.get(), &st) < 0) return Status::FromErrno(errno, "cannot stat " + path, path);
  if ((st.st_uid != 0 && st.st_uid != ::geteuid()) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return Status(Code::kRefused, path + " may be written by others than root",
                  "run: chown root " + path + " && chmod 644 " + path);
  return ReadOpenFile(fd.get(), path, 1 << 20);
}

}  // namespace

bool LeaseTimeFits(int64_t lease_ms) {
  return lease_ms == 0 || (lease_ms >= kShortestLease && lease_ms <= kLongestLease);
}

Result<std::vector<TierConfig>> ReadTiers(const std::string& path) {
  DVDI_ASSIGN_OR_RETURN(std::string text, ReadConfigText(path));
  DVDI_ASSIGN_OR_RETURN(YamlDocument document, ParseYamlDocument(text, path));
  const Json& list = GetMember(document.value, "tiers");
  if (!document.value.is_object() || document.value.size() != 1 || !list.is_array() || list.empty() ||
      list.size() > kMaxTiers)
    return Status(Code::kInvalid, path + " is not a list of 1 to 64 tiers",
                  "write tiers: and beneath it - name: fast")
        .WithPath(path);
  std::vector<TierConfig> tiers;
  for (size_t i = 0; i < list.size(); ++i) {
    DVDI_ASSIGN_OR_RETURN(TierConfig tier,
                          TierReader(document, path, "/tiers/" + std::to_string(i)).Read(list[i]));
    for (const auto& other : tiers)
      if (Lower(other.name) == Lower(tier.name) || other.pool == tier.pool)
        return Status(Code::kInvalid,
                      path + ": tiers " + other.name + " and " + tier.name + " have the same name or pool",
                      "give each tier its own");
    tiers.push_back(std::move(tier));
  }
  return tiers;
}

std::set<std::string> AttributeNames(const std::vector<TierConfig>& tiers) {
  std::set<std::string> names;
  for (const auto& tier : tiers)
    for (const auto& entry : tier.attributes) names.insert(entry.first);
  return names;
}

std::string NoRoom(const TierConfig& tier, const TierRoom& room, int64_t bytes) {
  if (!room.problem.empty()) return "cannot be looked at: " + room.problem;
  if (tier.capacity.has_value()) {
    auto limit = static_cast<int64_t>(static_cast<double>(*tier.capacity) * tier.overcommit);
    int64_t left = std::max<int64_t>(limit - room.promised, 0);
    if (bytes > left)
      return "has no room: " + FormatSize(bytes) + " asked for, " + RoundSize(left) + " of " +
             RoundSize(limit) + " not promised yet";
  }
  auto free = static_cast<double>(room.free) * tier.overcommit;
  if (static_cast<double>(bytes) > free)
    return "has no room: " + FormatSize(bytes) + " asked for, its disk has " + RoundSize(room.free) + " free";
  return "";
}

std::string TierMismatch(const TierConfig& tier, const CreateOptions& wanted) {
  if (wanted.tier.has_value() && Lower(*wanted.tier) != Lower(tier.name))
    return "tier " + tier.name + ", not " + OneLine(*wanted.tier, 80);
  Filesystem fs = wanted.filesystem.value_or(tier.filesystem);
  if (tier.lease_ms.value_or(0) > 0 && !CanShutDown(fs))
    return std::string("leases that are renewed, for which ") + FilesystemName(fs) +
           " cannot be used: it cannot be shut down";
  auto attributes = wanted.attributes;
  // A limit that is asked for is also what the tier has to be able to do, where the tier says what it can.
  for (const auto& [name, value] : {std::pair("iops", wanted.iops), std::pair("bps", wanted.bps)})
    if (value.has_value() && tier.attributes.count(name) != 0) attributes[name] = std::to_string(*value);
  for (const auto& [name, value] : attributes) {
    auto has = tier.attributes.find(name);
    if (has == tier.attributes.end()) return "no " + name;
    auto there = Number(has->second), least = Number(value);
    if (there.has_value() && least.has_value()) {
      if (*there < *least) return name + " " + has->second + ", below " + value;
    } else if (Lower(has->second) != Lower(value)) {
      return name + " " + has->second + ", not " + OneLine(value, 80);
    }
  }
  return "";
}

Result<size_t> ChooseTier(const std::vector<TierConfig>& tiers, const std::vector<TierRoom>& rooms,
                          const CreateOptions& wanted, const std::string& volume) {
  std::string passed;
  for (size_t i = 0; i < tiers.size(); ++i) {
    std::string why = TierMismatch(tiers[i], wanted);
    if (!why.empty()) why = "has " + why;
    if (wanted.tier.has_value() && Lower(*wanted.tier) != Lower(tiers[i].name))
      why = "is not tier " + OneLine(*wanted.tier, 80);
    if (why.empty()) why = NoRoom(tiers[i], rooms[i], wanted.size_bytes.value_or(tiers[i].default_size));
    if (why.empty()) return i;
    passed += (passed.empty() ? "" : "; ") + tiers[i].name + " " + why;
  }
  return Status(Code::kRefused, "no tier for volume " + volume + " (" + OneLine(passed, 1000) + ")",
                "ask for less, or for another tier");
}

}  // namespace dvdi
