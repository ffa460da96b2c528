// The steps in which somebody wants something of an engine.
#include <iterator>
#include <set>

#include "base/text.h"
#include "sim/history_run.h"

namespace dvdi::sim {

namespace {

using Kind = Step::Kind;

constexpr const char* kAccess[] = {"single-writer", "multi-reader", "multi-writer"};

}  // namespace

namespace {

// As it was made, or a prepare where there is nothing yet that it could be about.
Kind KindOf(const Step& step, const NodeState& node) {
  bool of_live = step.kind == Kind::kAgain || step.kind == Kind::kCleanup || step.kind == Kind::kDie;
  return of_live && node.live.empty() ? Kind::kPrepare : step.kind;
}

}  // namespace

VolumeKey History::AnyVolume() { return {kDrivers[random().Below(3)], kNames[random().Below(3)]}; }

// Volumes of a statement, and the sources that say so.
Json History::Wanted(Json* sources, bool with_targets) {
  Json wanted = Json::array();
  std::set<VolumeKey> chosen;
  const bool single = plan_.single_one_in > 0 && random().OneIn(plan_.single_one_in);
  const size_t n = single ? 1 : 1 + random().Below(3);
  for (size_t i = 0; i < n; ++i) {
    VolumeKey v = AnyVolume();
    if (!chosen.insert(v).second) continue;
    Json one = {{"driver", v.first},
                {"name", v.second},
                {"access", kAccess[random().Below(3)]},
                {"mode", random().OneIn(3) ? "ro" : "rw"},
                {"create", random().OneIn(6) ? "never" : "if-missing"}};
    if (GetString(one, "access") == "multi-reader") one["mode"] = "ro";
    if (random().OneIn(2)) one["options"]["size"] = "64m";
    if (random().OneIn(4)) one["options"]["password"] = kSecret;
    (void)with_targets;
    one["container_path"] =
        std::string(kTargets) + "/t" + std::to_string(random().Below(3)) + "/" + v.first + "-" + v.second;
    wanted.push_back(std::move(one));
  }
  *sources = Json::array({{{"form", "statement"}, {"text", Dump({{"volumes", wanted}})}}});
  return wanted;
}

void History::Request(const Step& step) {
  ++result_.operations;  // also where no engine opens: what is asked of a full disk is refused by that
  NodeState& node = NodeOf(step);
  if (plan_.kills_opening) node.loses_power = step.power;
  EngineProcess* p = Open(node, step.process, plan_.kills_opening ? step.kill_at : 0);
  if (p == nullptr) return;
  if (!plan_.kills_opening && step.kill_at > 0) p->sys.KillAt(step.kill_at);
  node.loses_power = step.power;
  const Kind kind = KindOf(step, node);
  switch (kind) {
    case Kind::kPrepare: return Prepare(*p);
    case Kind::kAgain: {
      const Workload& w = AnyLive(node)->second;
      Json request = w.request;
      return Ask(*p, "again", request, &Engine::Prepare, kPrepareMs);
    }
    case Kind::kCleanup:
    case Kind::kDie: return EndOne(*p, kind == Kind::kCleanup);
    case Kind::kRecover:
      return Ask(*p, "recover", {{"owner", "run"}, {"wait_ms", random().OneIn(2) ? 1000 : 0}},
                 &Engine::Recover, kPrepareMs);
    case Kind::kReconcile:
      return Ask(*p, "recover", {{"owner", "agent"}, {"live", Json::array()}}, &Engine::Recover, kPrepareMs);
    case Kind::kCreate: {
      Json sources;
      Json wanted = Wanted(&sources, false);
      return Ask(*p, "create",
                 {{"owner", "manual"},
                  {"scope", "create-" + std::to_string(next_scope_++)},
                  {"goal", "create"},
                  {"targets", "ignore"},
                  {"sources", sources},
                  {"wanted", wanted}},
                 &Engine::Prepare, kPrepareMs);
    }
    case Kind::kRehearse: {
      Json sources;
      Wanted(&sources, true);
      return Ask(*p, "rehearse",
                 {{"owner", "manual"},
                  {"scope", "rehearse-" + std::to_string(next_scope_++)},
                  {"dry_run", true},
                  {"targets", "check"},
                  {"sources", sources}},
                 &Engine::Prepare, kPrepareMs);
    }
    case Kind::kRemove:
    case Kind::kPrune: {
      VolumeKey v = AnyVolume();
      Json request = {{"driver", v.first}, {"name", v.second}};
      if (step.kind == Kind::kPrune) request["unused_only"] = true, request["global"] = random().OneIn(2);
      return Ask(*p, step.kind == Kind::kPrune ? "prune" : "remove", request, &Engine::Remove, kPrepareMs);
    }
    case Kind::kFence: {
      VolumeKey v{"sea", kNames[random().Below(3)]};
      // Who says that the other node is dead has powered it off.
      NodeState& other = *state_.nodes[static_cast<size_t>(1 - step.node)];
      bool dead = !state_.plugins.Mounted(other.kernel, v);
      if (!dead && random().OneIn(3)) {
        Reboot(other, true);
        dead = true;
      }
      return Ask(*p, "fence", {{"driver", v.first}, {"name", v.second}, {"node_is_dead", dead}},
                 &Engine::Fence, kPrepareMs);
    }
    case Kind::kForget: return Forget(*p, AnyVolume());
    case Kind::kStatus: {
      state_.tasks.Start(&p->sys, [this, engine = p->engine] {
        for (const char* what : {"summary", "scopes", "volumes"}) {
          auto s = engine->StatusOf({{"what", what}});
          Say(s.ok() ? Dump(*s) : s.status().message());
        }
      });
      return;
    }
    case Kind::kTick: {
      state_.tasks.Start(&p->sys, [engine = p->engine] { engine->Tick(); });
      return;
    }
    default: return;
  }
}

void History::Forget(EngineProcess& p, const VolumeKey& v) {
  // Until it is told otherwise: a kill on the way leaves open whether it was forgotten.
  bool was = !state_.forgotten.insert(v).second;
  EngineProcess* process = &p;
  state_.tasks.Start(&p.sys, [this, process, engine = p.engine, v, was] {
    auto r = engine->Forget({{"driver", v.first}, {"name", v.second}});
    if (process->sys.dead()) return;
    Say("forget " + v.first + "/" + v.second + " -> " + (r.ok() ? Dump(*r) : r.status().message()));
    bool refused = !r.ok() && (r.status().code() == Code::kNotFound || r.status().code() == Code::kRefused);
    if (refused && !was) state_.forgotten.erase(v);
  });
}

// A driver that counts IDs has a volume mounted for one that was forgotten. It refuses a later one whose
// Unmount it has answered to nobody, and its word that nothing is mounted is no proof while something is:
// only who forgot the first ends that.
void History::ForgetAgain(EngineProcess& p) {
  std::vector<AttachmentRow> rows;
  (void)p.engine->core().ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(rows, tx.Releasing(100));
    return Status();
  });
  for (const AttachmentRow& a : rows) {
    VolumeKey v{a.driver, a.name};
    auto volume = state_.plugins.volumes.find(v);
    // As are IDs that only a ledger knew which an older one has replaced since.
    const bool given_up = state_.forgotten.count(v) != 0 || p.node->ledger_was_restored;
    if (volume == state_.plugins.volumes.end()) {
      // Somebody has removed it, which its driver let him do, having forgotten the mount that the node still
      // has.
      if (p.node->kernel.FindMount(a.mountpoint) != nullptr) Forget(p, v);
      continue;
    }
    auto here = volume->second.nodes.find(p.node->kernel.name());
    // A driver that names a mountpoint whether it has one or not says of what it does not have either that it
    // is mounted: where the node sees its mount, which it has forgotten, and where no Unmount may be sent.
    if (state_.plugins.Driver(v.first)->names == SimDriver::Names::kAll &&
        here == volume->second.nodes.end() &&
        (p.node->ledger_was_restored || state_.plugins.unremembered.count({v, p.node->kernel.name()}) != 0))
      Forget(p, v);
    if (!given_up) continue;
    if (here == volume->second.nodes.end() || here->second.ids.empty() || here->second.ids.count(a.id) != 0)
      continue;
    Forget(p, v);
  }
  Settle();
}

Json History::LiveAgents(NodeState& node) {
  Json live = Json::array();
  for (const auto& [scope, w] : node.live)
    if (w.owner == "agent") live.push_back(scope);
  for (const auto& p : node.processes)
    if (p)
      for (const auto& [id, asked] : p->asked)
        if (asked.what == "prepare" && GetString(asked.request, "owner") == "agent")
          live.push_back(GetString(asked.request, "scope"));
  return live;
}

bool History::ReconcilesElsewhere(const EngineProcess& p) {
  for (const auto& other : p.node->processes)
    if (other && other.get() != &p)
      for (const auto& [id, asked] : other->asked)
        if (asked.what == "recover" && asked.request.contains("live")) return true;
  return false;
}

void History::Prepare(EngineProcess& p) {
  NodeState& node = *p.node;
  constexpr const char* kOwners[] = {"run", "run", "agent", "manual"};
  std::string owner = kOwners[random().Below(4)];
  // An agent is one process, which knows what it begins behind its own list of the living.
  if (owner == "agent" && ReconcilesElsewhere(p)) owner = "manual";
  const int64_t known = node.kernel.next_process();
  pid_t pid = node.kernel.StartProcess(plan_.pids_come_again && random().OneIn(2));
  if (pid != known) ++result_.pids_again;
  Json sources;
  Json wanted = Wanted(&sources, true);
  Json request = {{"owner", owner},    {"scope", owner + std::to_string(next_scope_++)},
                  {"targets", "make"}, {"sources", sources},
                  {"wanted", wanted},  {"container", pid}};
  if (owner == "run") request["process"] = {{"pid", pid}};
  if (random().OneIn(4)) request["deadline_ms"] = 1000 + random().Below(30'000);
  int64_t deadline = GetInt(request, "deadline_ms", kPrepareMs);
  Ask(p, "prepare", request, &Engine::Prepare, deadline);
}

std::map<std::string, Workload>::iterator History::AnyLive(NodeState& node) {
  auto it = node.live.begin();
  std::advance(it, static_cast<long>(random().Below(node.live.size())));
  return it;
}

void History::EndOne(EngineProcess& p, bool politely) {
  NodeState& node = *p.node;
  if (node.live.empty()) return;
  auto it = AnyLive(node);
  std::string owner = it->second.owner, scope = it->first;
  node.kernel.EndProcess(it->second.pid);
  for (const Workload::Use& use : it->second.uses) node.ended[scope].push_back(use.stage);
  node.live.erase(it);
  if (owner != "run") node.to_clean.insert({owner, scope});
  if (politely) {
    Json request = {{"owner", owner}, {"scope", scope}};
    if (random().OneIn(3)) request["release_ms"] = 5000;
    Ask(p, "cleanup", request, &Engine::Cleanup, 60'000);
  } else if (owner == "run") {
    Ask(p, "recover", {{"owner", "run"}}, &Engine::Recover, kPrepareMs);
  }
}
}  // namespace dvdi::sim
