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
  if (asked.what == "prepare") {
    auto pid = static_cast<pid_t>(GetInt(asked.request, "container"));
    if (!s.ok()) {
      ++result_.refused;
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
  } else if (asked.what == "cleanup") {
    if (s.ok() && answer["pending"].empty()) node.to_clean.erase({owner, scope});
  } else if (asked.what == "remove" && s.ok()) {
    state_.forgotten.erase({GetString(asked.request, "driver"), GetString(asked.request, "name")});
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
  if (!asked.policy.empty() && asked.policy != "damaged" && second != (asked.policy == "second"))
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
}
}  // namespace dvdi::sim
