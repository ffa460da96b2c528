// What is held against a promise at once: answers of engines, and calls that plugins get. What is looked at
// after each step is in invariants.cc.
#include "base/text.h"
#include "sim/history_run.h"

namespace dvdi::sim {

namespace {

bool ProvesOurs(SimProcess& sys, const VolumeKey& v, const std::string& id) {
  std::string path = std::string(kStageRoot) + "/" + id + "/meta.json";
  SimDisk::Node meta;
  if (sys.kernel().disk.Find(path, &meta) < 0) return false;
  auto json = ParseJson(meta->data, path);
  if (json.ok())
    for (const Json& a : GetMember(*json, "attachments"))
      if (GetString(a, "id") == id && GetString(a, "driver") == v.first && GetString(a, "volume") == v.second)
        return true;
  return false;
}

}  // namespace

void History::Answered(EngineProcess& p, const Asked& asked, const Status& s, const Json& answer) {
  NodeState& node = *p.node;
  std::string owner = GetString(asked.request, "owner"), scope = GetString(asked.request, "scope");
  for (const Json& wanted : GetMember(asked.request, "wanted")) {
    auto v = state_.plugins.volumes.find({GetString(wanted, "driver"), GetString(wanted, "name")});
    if (v == state_.plugins.volumes.end()) continue;
    auto here = v->second.nodes.find(node.kernel.name());
    if (here == v->second.nodes.end()) continue;
    for (const auto& [id, process] : here->second.told)
      if (process == p.sys.name()) here->second.unrecorded.erase(id);
  }
  if (asked.what == "prepare") {
    auto pid = static_cast<pid_t>(GetInt(asked.request, "container"));
    if (!s.ok()) {
      ++result_.refused, refusal_ = s.message();
      node.kernel.EndProcess(pid);
      return;
    }
    Prepared(node, asked, answer, pid);
  } else if (asked.what == "again" && s.ok()) {
    auto it = node.live.find(scope);
    if (it == node.live.end()) {
      // It came after the end of what it repeats, and began that anew: who asked is gone with the first.
      if (owner != "run") node.to_clean.insert({owner, scope});
    } else if (it->second.answer["volumes"] != answer["volumes"]) {
      Broken("idempotent", "the same request of " + scope + " got another answer");
    }
  } else if (asked.what == "cleanup" && s.ok()) {
    if (answer["pending"].empty()) node.to_clean.erase({owner, scope});
    CleanedUp(node, scope, answer);
  } else if (asked.what == "create" && s.ok()) {
    Created(node, asked, answer);
  } else if ((asked.what == "remove" || asked.what == "prune") && s.ok()) {
    const VolumeKey v{GetString(asked.request, "driver"), GetString(asked.request, "name")};
    if (asked.what == "remove") state_.forgotten.erase(v);
    node.created.erase(v);
    auto there = state_.plugins.volumes.find(v);
    if (there != state_.plugins.volumes.end() && there->second.created_seq <= asked.events)
      Broken("answers", asked.what + " of " + v.first + "/" + v.second + " was answered, and it is there");
  }
}

// What keeps a driver from giving its volume back is no business of whoever waits for the answer; that a
// stage is left is.
void History::CleanedUp(NodeState& node, const std::string& scope, const Json& answer) {
  auto ended = node.ended.find(scope);
  if (ended == node.ended.end()) return;
  for (const Json& p : answer["pending"])
    if (GetString(p, "driver").empty()) return;
  for (const std::string& stage : ended->second)
    if (node.kernel.FindMount(stage) != nullptr)
      Broken("answers", "the end of " + scope + " was answered, and " + stage + " is mounted");
  node.ended.erase(ended);
}

void History::Created(NodeState& node, const Asked& asked, const Json& answer) {
  for (const Json& wanted : asked.request["wanted"]) {
    const VolumeKey v{GetString(wanted, "driver"), GetString(wanted, "name")};
    if (auto made = node.created.find(v); made != node.created.end()) {
      made->second.told = true;
      for (const Json& one : answer["volumes"])
        if (GetString(one, "driver") == v.first && GetString(one, "name") == v.second)
          made->second.ours |= GetString(one, "what") == "created";
    }
    // One that is mounted is there, whatever another node has made of what its plugin had forgotten.
    if (state_.plugins.volumes.count(v) == 0 && !state_.plugins.RemovedSince(v, asked.events) &&
        !state_.plugins.Mounted(node.kernel, v))
      Broken("answers",
             asked.what + " of " + v.first + "/" + v.second + " was answered, and it is not there");
  }
}

void History::Prepared(NodeState& node, const Asked& asked, const Json& answer, pid_t pid) {
  ++result_.prepared;
  Workload w;
  w.owner = GetString(asked.request, "owner"), w.scope = GetString(asked.request, "scope");
  w.pid = pid, w.request = asked.request, w.answer = answer;
  const std::string& decided = answer["policy"]["name"].get_ref<const std::string&>();
  const std::string& version = answer["policy"]["version"].get_ref<const std::string&>();
  if (asked.policy == "damaged")
    Broken("fails-closed", w.scope + " got its volumes while the node had no policy that can be read");
  bool second = decided == shared_.second_name && version == shared_.second_version;
  // An engine goes back by itself from a policy that fails again and again.
  const bool went_back = shared_.wild() && asked.policy == "second" && !second;
  if (!asked.policy.empty() && asked.policy != "damaged" && second != (asked.policy == "second") &&
      !went_back)
    Broken("decided-by",
           w.scope + " was decided by " + decided + " " + version + ", and " + asked.policy + " was active");
  for (const Json& v : answer["volumes"]) {
    Workload::Use use;
    use.volume = {GetString(v, "driver"), GetString(v, "name")};
    use.mode = GetString(v, "mode"), use.target = GetString(v, "target"), use.stage = GetString(v, "stage");
    for (const Json& wanted : asked.request["wanted"])
      if (GetString(wanted, "container_path") == use.target) use.access = GetString(wanted, "access");
    // What was lost between the engine's last look and its answer is lost as what is behind it.
    use.broken =
        asked.restarted.count(use.volume.first) != 0 && !state_.plugins.Mounted(node.kernel, use.volume);
    use.bare = use.broken && asked.unseen.count(use.volume) != 0;
    SimDisk::Node folder;
    if (node.kernel.disk.Find(use.target, &folder) < 0)
      Broken("targets", "there is no folder " + use.target + " for " + w.scope);
    node.kernel.Bind(pid, use.target);
    if (auto had = state_.plugins.volumes.find(use.volume); had != state_.plugins.volumes.end())
      had->second.had_by.insert(node.kernel.name());
    w.uses.push_back(std::move(use));
  }
  Created(node, asked, answer);
  if (w.uses.size() != asked.request["wanted"].size())
    Broken("answers", w.scope + " asked for other volumes than it got");
  node.live[w.scope] = std::move(w);
}

bool History::MayRemove(const SimProcess& sys, const VolumeKey& v) {
  EngineProcess* p = ProcessOf(sys);
  bool rm = false, prune = false;
  for (const auto& [id, asked] : p->asked) {
    if (GetString(asked.request, "driver") != v.first || GetString(asked.request, "name") != v.second)
      continue;
    rm |= asked.what == "remove", prune |= asked.what == "prune";
  }
  auto volume = state_.plugins.volumes.find(v);
  if (prune && !rm && volume != state_.plugins.volumes.end() &&
      volume->second.had_by.count(p->node->kernel.name()) != 0)
    Broken("protocol", "prune removes " + v.first + "/" + v.second + ", which a workload of this node had");
  return rm || prune;
}

void History::Creating(SimProcess& sys, const VolumeKey& v, const Json& options) {
  EngineProcess* p = ProcessOf(sys);
  bool asked_for = false, second = true, never = true;
  for (const auto& [id, asked] : p->asked) {
    if (asked.what != "prepare" && asked.what != "create") continue;
    for (const Json& wanted : asked.request["wanted"]) {
      if (GetString(wanted, "driver") != v.first || GetString(wanted, "name") != v.second) continue;
      asked_for = true;
      second = second && asked.policy == "second";
      never = never && GetString(wanted, "create") == "never";
    }
  }
  std::string title = v.first + "/" + v.second;
  if (!asked_for) Broken("protocol", "Create of " + title + ", which nobody asked for");
  if (asked_for && never) Broken("protocol", "Create of " + title + ", which was never to be created");
  if (asked_for && second && shared_.second_name == "house" && !options.contains("size"))
    Broken("decided-by", "Create of " + title + " without a size, under the house rule");
}

void History::Mounting(SimProcess& sys, const VolumeKey& v, const std::string& id) {
  std::string path = std::string(kStageRoot) + "/" + id + "/meta.json";
  if (!ProvesOurs(sys, v, id) || !sys.kernel().disk.Durable(path))
    Broken("protocol", "Mount of " + v.first + "/" + v.second + " before " + path + " says so durably");
}

void History::Unmounting(SimProcess& sys, const VolumeKey& v, const std::string& id) {
  if (!ProvesOurs(sys, v, id))
    Broken("protocol",
           "Unmount of " + v.first + "/" + v.second + " with ID " + id + ", which nothing proves ours");
  // A driver that detaches a device beneath a mount of ours would let another node have it too soon.
  const SimKernel& kernel = sys.kernel();
  const MountEntry* of_driver = state_.plugins.MountOf(kernel, v);
  for (const std::string& stage : kernel.MountsBelow(kStageRoot))
    if (of_driver != nullptr && kernel.FindMount(stage)->device == of_driver->device)
      Broken("protocol", "Unmount of " + v.first + "/" + v.second + ", and " + stage + " still shows it");
}
}  // namespace dvdi::sim
