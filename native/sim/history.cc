#include "sim/history.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/engine.h"
#include "engine/meta.h"
#include "sim/world.h"

namespace dvdi::sim {
namespace {

constexpr const char* kDrivers[] = {"red", "blue"};
constexpr const char* kNames[] = {"a", "b", "c"};

class History {
 public:
  explicit History(const HistoryOptions& options)
      : options_(options), world_(options.seed, options.folder, options.volumes) {
    for (const char* d : kDrivers) world_.AddPlugin(d);
    world_.transport.violation = [this](const std::string& what) { Violation(what); };
    world_.transport.in_use = [this](const std::string& d, const std::string& n) { return InUse(d, n); };
  }

  HistoryResult Run() {
    world_.transport.fault_rate = world_.random.OneIn(3) ? 0 : 4 + world_.random.Below(30);
    for (int i = 0; i < options_.steps; ++i) Step();
    Heal();
    result_.transcript.insert(result_.transcript.end(), world_.transport.transcript.begin(),
                              world_.transport.transcript.end());
    return std::move(result_);
  }

 private:
  struct Workload {
    pid_t pid;
    std::vector<std::string> stages;
    std::vector<std::pair<std::string, std::string>> volumes;
  };

  void Say(const std::string& text) { result_.transcript.push_back(text); }
  void Violation(const std::string& what) { result_.violations.push_back(what + " (after: " + last_ + ")"); }

  bool InUse(const std::string& driver, const std::string& name) const {
    for (const auto& [scope, w] : live_)
      for (const auto& v : w.volumes)
        if (v.first == driver && v.second == name) return true;
    return false;
  }

  bool Open() {
    if (engine_) return true;
    world_.sys.Restart();
    EngineOptions o;
    o.keeper = false;
    Settings& s = o.settings;
    s.state_dir = options_.folder + "/state";
    s.runtime_dir = options_.folder + "/run";
    s.policy_dir = options_.policy_dir;
    s.node = "sim";
    s.plugin_paths.sockets.clear();
    s.plugin_paths.specs = {options_.folder + "/specs"};
    s.prepare_ms = 60'000, s.call_max_ms = 20'000;
    auto engine = Engine::Open(world_.env(), std::move(o));
    if (!engine.ok()) {
      Violation("the engine does not open: " + engine.status().message());
      return false;
    }
    engine_ = *engine;
    Call("recover", {{"owner", "run"}}, &Engine::Recover);
    return true;
  }

  // Runs one request to its end. Null where the engine was killed on the way.
  Json Call(const char* what, const Json& request, Status (Engine::*verb)(const Json&, Engine::Done)) {
    Json out;
    Status accepted = (engine_.get()->*verb)(request, [&](const Status& s, const Json& answer) {
      out = s.ok() ? Json{{"ok", answer}} : Json{{"error", s.message()}};
    });
    if (!accepted.ok()) out = {{"error", accepted.message()}};
    world_.scheduler.RunAll();
    Say(std::string(what) + " " + Dump(request) + " -> " +
        (out.contains("error") ? Dump(out["error"]) : "ok"));
    return out;
  }

  void Drop() {
    if (!engine_) return;
    engine_->Close(0);
    engine_.reset();
    world_.scheduler.RunAll();
  }

  // The engine's process is gone, from one system call to the next.
  void AfterCrash() {
    if (!world_.sys.crashed()) {
      world_.sys.Restart();
      return;
    }
    ++result_.crashes;
    Say("crash");
    Drop();
    world_.sys.Restart();
  }

  void Prepare() {
    std::string scope = "s" + std::to_string(next_scope_++);
    pid_t pid = world_.sys.StartProcess();
    Json sources = Json::array();
    size_t n = 1 + world_.random.Below(3);
    std::set<std::pair<std::string, std::string>> chosen;
    for (size_t i = 0; i < n; ++i) {
      std::pair<std::string, std::string> v{kDrivers[world_.random.Below(2)], kNames[world_.random.Below(3)]};
      if (!chosen.insert(v).second) continue;
      std::string access = world_.random.OneIn(2) ? "multi-writer" : "single-writer";
      Json statement = {{"volumes",
                         {{{"driver", v.first},
                           {"name", v.second},
                           {"access", access},
                           {"container_path", "/srv/" + v.first + "-" + v.second}}}}};
      sources.push_back({{"form", "statement"}, {"text", Dump(statement)}});
    }
    Json answer = Call("prepare",
                       {{"owner", "run"},
                        {"scope", scope},
                        {"process", {{"pid", pid}}},
                        {"targets", "ignore"},
                        {"sources", sources}},
                       &Engine::Prepare);
    if (world_.sys.crashed() || !answer.contains("ok")) {
      // The workload was never started.
      world_.sys.EndProcess(pid);
      ++result_.refused;
      return;
    }
    ++result_.prepared;
    Workload w{pid, {}, {chosen.begin(), chosen.end()}};
    for (const Json& v : answer["ok"]["volumes"]) {
      w.stages.push_back(GetString(v, "stage"));
      if (!world_.sys.IsMounted(w.stages.back()))
        Violation("prepare said yes, but " + w.stages.back() + " is not mounted");
    }
    live_[scope] = std::move(w);
  }

  void End(bool politely) {
    if (live_.empty()) return;
    auto it = live_.begin();
    std::advance(it, world_.random.Below(live_.size()));
    std::string scope = it->first;
    world_.sys.EndProcess(it->second.pid);
    live_.erase(it);
    if (politely) Call("cleanup", {{"owner", "run"}, {"scope", scope}}, &Engine::Cleanup);
  }

  void Step() {
    if (!Open()) return;
    uint64_t dice = world_.random.Below(20);
    last_ = "step " + std::to_string(dice);
    if (world_.random.OneIn(6)) world_.sys.CrashAfter(1 + static_cast<int64_t>(world_.random.Below(40)));
    if (dice < 9) {
      Prepare();
    } else if (dice < 14) {
      End(true);
    } else if (dice < 15) {
      End(false);
      Call("recover", {{"owner", "run"}}, &Engine::Recover);
    } else if (dice < 16) {
      const char* d = kDrivers[world_.random.Below(2)];
      bool up = world_.transport.plugins[d].up = !world_.transport.plugins[d].up;
      Say(std::string(d) + (up ? " is up" : " is down"));
    } else if (dice < 17) {
      world_.clock.ShiftWall(static_cast<int64_t>(world_.random.Below(20'000'000)) - 10'000'000);
      world_.clock.Advance(static_cast<int64_t>(world_.random.Below(120'000)));
      engine_->Tick();
      world_.scheduler.RunAll();
    } else if (dice < 18 && world_.random.OneIn(3)) {
      Say("reboot");
      ++result_.reboots;
      Drop();
      world_.sys.Reboot();
      live_.clear();
      for (const char* d : kDrivers) world_.transport.ForgetMounts(d, true);
    } else if (world_.random.OneIn(4)) {
      Say("a second engine opens and closes");
      Drop();
    } else {
      engine_->Tick();
      world_.scheduler.RunAll();
    }
    AfterCrash();
    CheckLive();
  }

  // Whatever happened: who has a volume keeps it.
  void CheckLive() {
    for (const auto& [scope, w] : live_) {
      for (const auto& stage : w.stages)
        if (!world_.sys.IsMounted(stage)) Violation("the stage of live " + scope + " is gone: " + stage);
      for (const auto& [d, n] : w.volumes)
        if (world_.transport.plugins[d].volumes[n].mountpoint.empty())
          Violation("volume " + d + "/" + n + " of live " + scope + " was unmounted");
    }
  }

  // No more faults, all workloads end: nothing may be left but the volumes with their data.
  void Heal() {
    last_ = "heal";
    world_.transport.fault_rate = 0;
    for (auto& [name, p] : world_.transport.plugins) p.up = true;
    if (!Open()) return;
    while (!live_.empty()) End(true);
    for (int i = 0; i < 6; ++i) {
      Call("recover", {{"owner", "run"}, {"wait_ms", 1000}}, &Engine::Recover);
      world_.clock.Advance(600'000);
      engine_->Tick();
      world_.scheduler.RunAll();
    }
    std::string stage_root = options_.folder + "/state/stage";
    for (const auto& m : world_.sys.MountsBelow(stage_root)) Violation("left mounted: " + m);
    for (auto& [d, p] : world_.transport.plugins)
      for (auto& [n, v] : p.volumes)
        if (!v.mountpoint.empty()) Violation("left attached: " + d + "/" + n);
    auto scopes = engine_->StatusOf({{"what", "scopes"}});
    if (!scopes.ok() || !(*scopes)["scopes"].empty()) Violation("left in the ledger: " + Dump(*scopes));
    auto summary = engine_->StatusOf({{"what", "summary"}});
    if (!summary.ok() || !(*summary)["pending"].empty()) Violation("left pending: " + Dump(*summary));
    auto ids = ListMeta(world_.env(), stage_root);
    if (ids.ok() && !ids->empty()) Violation("left below the stage root: " + ids->front());
    Drop();
  }

  const HistoryOptions options_;
  World world_;
  HistoryResult result_;
  std::shared_ptr<Engine> engine_;
  std::map<std::string, Workload> live_;
  std::string last_;
  int next_scope_ = 1;
};

}  // namespace

HistoryResult RunHistory(const HistoryOptions& options) { return History(options).Run(); }

}  // namespace dvdi::sim
