// The run of a history from its world to its end, and what is kept of it.
#include "sim/history.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "ledger/db.h"
#include "policy/checksum.h"
#include "sim/history_run.h"

namespace dvdi::sim {

namespace {

// The stock blob with another version in its manifest: another hash, the same decisions.
std::string SecondBuild(std::string blob) {
  size_t at = blob.find("\"version\":\"");
  if (at == std::string::npos) std::abort();
  blob[at + 11] = static_cast<char>('0' + (blob[at + 11] - '0' + 7) % 10);
  return blob;
}

// Of a file's bytes, for the digest.
std::string Sum(std::string_view bytes) {
  unsigned char sum[16];
  Checksum(bytes.data(), bytes.size(), 0, sum);
  return Hex(sum, sizeof sum);
}

// Where the drivers listen, as an administrator has written it.
void PlantPlugins(NodeState& node) {
  SimDisk& disk = node.kernel.disk;
  for (const char* folder : {"/etc", "/etc/docker", kPluginDir}) {
    SimDisk::Node made;
    if (disk.Make(folder, S_IFDIR | 0755, &made) == 0) made->fixed = true;
  }
  for (const char* driver : kDrivers) {
    SimDisk::Node made;
    if (disk.Make(std::string(kPluginDir) + "/" + driver + ".spec", S_IFREG | 0644, &made) != 0) continue;
    disk.Write(*made, 0, "unix:///sim/" + std::string(driver) + ".sock\n");
    disk.Sync(*made);
    made->fixed = true;
  }
}

}  // namespace

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

History::History(const Plan& plan, const Shared& shared, bool keep)
    : plan_(plan), shared_(shared), keep_(keep), state_(plan.seed) {}

HistoryResult History::Run() {
  Begin();
  // Else hardly an operation would be its.
  if (shared_.wild())
    for (auto& node : state_.nodes) {
      if (EngineProcess* p = Open(*node, 0)) Install(*p, "second");
      (void)ReadPolicy(*node);
    }
  for (const Step& step : plan_.steps) {
    if (broken()) break;
    Do(step);
  }
  if (!broken()) Heal();
  End();
  return std::move(result_);
}

void History::Say(const std::string& line) {
  unsigned char sum[16];
  Checksum(line.data(), line.size(), result_.digest, sum);
  std::memcpy(&result_.digest, sum, sizeof result_.digest);
  if (keep_) result_.transcript.push_back(line);
}

void History::Broken(const std::string& invariant, const std::string& what) {
  result_.violations.push_back({invariant, what, last_});
  Say("BROKEN " + invariant + ": " + what);
}

void History::Begin() {
  ConfigureSqlite();
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, static_cast<int>(plan_.seed & 0x7FFFFFFF) | 1, nullptr);
  random().Seed(plan_.seed);
  PluginWorld& w = state_.plugins;
  for (const char* name : kDrivers) {
    SimDriver d;
    d.name = name, d.global = std::string(name) == "sea";
    d.counts_ids = random().OneIn(2), d.unmount_unknown_is_error = random().OneIn(2);
    d.list_mountpoints = random().OneIn(2);
    if (plan_.odd_drivers) d.names = static_cast<SimDriver::Names>(random().Below(3));
    w.drivers.push_back(d);
  }
  w.fault_one_in = plan_.fault_one_in, w.errors_after_acts = plan_.odd_drivers;
  w.violation = [this](const std::string& what) { Broken("protocol", what); };
  w.in_use = [this](const SimKernel& node, const VolumeKey& v) { return state_.InUse(node, v); };
  w.mounted_on = [this](const std::string& name, const VolumeKey& v) {
    for (const auto& node : state_.nodes)
      if (node->kernel.name() == name) return state_.plugins.Mounted(node->kernel, v);
    return false;
  };
  w.may_remove = [this](const SimProcess& sys, const VolumeKey& v) { return MayRemove(sys, v); };
  w.creating = [this](SimProcess& sys, const VolumeKey& v, const Json& options) {
    Creating(sys, v, options);
  };
  w.mounting = [this](SimProcess& sys, const VolumeKey& v, const std::string& id) { Mounting(sys, v, id); };
  w.unmounting = [this](SimProcess& sys, const VolumeKey& v, const std::string& id) {
    Unmounting(sys, v, id);
  };
  w.created = [this](SimProcess& sys, const VolumeKey& v) { ProcessOf(sys)->node->created[v] = {}; };
  w.removed = [this](SimProcess&, const VolumeKey& v) {
    for (auto& node : state_.nodes) node->created.erase(v);
  };
  w.say = [this](const std::string& line) {
    ++result_.plugin_calls;
    Say("  " + line);
  };
  for (const char* name : {"one", "two"}) {
    state_.nodes.push_back(std::make_unique<NodeState>(name));
    NodeState& node = *state_.nodes.back();
    PlantPlugins(node);
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

void History::Settle() {
  if (state_.tasks.Run(kTurnsAtMost)) {
    if (!state_.tasks.idle()) Broken("hang", "tasks go on and on");
    return;
  }
  Broken("hang", "tasks wait for each other without end");
}

void History::Do(const Step& step) {
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
  NodeOf(step).loses_power = false;
  Check(AlwaysTrue());
}

void History::Check(const std::vector<Invariant>& all) {
  for (const Invariant& i : all) i.check(state_, [&](const std::string& what) { Broken(i.name, what); });
}

// No more faults, all workloads end: nothing may be left but the volumes with their data.
void History::Heal() {
  last_ = "heal";
  Say("-- heal");
  random().Seed(plan_.seed ^ 0xABCD);
  PluginWorld& world = state_.plugins;
  world.fault_one_in = 0;
  for (auto& [key, p] : world.processes) p = SimPluginProcess();
  for (auto& node : state_.nodes) {
    node->kernel.disk.Fill(false);
    node->busy_mounts = node->mount_errors = false;
    node->disk_error_one_in = node->no_mount_table_one_in = 0;
    node->no_threads_one_in = node->looks_fail_one_in = 0, node->unmount_errors = false;
    node->unreadable.clear();
  }
  Settle();
  if (plan_.left_alone) LeaveAlone();
  for (auto& node : state_.nodes) {
    if (broken()) return;
    EndAll(*node);
  }
  if (broken()) return;
  Check(AlwaysTrue());
  Check(TrueOnceReleased());
  for (auto& node : state_.nodes)
    if (!broken()) ServeAgain(*node);
  for (auto& node : state_.nodes) {
    if (broken()) return;
    Ask(*node->processes[0], "recover", {{"owner", "run"}}, &Engine::Recover, kPrepareMs);
    Settle();
    if (!plan_.left_alone || broken()) continue;
    // No engine was opened here since the last kill, and what tells of dead ones is swept by who opens.
    Close(*node, 1);
    if (!broken()) Open(*node, 1);
    Settle();
  }
  Check(AlwaysTrue());
  Check(TrueOnceReleased());
  Check(TrueAtTheEnd());
  for (auto& node : state_.nodes) SayLedger(*node);
}

void History::LeaveAlone() {
  for (auto& node : state_.nodes) {
    if (broken()) return;
    Close(*node, 1);
    EngineProcess* p = broken() ? nullptr : Open(*node, 0, 0, false);
    if (p == nullptr) return Broken("opens", "the engine of " + node->kernel.name() + " does not open");
    Wait(*p, 2);
  }
  if (broken()) return;
  Check(AlwaysTrue());
  Check(TrueOnceLeftAlone());
}

void History::EndAll(NodeState& node) {
  for (int i : {0, 1}) {
    if (broken()) return;
    if (!plan_.left_alone) Close(node, i);
  }
  EngineProcess* p = broken() ? nullptr : Open(node, 0);
  if (p == nullptr) return Broken("opens", "the engine of " + node.kernel.name() + " does not open");
  // Who has made a file readable again says so: what it proves is known by the engine then.
  if (!node.were_unreadable.empty()) {
    Ask(*p, "recover", {{"owner", "run"}}, &Engine::Recover, kPrepareMs);
    Settle();
  }
  while (!node.live.empty()) EndOne(*p, true);
  Settle();
  auto left = node.to_clean;
  for (const auto& [owner, scope] : left)
    Ask(*p, "cleanup", {{"owner", owner}, {"scope", scope}}, &Engine::Cleanup, 60'000);
  // Each owner says once which of its workloads are over, and waits for nothing.
  for (const char* owner : {"agent", "run", "manual"}) {
    Json request = {{"owner", owner}};
    if (request["owner"] == "agent") request["live"] = Json::array();
    Ask(*p, "recover", request, &Engine::Recover, kPrepareMs);
    Settle();
  }
  Wait(*p, 4);
  if (broken()) return;
  ForgetAgain(*p);
  Wait(*p, 2);
}

void History::Wait(EngineProcess& p, int ticks) {
  for (int i = 0; i < ticks && !broken(); ++i) {
    state_.clock.Advance(600'000);
    state_.tasks.Start(&p.sys, [engine = p.engine] { engine->Tick(); });
    Settle();
  }
}

// Its rows: the bytes of its file hold what SQLite leaves in pages that are not full.
void History::SayLedger(NodeState& node) {
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

void History::End() {
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
      Say(path + " " + std::to_string(file.mode) +
          (ledger ? "" : " " + std::to_string(file.size()) + " " + Sum(file.data)));
    });
  }
  result_.switches = state_.tasks.switches();
}
Shared::Shared(const std::string& second_policy, const std::string& compiled) {
  char folder[] = "/tmp/dvdi-sim-XXXXXX";
  if (::mkdtemp(folder) == nullptr) std::abort();
  folder_ = folder;
  stock = std::string(BuiltinPolicy());
  if (!second_policy.empty()) {
    std::ifstream in(second_policy, std::ios::binary);
    second.assign(std::istreambuf_iterator<char>(in), {});
  }
  if (second.empty()) second = SecondBuild(stock);
  auto created =
      PolicyRuntime::Create(RealEnv(), PolicyLimits{}, compiled.empty() ? folder_ + "/compiled" : compiled);
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
  second_sha256 = Sha256Hex(second);
}

Shared::~Shared() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

HistoryResult RunHistory(const Plan& plan, const Shared& shared, bool keep_transcript) {
  return History(plan, shared, keep_transcript).Run();
}

}  // namespace dvdi::sim
