#include "driver/local_state.h"

#include "base/json.h"
#include "driver/files.h"
#include "driver/log.h"
#include "driver/options.h"
#include "sys/sys.h"

namespace dvdi {
namespace {
constexpr char kSuffix[] = ".json", kLost[] = ".lost";
constexpr size_t kMaxState = 16 << 20;
}  // namespace

Result<LocalState> LocalStates::Read(const std::string& volume) const {
  LocalState state;
  state.boot_id = boot_.id;
  auto lost = ReadSmallFile(dirfd_, volume + kLost);
  const size_t end = lost.ok() ? lost->find(' ') : std::string::npos;
  if (end != std::string::npos && lost->substr(0, end) == boot_) state.lost = lost->substr(end + 1);
  auto text = ReadSmallFile(dirfd_, volume + kSuffix, kMaxState);
  if (!text.ok()) {
    if (text.status().code() == Code::kNotFound) return state;
    return Status(text.status()).WithContext("volume " + volume + ": node-local state");
  }
  auto json = ParseJson(*text, "it", 4);
  const Json& ids = json.ok() ? GetMember(*json, "ids") : GetMember(Json(), "");
  if (!ids.is_array()) {
    Log(LogLevel::kWarning,
        "the node-local state of volume " + volume + " is damaged: its users are not known");
    return state;
  }
  if (GetString(*json, "boot_id") != boot_) return state;
  state.generation = static_cast<uint64_t>(GetInt(*json, "generation"));
  state.device = GetString(*json, "device");
  state.limited = GetBool(*json, "limited");
  for (const auto& id : ids)
    if (id.is_string()) state.ids.insert(id.get<std::string>());
  return state;
}

Status LocalStates::Write(const std::string& volume, const LocalState& state) const {
  Json ids = Json::array();
  for (const auto& id : state.ids) ids.push_back(id);
  std::string text = Dump(Json{{"boot_id", boot_.id},
                               {"generation", state.generation},
                               {"ids", ids},
                               {"device", state.device},
                               {"limited", state.limited}}) +
                     "\n";
  return ReplaceFile(dirfd_, volume + kSuffix, text, TempName(node_))
      .WithContext("volume " + volume + ": node-local state");
}

Status LocalStates::MarkLost(const std::string& volume, const std::string& why) const {
  return ReplaceFile(dirfd_, volume + kLost, boot_.id + " " + why, TempName(node_))
      .WithContext("volume " + volume + ": node-local state");
}

Status LocalStates::Remove(const std::string& volume) const {
  DVDI_RETURN_IF_ERROR(RemoveFile(dirfd_, volume + kSuffix));
  return RemoveFile(dirfd_, volume + kLost);
}

Result<std::vector<std::string>> LocalStates::List() const {
  std::vector<std::string> names, out;
  int r = Sys::Real()->ListDir(dirfd_, ".", &names);
  if (r < 0) return Status::FromErrno(-r, "cannot list the node-local state");
  for (const auto& name : names) {
    if (IsTempName(name, "")) {
      DVDI_RETURN_IF_ERROR(RemoveFile(dirfd_, name));
      continue;
    }
    size_t at = name.size() >= 5 ? name.size() - 5 : 0;
    if (at > 0 && (name.substr(at) == kSuffix || name.substr(at) == kLost)) out.push_back(name.substr(0, at));
  }
  return out;
}

}  // namespace dvdi
