// How full the attached volumes are, and whether they are still there. Whatever may hang is asked in a
// helper.
#include <algorithm>

#include "engine/engine.h"
#include "mount/stage.h"

namespace dvdi {
namespace {

// No single filesystem is waited for longer: others are to be asked in the same time.
constexpr int64_t kEachMs = 1000;

struct Attached {
  AttachmentRow row;
  std::vector<UserRow> users;
};

Result<std::vector<Attached>> AttachedOf(Core& core, const std::string& owner) {
  std::vector<Attached> all;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    all.clear();
    DVDI_ASSIGN_OR_RETURN(auto attachments, tx.Attachments());
    for (auto& a : attachments) {
      if (a.state != kAttached) continue;
      DVDI_ASSIGN_OR_RETURN(auto users, tx.Users(a.id, core.boot_id));
      if (!owner.empty()) std::erase_if(users, [&](const UserRow& u) { return u.owner != owner; });
      if (!users.empty()) all.push_back({std::move(a), std::move(users)});
    }
    return Status();
  }));
  return all;
}

// "lost": its users have it no more.
void Look(Core& core, const std::vector<MountEntry>& mounts, const Attached& a, int64_t deadline_ms,
          Json* out) {
  // By a stage: the plugin's own folder may have become an empty one of the node's.
  auto staged = std::find_if(a.users.begin(), a.users.end(), [&](const UserRow& u) {
    return !u.stage.empty() && FindMount(mounts, u.stage) != nullptr;
  });
  if (staged == a.users.end()) {
    (*out)["state"] = "lost", (*out)["why"] = "none of its stages is mounted any more";
    return;
  }
  const int64_t until = std::min(deadline_ms, core.env.clock->MonotonicMs() + kEachMs);
  auto usage = StatUsage(core.env, a.row.mountpoint, until, staged->stage);
  if (!usage.ok()) {
    (*out)["state"] = usage.status().code() == Code::kUnavailable ? "lost" : "unknown";
    (*out)["why"] = usage.status().message();
    return;
  }
  (*out)["state"] = "ok";
  (*out)["total_bytes"] = usage->total_bytes, (*out)["used_bytes"] = usage->used_bytes;
  (*out)["free_bytes"] = usage->free_bytes;
  (*out)["inodes"] = usage->inodes, (*out)["inodes_free"] = usage->inodes_free;
}

}  // namespace

Result<Json> Engine::UsageOf(const Json& query) {
  Core& core = *core_;
  const int64_t wait = std::clamp<int64_t>(GetInt(query, "timeout_ms", 10'000), 1, 60'000);
  const int64_t deadline = core.env.clock->MonotonicMs() + wait;
  DVDI_ASSIGN_OR_RETURN(auto all, AttachedOf(core, GetString(query, "owner")));
  std::vector<MountEntry> mounts;
  if (!all.empty()) {
    DVDI_ASSIGN_OR_RETURN(mounts, core.Mounts());
  }
  Json list = Json::array(), values = Json::object();
  for (const Attached& a : all) {
    Json users = Json::array();
    for (const auto& u : a.users)
      users.push_back({{"owner", u.owner}, {"scope", u.scope}, {"target", u.target}, {"mode", u.mode}});
    Json one = {{"driver", a.row.driver}, {"name", a.row.name}, {"users", std::move(users)}};
    Look(core, mounts, a, deadline, &one);
    const std::string prefix = "volume/" + a.row.driver + "/" + a.row.name + "/";
    values[prefix + "lost"] = GetString(one, "state") == "lost" ? 1 : 0;
    for (const char* member : {"total_bytes", "used_bytes", "free_bytes", "inodes", "inodes_free"})
      if (one.contains(member)) values[prefix + member] = one[member];
    list.push_back(std::move(one));
  }
  return Json{{"volumes", std::move(list)}, {"values", std::move(values)}};
}

Status Engine::Ask(const Json& query, Done done) {
  if (core_->closing) return Status(Code::kRefused, "the engine is being closed");
  done = Promise(std::move(done));
  // What takes its time runs beside the front thread's work, not before it.
  Front(done, [this, self = shared_from_this(), query, done]() -> Rest {
    return [this, self, query, done] {
      auto answer = StatusOf(query);
      done(answer.status(), answer.ok() ? *answer : Json());
    };
  });
  return Status();
}

}  // namespace dvdi
