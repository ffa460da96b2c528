// Behind all faults: whether a node is of use again. What was leaked on the way (a place among a driver's
// operations, a lock, a lease, a circuit breaker that stays open) may be in no table and in no file.
#include "sim/history_run.h"

namespace dvdi::sim {

void History::ServeAgain(NodeState& node) {
  EngineProcess& p = *node.processes[0];
  last_ = "serve again on " + node.kernel.name();
  Say("-- " + last_);
  // A wild policy serves whom it likes: that is not the engine's fault.
  if (shared_.wild() && ReadPolicy(node) && node.policy == "second") {
    Install(p, "stock");
    (void)ReadPolicy(node);
  }
  Json wanted = Json::array();
  for (const char* driver : kDrivers) {
    for (const char* name : kNames) {
      const VolumeKey v{driver, name};
      // A driver may still have it for an ID that nobody knows any more, or for another node.
      if (state_.forgotten.count(v) != 0) continue;
      if (auto there = state_.plugins.volumes.find(v); there != state_.plugins.volumes.end() &&
                                                       !there->second.holder.empty() &&
                                                       there->second.holder != node.kernel.name())
        continue;
      wanted.push_back({{"driver", driver},
                        {"name", name},
                        {"create", "if-missing"},
                        {"options", {{"size", "64m"}}},
                        {"container_path", std::string(kTargets) + "/again/" + driver + "-" + name}});
    }
  }
  const std::string scope = "again-" + std::to_string(next_scope_++);
  Json request = {{"owner", "manual"},
                  {"scope", scope},
                  {"targets", "make"},
                  {"sources", Json::array({{{"form", "statement"}, {"text", Dump({{"volumes", wanted}})}}})},
                  {"wanted", wanted},
                  {"container", node.kernel.StartProcess()}};
  refusal_.clear();
  Ask(p, "prepare", request, &Engine::Prepare, kPrepareMs);
  Settle();
  if (broken()) return;
  const bool served = node.live.count(scope) != 0;
  // Without a policy nobody decides: it must be refused, and History::Prepared sees to that.
  if (!served && !node.policy.empty())
    return Broken("serves-again", node.kernel.name() + " gives out no volume any more: " + refusal_);
  if (!served) return;
  Check(AlwaysTrue());
  auto scopes = p.engine->StatusOf({{"what", "scopes"}});
  if (!scopes.ok() || (*scopes)["scopes"].size() != 1 ||
      GetString((*scopes)["scopes"][0], "scope") != scope ||
      (*scopes)["scopes"][0]["volumes"].size() != wanted.size())
    Broken("tells", "of " + scope + ", which alone has volumes, the status says: " +
                        (scopes.ok() ? Dump(*scopes) : scopes.status().message()));
  if (broken()) return;
  EndOne(p, true);
  Settle();
  Wait(p, 2);
  if (!broken()) Check(TrueOnceReleased());
}

}  // namespace dvdi::sim
