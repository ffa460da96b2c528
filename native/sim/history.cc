#include "sim/history.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "sim/invariants.h"
#include "sim/state.h"

namespace dvdi::sim {

SimKernel& EngineProcess::state_kernel(NodeState* node) { return node->kernel; }

bool State::InUse(const SimKernel& kernel, const VolumeKey& volume) const {
  for (const auto& node : nodes) {
    if (&node->kernel != &kernel) continue;
    for (const auto& [scope, w] : node->live)
      for (const auto& use : w.uses)
        if (use.volume == volume && !use.broken) return true;
  }
  return false;
}

namespace {

using Kind = Step::Kind;
using Verb = Status (Engine::*)(const Json&, Engine::Done);

constexpr const char* kDrivers[] = {"red", "blue", "sea"};  // sea: of all nodes
constexpr const char* kNames[] = {"a", "b", "c"};
constexpr const char* kAccess[] = {"single-writer", "multi-reader", "multi-writer"};
constexpr int64_t kPrepareMs = 60'000;
constexpr int kTurnsAtMost = 200'000;

class History {
 public:
  History(const Plan& plan, const Shared& shared, bool keep)
      : plan_(plan), shared_(shared), keep_(keep), state_(plan.seed) {}

  HistoryResult Run() {
    Begin();
    for (const Step& step : plan_.steps) {
      if (broken()) break;
      Do(step);
    }
    if (!broken()) Heal();
    End();
    return std::move(result_);
  }

 private:
  bool broken() const { return !result_.violations.empty(); }
  SimRandom& random() { return state_.random; }

  void Say(const std::string& line) {
    for (unsigned char c : line) result_.digest = (result_.digest ^ c) * 0x100000001B3U;
    if (keep_) result_.transcript.push_back(line);
  }
  void Broken(const std::string& invariant, const std::string& what) {
    result_.violations.push_back({invariant, what, last_});
    Say("BROKEN " + invariant + ": " + what);
  }

  // --- the world

  void Begin() {
    result_.digest = 0xCBF29CE484222325U;
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(plan_.seed & 0x7FFFFFFF) | 1, nullptr);
    random().Seed(plan_.seed);
    PluginWorld& w = state_.plugins;
    for (const char* name : kDrivers) {
      SimDriver d;
      d.name = name, d.global = std::string(name) == "sea";
      d.counts_ids = random().OneIn(2), d.unmount_unknown_is_error = random().OneIn(2);
      d.list_mountpoints = random().OneIn(2);
      w.drivers.push_back(d);
    }
    w.fault_one_in = plan_.fault_one_in;
    w.violation = [this](const std::string& what) { Broken("protocol", what); };
    w.in_use = [this](const SimKernel& node, const VolumeKey& v) { return state_.InUse(node, v); };
    w.may_remove = [this](const SimProcess& sys, const VolumeKey& v) { return MayRemove(sys, v); };
    w.creating = [this](SimProcess& sys, const VolumeKey& v, const Json& options) {
      Creating(sys, v, options);
    };
    w.mounting = [this](SimProcess& sys, const VolumeKey& v, const std::string& id) { Mounting(sys, v, id); };
    w.unmounting = [this](SimProcess& sys, const VolumeKey& v, const std::string& id) {
      Unmounting(sys, v, id);
    };
    w.say = [this](const std::string& line) {
      ++result_.plugin_calls;
      Say("  " + line);
    };
    for (const char* name : {"one", "two"}) {
      state_.nodes.push_back(std::make_unique<NodeState>(name));
      NodeState& node = *state_.nodes.back();
      PlantStrangers(node);
      node.kernel.disk.Make("/blobs", S_IFDIR | 0755, nullptr);
      for (const auto& [file, blob] :
           {std::pair{"/blobs/stock", &shared_.stock}, {"/blobs/second", &shared_.second}}) {
        SimDisk::Node made;
        node.kernel.disk.Make(file, S_IFREG | 0644, &made);
        made->data = *blob;
      }
    }
    state_.tasks.after_turn = [this] { BuryTheDead(); };
  }

  NodeState& NodeOf(const Step& step) { return *state_.nodes[static_cast<size_t>(step.node)]; }

  EngineProcess* Open(NodeState& node, int number) {
    auto& slot = node.processes[number];
    if (slot && slot->engine) return slot.get();
    if (!slot) {
      slot = std::make_unique<EngineProcess>(&node, &state_.plugins, &state_.tasks, &state_.clock,
                                             next_process_++);
      SetFaults(*slot);
    }
    EngineProcess* p = slot.get();
    EngineOptions o;
    o.keeper = false;
    o.runtime = shared_.runtime;
    Settings& s = o.settings;
    s.state_dir = kStateDir, s.runtime_dir = "/run/dvdi", s.policy_dir = std::string(kStateDir) + "/policy";
    s.node = node.kernel.name();
    s.plugin_paths.sockets.clear();
    s.plugin_paths.specs = {shared_.specs};
    s.prepare_ms = kPrepareMs, s.call_max_ms = 20'000;
    s.records_keep = 100;
    s.secret_options = {"password"};
    Env env = p->sys.env();
    env.transport = &p->transport;
    auto opened = std::make_shared<bool>(false);
    auto error = std::make_shared<Status>();
    state_.tasks.Start(&p->sys, [p, env, o, opened, error] {
      auto engine = Engine::Open(env, o);
      if (engine.ok())
        p->engine = *engine;
      else
        *error = engine.status();
      *opened = true;
    });
    int turns = 0;
    while (!*opened && slot && ++turns < kTurnsAtMost)
      if (!state_.tasks.Run(1)) break;
    if (!slot) return nullptr;  // killed on the way
    if (!*opened) {
      Broken("hang", "the engine of " + node.kernel.name() + " does not open");
      return nullptr;
    }
    if (!p->engine) {
      Say("not opened: " + error->message());
      if (!node.kernel.disk.full() && !node.mount_errors)
        Broken("opens", "the engine does not open: " + error->message());
      return nullptr;
    }
    Ask(*p, "recover", {{"owner", "run"}}, &Engine::Recover, kPrepareMs);
    return p;
  }

  void SetFaults(EngineProcess& p) {
    NodeState* node = p.node;
    p.sys.fault = [this, node](const char* call, const std::string& path) -> int {
      std::string_view name = call;
      if (node->busy_mounts && name == "umount" && random().OneIn(2)) return EBUSY;
      if (node->mount_errors && (name == "move_mount" || name == "open_tree" || name == "mount_setattr") &&
          random().OneIn(2))
        return name == "open_tree" ? EIO : ENOMEM;
      (void)path;
      return 0;
    };
    SimProcess* sys = &p.sys;
    p.sys.told = [this, sys](const char* call, const std::string& path, int err) {
      if (keep_ &&
          (path.starts_with(kTargets) || std::string_view(call).find("mount") != std::string_view::npos))
        result_.transcript.push_back("  " + sys->name() + ": " + call + " " + path +
                                     (err == 0 ? "" : " fails with errno " + std::to_string(err)));
    };
    p.sys.unmounted = [this, node](const std::string& path) {
      if (!path.starts_with(std::string(kStageRoot) + "/") || node->kernel.FindMount(path) != nullptr) {
        if (path != kStageRoot) Broken("protocol", "unmounted " + path + ", which is no stage");
      }
    };
  }

  // --- killing

  // Processes that were killed during the last turn: what their threads do from here on has no effect.
  void BuryTheDead() {
    for (auto& node : state_.nodes)
      for (auto& slot : node->processes)
        if (slot && slot->sys.dead()) Bury(*node, slot);
  }

  void Bury(NodeState& node, std::unique_ptr<EngineProcess>& slot) {
    EngineProcess* p = slot.get();
    ++result_.kills;
    Say(p->sys.name() + " is killed");
    state_.tasks.Drain(&p->sys);
    if (p->engine) {
      state_.tasks.Start(&p->sys, [p] {
        p->engine->Close(0);
        p->engine.reset();
      });
      state_.tasks.Drain(&p->sys);
    }
    p->sys.Bury();
    for (auto& [id, asked] : p->asked) Abandoned(node, asked);
    slot.reset();
  }

  // Whoever asked is dead, or with the dead.
  void Abandoned(NodeState& node, const Asked& asked) {
    std::string owner = GetString(asked.request, "owner"), scope = GetString(asked.request, "scope");
    if (asked.what == "prepare") {
      node.kernel.EndProcess(static_cast<pid_t>(GetInt(asked.request, "container")));
      if (owner != "run") node.to_clean.insert({owner, scope});
    } else if (asked.what == "cleanup" && owner != "run") {
      node.to_clean.insert({owner, scope});
    }
  }

  void Kill(NodeState& node, int number) {
    auto& slot = node.processes[number];
    if (!slot) return;
    slot->sys.Kill();
    BuryTheDead();
  }

  void Settle() {
    if (state_.tasks.Run(kTurnsAtMost)) {
      if (!state_.tasks.idle()) Broken("hang", "tasks go on and on");
      return;
    }
    Broken("hang", "tasks wait for each other without end");
  }

  // --- asking

  static Json Public(Json request) {
    request.erase("container");
    return request;
  }

  void Ask(EngineProcess& p, const std::string& what, const Json& request, Verb verb, int64_t deadline_ms) {
    int id = next_asked_++;
    Asked& asked = p.asked[id];
    asked.what = what, asked.request = request,
    asked.policy = p.node->policy.empty() ? "damaged" : p.node->policy;
    asked.deadline_ms = state_.clock.now_ms() + deadline_ms;
    std::string number = std::to_string(id);
    Say(p.sys.name() + " #" + number + " " + what + " " + Dump(Public(request)));
    EngineProcess* process = &p;
    auto done = [this, process, id, number](const Status& s, const Json& answer) {
      if (process->sys.dead()) return;
      auto it = process->asked.find(id);
      if (it == process->asked.end()) return Broken("answers", "#" + number + " was answered twice");
      Asked asked = std::move(it->second);
      process->asked.erase(it);
      Say(process->sys.name() + " #" + number + " -> " + (s.ok() ? Dump(answer) : s.message()));
      if (state_.clock.now_ms() > asked.deadline_ms + 1000 && !asked.late)
        Broken("answers-in-time", asked.what + " was answered " +
                                      std::to_string(state_.clock.now_ms() - asked.deadline_ms) +
                                      " ms after its deadline");
      if (Dump(answer).find(kSecret) != std::string::npos || s.message().find(kSecret) != std::string::npos)
        Broken("no-secret", "a secret is in the answer to " + asked.what);
      Answered(*process, asked, s, answer);
    };
    state_.tasks.Start(&p.sys, [engine = p.engine, verb, request, done] {
      Status accepted = (engine.get()->*verb)(Public(request), done);
      if (!accepted.ok()) done(accepted, Json());
    });
  }

  void Answered(EngineProcess& p, const Asked& asked, const Status& s, const Json& answer) {
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
      if (it != node.live.end() && it->second.answer["volumes"] != answer["volumes"])
        Broken("idempotent", "the same request of " + scope + " got another answer");
    } else if (asked.what == "cleanup") {
      if (s.ok() && answer["pending"].empty()) node.to_clean.erase({owner, scope});
    } else if (asked.what == "remove" && s.ok()) {
      state_.forgotten.erase({GetString(asked.request, "driver"), GetString(asked.request, "name")});
    }
  }

  void Prepared(NodeState& node, const Asked& asked, const Json& answer, pid_t pid) {
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
      Broken("decided-by", w.scope + " was decided by " + decided + " " + version + ", and " + asked.policy +
                               " was active");
    for (const Json& v : answer["volumes"]) {
      Workload::Use use;
      use.volume = {GetString(v, "driver"), GetString(v, "name")};
      use.mode = GetString(v, "mode"), use.target = GetString(v, "target"), use.stage = GetString(v, "stage");
      for (const Json& wanted : asked.request["wanted"])
        if (GetString(wanted, "container_path") == use.target) use.access = GetString(wanted, "access");
      SimDisk::Node folder;
      if (node.kernel.disk.Find(use.target, &folder) < 0)
        Broken("targets", "there is no folder " + use.target + " for " + w.scope);
      node.kernel.Bind(pid, use.target);
      w.uses.push_back(std::move(use));
    }
    if (w.uses.size() != asked.request["wanted"].size())
      Broken("answers", w.scope + " asked for other volumes than it got");
    node.live[w.scope] = std::move(w);
  }

  // --- what plugins tell

  EngineProcess* ProcessOf(const SimProcess& sys) {
    for (auto& node : state_.nodes)
      for (auto& p : node->processes)
        if (p && &p->sys == &sys) return p.get();
    return nullptr;
  }

  bool MayRemove(const SimProcess& sys, const VolumeKey& v) {
    EngineProcess* p = ProcessOf(sys);
    for (const auto& [id, asked] : p->asked)
      if ((asked.what == "remove" || asked.what == "prune") &&
          GetString(asked.request, "driver") == v.first && GetString(asked.request, "name") == v.second)
        return true;
    return false;
  }

  void Creating(SimProcess& sys, const VolumeKey& v, const Json& options) {
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

  static bool ProvesOurs(SimProcess& sys, const VolumeKey& v, const std::string& id) {
    std::string path = std::string(kStageRoot) + "/" + id + "/meta.json";
    SimDisk::Node meta;
    if (sys.kernel().disk.Find(path, &meta) < 0) return false;
    auto json = ParseJson(meta->data, path);
    if (json.ok())
      for (const Json& a : GetMember(*json, "attachments"))
        if (GetString(a, "id") == id && GetString(a, "driver") == v.first &&
            GetString(a, "volume") == v.second)
          return true;
    return false;
  }

  void Mounting(SimProcess& sys, const VolumeKey& v, const std::string& id) {
    std::string path = std::string(kStageRoot) + "/" + id + "/meta.json";
    if (!ProvesOurs(sys, v, id) || !sys.kernel().disk.Durable(path))
      Broken("protocol", "Mount of " + v.first + "/" + v.second + " before " + path + " says so durably");
  }

  void Unmounting(SimProcess& sys, const VolumeKey& v, const std::string& id) {
    if (!ProvesOurs(sys, v, id))
      Broken("protocol",
             "Unmount of " + v.first + "/" + v.second + " with ID " + id + ", which nothing proves ours");
  }

  // --- steps

  void Do(const Step& step) {
    last_ = Describe(step);
    Say("-- " + last_);
    random().Seed(step.seed);
    state_.tasks.Seed(step.seed ^ 0x5851F42D4C957F2DU);
    if (IsFault(step.kind))
      Happen(step);
    else
      Request(step);
    if (step.turns > 0) {
      if (!state_.tasks.Run(step.turns)) Broken("hang", "tasks wait for each other without end");
    } else {
      Settle();
    }
    if (step.kill_at > 0)
      if (auto& p = NodeOf(step).processes[step.process]) p->sys.KillAt(0);
    Check(AlwaysTrue());
  }

  void Check(const std::vector<Invariant>& all) {
    for (const Invariant& i : all) i.check(state_, [&](const std::string& what) { Broken(i.name, what); });
  }

  VolumeKey AnyVolume() { return {kDrivers[random().Below(3)], kNames[random().Below(3)]}; }

  // Volumes of a statement, and the sources that say so.
  Json Wanted(Json* sources, bool with_targets) {
    Json wanted = Json::array();
    std::set<VolumeKey> chosen;
    size_t n = 1 + random().Below(3);
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

  // As it was made, or a prepare where there is nothing yet that it could be about.
  static Kind KindOf(const Step& step, const NodeState& node) {
    bool of_live = step.kind == Kind::kAgain || step.kind == Kind::kCleanup || step.kind == Kind::kDie;
    return of_live && node.live.empty() ? Kind::kPrepare : step.kind;
  }

  void Request(const Step& step) {
    NodeState& node = NodeOf(step);
    EngineProcess* p = Open(node, step.process);
    if (p == nullptr) return;
    if (step.kill_at > 0) p->sys.KillAt(step.kill_at);
    const Kind kind = KindOf(step, node);
    ++result_.operations;
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
        return Ask(*p, "recover", {{"owner", "agent"}, {"live", LiveAgents(node)}}, &Engine::Recover,
                   kPrepareMs);
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
        // Nobody says that a node is dead which has workloads: that would be the operator's mistake.
        bool dead = !state_.InUse(state_.nodes[static_cast<size_t>(1 - step.node)]->kernel, v);
        return Ask(
            *p, "fence",
            {{"driver", v.first}, {"name", v.second}, {"node_is_dead", dead && NoneInFlight(1 - step.node)}},
            &Engine::Fence, kPrepareMs);
      }
      case Kind::kForget: return Forget(*p);
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

  bool NoneInFlight(int number) {
    for (const auto& p : state_.nodes[static_cast<size_t>(number)]->processes)
      if (p && !p->asked.empty()) return false;
    return true;
  }

  void Forget(EngineProcess& p) {
    VolumeKey v = AnyVolume();
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

  Json LiveAgents(NodeState& node) {
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

  void Prepare(EngineProcess& p) {
    NodeState& node = *p.node;
    constexpr const char* kOwners[] = {"run", "run", "agent", "manual"};
    std::string owner = kOwners[random().Below(4)];
    pid_t pid = node.kernel.StartProcess();
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

  std::map<std::string, Workload>::iterator AnyLive(NodeState& node) {
    auto it = node.live.begin();
    std::advance(it, static_cast<long>(random().Below(node.live.size())));
    return it;
  }

  void EndOne(EngineProcess& p, bool politely) {
    NodeState& node = *p.node;
    if (node.live.empty()) return;
    auto it = AnyLive(node);
    std::string owner = it->second.owner, scope = it->first;
    node.kernel.EndProcess(it->second.pid);
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

  void Happen(const Step& step) {
    NodeState& node = NodeOf(step);
    PluginWorld& world = state_.plugins;
    std::string driver = kDrivers[random().Below(3)];
    SimPluginProcess& plugin = world.processes[{driver, node.kernel.name()}];
    switch (step.kind) {
      case Kind::kPluginDown: plugin.up = !plugin.up; break;
      case Kind::kPluginBusy: plugin.busy = !plugin.busy; break;
      case Kind::kPluginStuck: plugin.stuck = !plugin.stuck; break;
      case Kind::kPluginForgets: world.Restart(driver, node.kernel, false); break;
      case Kind::kPluginRestart:
        for (auto& [scope, w] : node.live)
          for (auto& use : w.uses) use.broken |= use.volume.first == driver;
        world.Restart(driver, node.kernel, true);
        break;
      case Kind::kClock:
        Settle();
        state_.clock.ShiftWall(static_cast<int64_t>(random().Below(20'000'000)) - 10'000'000);
        state_.clock.Advance(static_cast<int64_t>(random().Below(120'000)));
        break;
      case Kind::kReboot: Reboot(node, false); break;
      case Kind::kPowerLoss: Reboot(node, true); break;
      case Kind::kKill: Kill(node, step.process); break;
      case Kind::kClose: Close(node, step.process); break;
      case Kind::kDiskFull: node.kernel.disk.Fill(!node.kernel.disk.full()); break;
      case Kind::kBusyMounts: node.busy_mounts = !node.busy_mounts; break;
      case Kind::kMountErrors: node.mount_errors = !node.mount_errors; break;
      case Kind::kSwap: Swap(node, step.process); break;
      case Kind::kDamagePolicy: DamagePolicy(node); break;
      case Kind::kDamageLedger: DamageLedger(node); break;
      case Kind::kElsewhere: world.CreateElsewhere(AnyVolume()); break;
      default: break;
    }
    Say("   " + driver + (plugin.up ? "" : " down") + (plugin.busy ? " busy" : "") +
        (plugin.stuck ? " stuck" : ""));
  }

  void Reboot(NodeState& node, bool power) {
    ++(power ? result_.power_losses : result_.reboots);
    for (int i : {0, 1}) Kill(node, i);
    node.live.clear();
    node.to_clean.clear();
    if (power) {
      node.power_was_lost = true;
      node.kernel.disk.PowerLoss(random());
    }
    node.kernel.Reboot();
    PlantStrangers(node);
    state_.plugins.NodeRebooted(node.kernel.name());
  }

  void Close(NodeState& node, int number) {
    auto& slot = node.processes[number];
    if (!slot || !slot->engine) return;
    EngineProcess* p = slot.get();
    state_.tasks.Start(&p->sys, [p] {
      p->engine->Close(0);
      p->engine.reset();
    });
    Settle();
    if (!slot) return;
    if (slot->sys.open_files() > 0)
      Broken("nothing-open",
             std::to_string(slot->sys.open_files()) + " descriptors left open by " + slot->sys.name());
    slot.reset();
  }

  // What was asked meanwhile may be decided by either.
  void PolicyChanges(NodeState& node) {
    for (auto& p : node.processes)
      if (p)
        for (auto& [id, asked] : p->asked) asked.policy.clear();
  }

  void Swap(NodeState& node, int number) {
    EngineProcess* p = Open(node, number);
    if (p == nullptr) return;
    const char* to = node.policy == "second" ? "stock" : "second";
    PolicyChanges(node);
    state_.tasks.Start(&p->sys, [this, p, engine = p->engine, to] {
      auto r = engine->Policy({{"verb", "install"},
                               {"path", std::string("/blobs/") + to},
                               {"allow_downgrade", true},
                               {"allow_differences", true}});
      if (p->sys.dead()) return;
      Say("install " + std::string(to) + " -> " + (r.ok() ? Dump(*r) : r.status().message()));
      ++result_.swaps;
    });
    Settle();
    PolicyChanges(node);
    // It may have failed half way, or been killed: the file says which one is active.
    ReadPolicy(node);
  }

  void ReadPolicy(NodeState& node) {
    SimDisk::Node file;
    std::string path = std::string(kStateDir) + "/policy/state.json";
    if (node.kernel.disk.Find(path, &file) < 0) return;
    auto json = ParseJson(file->data, path);
    if (!json.ok()) {
      node.policy.clear();
      return;
    }
    node.policy = GetString(*json, "active") == Sha256Hex(shared_.second) ? "second" : "stock";
  }

  void DamagePolicy(NodeState& node) {
    SimDisk::Node file;
    std::string path = std::string(kStateDir) + "/policy/state.json";
    if (node.kernel.disk.Find(path, &file) < 0) return;
    PolicyChanges(node);
    std::string text = file->data.substr(0, file->data.size() / 2);
    node.kernel.disk.Truncate(*file, 0);
    node.kernel.disk.Write(*file, 0, text);
    file->unsynced.clear();  // a loss of power must not mend it behind our back
    node.policy.clear();
  }

  void DamageLedger(NodeState& node) {
    // Under an engine that has it open nobody could tell what follows.
    for (int i : {0, 1}) Close(node, i);
    std::string path = std::string(kStateDir) + "/ledger.db";
    SimDisk::Node file;
    SimDisk& disk = node.kernel.disk;
    if (disk.Find(path, &file) < 0) return;
    node.ledger_was_lost = true;
    switch (random().Below(4)) {
      case 0: disk.Unlink(path, false); break;
      case 1: disk.Truncate(*file, 0); break;
      case 2: disk.Write(*file, 0, std::string(4096, 'x')); break;
      default: {
        uint64_t page = random().Below(file->data.size() / 4096 + 1) * 4096;
        disk.Write(*file, page, std::string(512, '\xA5'));
      }
    }
  }

  // --- the end

  // No more faults, all workloads end: nothing may be left but the volumes with their data.
  void Heal() {
    last_ = "heal";
    Say("-- heal");
    random().Seed(plan_.seed ^ 0xABCD);
    PluginWorld& world = state_.plugins;
    world.fault_one_in = 0;
    for (auto& [key, p] : world.processes) p = SimPluginProcess();
    for (auto& node : state_.nodes) {
      node->kernel.disk.Fill(false);
      node->busy_mounts = node->mount_errors = false;
    }
    Settle();
    for (auto& node : state_.nodes) {
      for (int i : {0, 1}) {
        if (broken()) return;
        Close(*node, i);
      }
      EngineProcess* p = broken() ? nullptr : Open(*node, 0);
      if (p == nullptr) return Broken("opens", "the engine of " + node->kernel.name() + " does not open");
      while (!node->live.empty()) EndOne(*p, true);
      Settle();
      auto left = node->to_clean;
      for (const auto& [owner, scope] : left)
        Ask(*p, "cleanup", {{"owner", owner}, {"scope", scope}}, &Engine::Cleanup, 60'000);
      Ask(*p, "recover", {{"owner", "agent"}, {"live", Json::array()}}, &Engine::Recover, kPrepareMs);
      for (int i = 0; i < 6 && !broken(); ++i) {
        Ask(*p, "recover", {{"owner", i % 2 == 0 ? "run" : "manual"}, {"wait_ms", 1000}}, &Engine::Recover,
            kPrepareMs);
        Settle();
        state_.clock.Advance(600'000);
        state_.tasks.Start(&p->sys, [engine = p->engine] { engine->Tick(); });
        Settle();
      }
    }
    Check(AlwaysTrue());
    Check(TrueAtTheEnd());
    for (auto& node : state_.nodes) SayLedger(*node);
  }

  // Its rows: the bytes of its file hold what SQLite leaves in pages that are not full.
  void SayLedger(NodeState& node) {
    if (!node.processes[0] || !node.processes[0]->engine) return;
    (void)node.processes[0]->engine->core().ledger->Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto records, tx.Records("", "", "", "", 1000));
      for (const auto& r : records)
        Say("record " + r.operation + " " + r.kind + " " + r.scope + " " + r.outcome + " " +
            std::to_string(r.started_ms) + " " + std::to_string(r.duration_us) + " " + r.body);
      DVDI_ASSIGN_OR_RETURN(auto volumes, tx.Volumes(""));
      for (const auto& v : volumes)
        Say("volume " + v.driver + "/" + v.name + " " + v.state + " " + std::to_string(v.created_ms) + " " +
            std::to_string(v.last_used_ms));
      return Status();
    });
  }

  void End() {
    for (auto& node : state_.nodes) {
      for (auto& slot : node->processes) {
        if (!slot) continue;
        if (broken()) {
          Kill(*node, &slot == &node->processes[0] ? 0 : 1);
        } else {
          Close(*node, &slot == &node->processes[0] ? 0 : 1);
        }
      }
      if (!broken()) {
        SimDisk::Node folder;
        if (node->kernel.disk.Find(std::string(kStateDir) + "/instances", &folder) == 0 &&
            !folder->children.empty())
          Broken("nothing-open", "left in instances/: " + folder->children.begin()->first);
      }
      node->kernel.disk.Walk([&](const std::string& path, const SimDisk::Inode& file) {
        bool ledger = path.starts_with(std::string(kStateDir) + "/ledger.db");
        Say(path + " " + std::to_string(file.mode) + (ledger ? "" : " " + Sha256Hex(file.data)));
      });
    }
    result_.switches = state_.tasks.switches();
  }

  const Plan& plan_;
  const Shared& shared_;
  const bool keep_;
  State state_;
  HistoryResult result_;
  std::string last_ = "the beginning";
  int next_scope_ = 1, next_asked_ = 1, next_process_ = 1;
};

// The stock blob with another version in its manifest: another hash, the same decisions.
std::string SecondBuild(std::string blob) {
  size_t at = blob.find("\"version\":\"");
  if (at == std::string::npos) std::abort();
  blob[at + 11] = static_cast<char>('0' + (blob[at + 11] - '0' + 7) % 10);
  return blob;
}

}  // namespace

Shared::Shared(const std::string& second_policy) {
  char folder[] = "/tmp/dvdi-sim-XXXXXX";
  if (::mkdtemp(folder) == nullptr) std::abort();
  specs = folder;
  for (const char* d : kDrivers) std::ofstream(specs + "/" + d + ".spec") << "unix:///sim/" << d << ".sock\n";
  stock = std::string(BuiltinPolicy());
  if (!second_policy.empty()) {
    std::ifstream in(second_policy, std::ios::binary);
    second.assign(std::istreambuf_iterator<char>(in), {});
  }
  if (second.empty()) second = SecondBuild(stock);
  auto created = PolicyRuntime::Create(RealEnv(), PolicyLimits{}, specs + "/compiled");
  if (!created.ok()) std::abort();
  runtime = std::move(*created);
  for (const std::string* blob : {&stock, &second}) {
    auto module = runtime->Load(*blob);
    if (!module.ok()) {
      std::fprintf(stderr, "%s\n", module.status().message().c_str());
      std::abort();
    }
    kept_.push_back(*module);
  }
  second_name = kept_[1]->manifest().name, second_version = kept_[1]->manifest().version;
}

Shared::~Shared() {
  std::error_code ignored;
  std::filesystem::remove_all(specs, ignored);
}

HistoryResult RunHistory(const Plan& plan, const Shared& shared, bool keep_transcript) {
  return History(plan, shared, keep_transcript).Run();
}

}  // namespace dvdi::sim
