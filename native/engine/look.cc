// What is known of an operation's volumes before its policy decides: from the ledger, from our mountinfo; and
// how the policy is told.
#include <string>
#include <vector>

#include "base/path.h"
#include "engine/operation.h"

namespace dvdi {

std::string DeviceAt(const std::vector<MountEntry>& mounts, const std::string& path) {
  const MountEntry* m = ContainingMount(mounts, path);
  return m == nullptr ? "" : m->device + " " + m->root;
}

// What the ledger knows of the volumes. It stays so while this holds the volumes' locks: nothing need be
// written before there is something to undo.
Status PrepareOperation::Look() {
  DVDI_RETURN_IF_ERROR(core_.ledger->Read([&](LedgerTx& tx) -> Status {
    for (VolumeState& v : volumes_) {
      const VolumeState& first = volumes_[v.first];
      if (&first != &v) {
        v.users = first.users, v.history = first.history;
        continue;
      }
      DVDI_ASSIGN_OR_RETURN(auto found, tx.FindAttachment(v.driver, v.name));
      DVDI_ASSIGN_OR_RETURN(v.history, tx.GetVolume(v.driver, v.name));
      v.before = "none", v.fresh = !found;
      v.users.clear(), v.attached = false;
      AttachmentRow& a = v.attachment = AttachmentRow();
      if (!found) {
        a.id = core_.env.random->HexId(32);
        a.driver = v.driver, a.name = v.name, a.state = kIntent;
        a.created_ms = request_.operation.started_ms;
        continue;
      }
      a = *found;
      DVDI_ASSIGN_OR_RETURN(v.users, tx.Users(a.id, core_.boot_id));
      v.before = a.state;
      v.attached = a.state == kAttached && a.boot_id == core_.boot_id && !a.mountpoint.empty();
    }
    return Status();
  }));
  DVDI_RETURN_IF_ERROR(ReadMounts());
  for (VolumeState& v : volumes_) {
    const VolumeState& first = volumes_[v.first];
    AttachmentRow& a = v.attachment;
    if (&first != &v) {
      v.attachment = first.attachment, v.before = first.before;
      continue;
    }
    // Attached means: in this boot, and the same mount is still where it was.
    v.attached = v.attached && DeviceAt(mounts_, a.mountpoint) == a.device;
    v.before = v.attached ? "attached" : v.before == kReleasing ? "releasing" : "none";
    if (!v.attached) a.state = kIntent;
    if (v.attached) DVDI_RETURN_IF_ERROR(NobodyUnknownHas(v, a.mountpoint));
  }
  return Status();
}

// Our mountinfo, as far as attached volumes are concerned, and folders that drivers have named.
Status PrepareOperation::ReadMounts() {
  std::vector<std::string> paths;
  for (const auto& path : named_) paths.push_back(NormalPath(path));
  for (const VolumeState& v : volumes_)
    if (v.attached) paths.push_back(NormalPath(v.attachment.mountpoint));
  std::erase(paths, "");  // what is no path is refused where it is opened
  if (paths.empty()) return Status();
  DVDI_ASSIGN_OR_RETURN(mountinfo_, core_.env.sys->Mountinfo());
  mounts_ = ParseMountinfo(mountinfo_, paths);
  return Status();
}

Json PrepareOperation::AttachmentForPolicy(const VolumeState& v) const {
  Json users = Json::array();
  for (const auto& u : v.users)
    users.push_back({{"owner", u.owner}, {"scope", u.scope}, {"access", u.access}, {"mode", u.mode}});
  Json j = {{"state", v.before}, {"users", std::move(users)}};
  if (v.before == "attached") j["mountpoint"] = v.attachment.mountpoint;
  return j;
}

Json PrepareOperation::HistoryForPolicy(const VolumeState& v) const {
  if (!v.history) return {{"known", false}, {"created_by_us", false}};
  Json j = {{"known", true}, {"created_by_us", v.history->created_by_us}};
  if (v.history->created_ms > 0) j["created_ms"] = v.history->created_ms;
  if (v.history->last_used_ms > 0) j["last_used_ms"] = v.history->last_used_ms;
  return j;
}

Json PrepareOperation::InputForPolicy() const {
  Json scope = {{"owner", request_.operation.owner}, {"id", request_.operation.scope}};
  if (request_.has_user) scope["user"] = {{"uid", request_.uid}, {"gid", request_.gid}};
  Json list = Json::array();
  for (size_t i = 0; i < volumes_.size(); ++i) {
    Json v = volumes_[i].request;
    v["index"] = i;
    v["attachment"] = AttachmentForPolicy(volumes_[i]);
    v["history"] = HistoryForPolicy(volumes_[i]);
    list.push_back(std::move(v));
  }
  Json input = {{"config", revision_->config}, {"node", core_.settings.node},
                {"left_ms", LeftMs()},         {"now_ms", request_.operation.started_ms},
                {"scope", std::move(scope)},   {"volumes", std::move(list)}};
  if (request_.goal == Goal::kCreate) input["goal"] = "create";
  if (refused_at_ms_ >= 0) input["waited_ms"] = waited_ms_;
  return input;
}

}  // namespace dvdi
