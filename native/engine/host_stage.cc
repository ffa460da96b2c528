// The host call "stage": volumes that are attached are mounted where a workload is to find them.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "base/text.h"
#include "engine/host_calls.h"
#include "engine/operation.h"
#include "engine/stage_meta.h"
#include "mount/stage.h"

namespace dvdi {

Result<Json> PrepareOperation::Stage(const Json& request) {
  const Json& items = GetMember(request, "stages");
  if (!items.is_array() || items.empty() || items.size() > kMaxCallsAtOnce)
    return Status(Code::kPolicy, "stage wants 1 to " + std::to_string(kMaxCallsAtOnce) + " stages");
  std::vector<size_t> todo;
  for (const Json& item : items) {
    int64_t i = VolumeIndex(item, volumes_.size());
    if (i < 0) return Status(Code::kPolicy, "stage names no volume of this operation");
    const VolumeState& v = volumes_[static_cast<size_t>(i)];
    if (!volumes_[v.first].attached)
      return Status(Code::kPolicy, "stage of volume " + v.name + " before its Mount was answered");
    if (!v.stage.empty() || std::find(todo.begin(), todo.end(), static_cast<size_t>(i)) != todo.end())
      return Status(Code::kPolicy, "a second stage of volume " + v.name);
    todo.push_back(static_cast<size_t>(i));
  }
  if (request_.goal != Goal::kWorkload) return StageApart(items, todo);
  if (!begun_) DVDI_RETURN_IF_ERROR(Journal({}, {}));
  bool slow = false;  // what sets owners may take long
  for (size_t k = 0; k < todo.size(); ++k) {
    slow |= GetString(items[k], "ownership", "none") != "none";
    volumes_[todo[k]].attachment = volumes_[volumes_[todo[k]].first].attachment;
  }
  // Meanwhile other operations are to know what to keep out of their workloads' sight.
  if (slow)
    DVDI_RETURN_IF_ERROR(core_.ledger->Apply(Commit::attached, false, [&](LedgerTx& tx) -> Status {
      for (size_t i : todo) DVDI_RETURN_IF_ERROR(tx.PutAttachment(volumes_[i].attachment));
      return Status();
    }));
  Json out = Json::array();
  for (size_t k = 0; k < todo.size(); ++k) {
    Status s = StageOne(items[k], todo[k]);
    if (s.ok()) {
      volumes_[todo[k]].stage = StageOf(todo[k]);
      out.push_back({{"ok", true}});
    } else {
      volumes_[todo[k]].unstaged = s.message();
      out.push_back({{"error", Json::parse(s.ToJson(), nullptr, false)}});
    }
  }
  return Json{{"stages", std::move(out)}};
}

Status PrepareOperation::StageOne(const Json& item, size_t index) {
  VolumeState& v = volumes_[index];
  StageRequest r;
  r.mountpoint = v.attachment.mountpoint;
  r.stage = StageOf(index);
  r.mounts = &mounts_;
  r.may_be_at = [&](const std::string& place) { return MayBeAt(v, place); };
  r.subpath = GetString(item, "subpath");
  // What the statement forbids, no policy can give.
  r.read_only = GetBool(item, "read_only") || v.mode == "ro";
  r.nosuid = GetBool(item, "nosuid", true), r.nodev = GetBool(item, "nodev", true);
  std::string ownership = GetString(item, "ownership", "none");
  if (ownership == "root-dir")
    r.ownership = Ownership::kRootDir;
  else if (ownership == "idmap")
    r.ownership = Ownership::kIdmap;
  else if (ownership == "recursive")
    r.ownership = Ownership::kRecursive;
  else if (ownership != "none")
    return Status(Code::kPolicy, "stage: ownership " + OneLine(ownership, 40) + " is not known");
  if (r.ownership != Ownership::kNone && !request_.has_user)
    return Status(Code::kInvalid, "ownership " + ownership + " wants a user, and the workload names none",
                  "give the workload's user, or ownership none");
  r.uid = request_.uid, r.gid = request_.gid;
  r.deadline_ms = request_.deadline_ms;
  r.classic = core_.classic_mounts;
  // mountinfo may have been read again since the volume was found attached.
  if (DeviceAt(mounts_, r.mountpoint) != v.attachment.device)
    return Status(Code::kDriver,
                  "the driver lost the volume: its mount at " + OneLine(r.mountpoint) + " is gone",
                  "see the driver's log (was it started anew?), then start the workload again")
        .WithVolume(v.driver, v.name)
        .WithPath(r.mountpoint);
  StageMeta meta;
  meta.operation = request_.operation;
  meta.attach.attachment = v.attachment.id, meta.attach.target = v.target;
  meta.attach.mode = v.mode, meta.attach.access = v.access;
  meta.mountpoint = v.attachment.mountpoint, meta.device = v.attachment.device;
  meta.stage = r.stage;
  if (core_.env.sys->MountNamespace(0, &meta.made_in) < 0) meta.made_in = 0;
  int made = core_.env.sys->MkdirAt(AT_FDCWD, r.stage.c_str(), 0700);
  const bool again = made == -EEXIST && !v.unstaged.empty();  // left by a try of this operation that failed
  if (made < 0 && !again) return Status::FromErrno(-made, "cannot make the stage folder", r.stage);
  DVDI_RETURN_IF_ERROR(WriteStageMeta(core_.env, meta));
  auto result = MakeStage(core_.env, r);
  if (!result.ok()) return Status(result.status()).WithVolume(v.driver, v.name);
  if (result->chowned > 0)
    v.owned = ownership + " " + std::to_string(r.uid) + ":" + std::to_string(r.gid) + ", " +
              std::to_string(result->chowned) + " changed";
  return Status();
}

}  // namespace dvdi
