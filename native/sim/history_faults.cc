// The steps in which something goes wrong.
#include "base/text.h"
#include "sim/history_run.h"

namespace dvdi::sim {

namespace {

using Kind = Step::Kind;

// A disk that is gone, one that is going, and one with a bad block.
constexpr uint64_t kDiskErrorsOneIn[] = {1, 3, 12, 60};
// A process that has no descriptor or memory left, and one that has a few now and then.
constexpr uint64_t kLooksFailOneIn[] = {1, 3, 12};

// Whether a lasting fault is there after the step.
bool After(const Step& step, bool now) {
  return step.turn == Step::Turn::kOther ? !now : step.turn == Step::Turn::kBegins;
}

}  // namespace

void History::Happen(const Step& step) {
  NodeState& node = NodeOf(step);
  PluginWorld& world = state_.plugins;
  std::string driver = kDrivers[random().Below(3)];
  SimPluginProcess& plugin = world.processes[{driver, node.kernel.name()}];
  switch (step.kind) {
    case Kind::kPluginDown: plugin.up = !After(step, !plugin.up); break;
    case Kind::kPluginBusy: plugin.busy = After(step, plugin.busy); break;
    case Kind::kPluginStuck: plugin.stuck = After(step, plugin.stuck); break;
    case Kind::kPluginForgets: world.Restart(driver, node.kernel, false); break;
    case Kind::kPluginRestart:
      for (auto& [scope, w] : node.live)
        for (auto& use : w.uses) use.broken |= use.volume.first == driver;
      for (auto& p : node.processes)
        if (p)
          for (auto& [id, asked] : p->asked) {
            asked.restarted.insert(driver);
            for (const auto& [key, v] : world.volumes) {
              auto here = v.nodes.find(node.kernel.name());
              if (key.first != driver || here == v.nodes.end()) continue;
              const MountEntry* m = node.kernel.FindMount(here->second.mountpoint);
              if (m != nullptr && !p->sys.HasSeen(here->second.mounted_by, *m)) asked.unseen.insert(key);
            }
          }
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
    case Kind::kDiskFull: node.kernel.disk.Fill(After(step, node.kernel.disk.full())); break;
    case Kind::kDiskErrors:
      node.disk_error_one_in =
          After(step, node.disk_error_one_in > 0) ? kDiskErrorsOneIn[random().Below(4)] : 0;
      node.only_fsyncs = random().OneIn(2);
      break;
    case Kind::kNoMountTable: NowAndThen(step, &node.no_mount_table_one_in); break;
    case Kind::kNoThreads: NowAndThen(step, &node.no_threads_one_in); break;
    case Kind::kLooksFail: NowAndThen(step, &node.looks_fail_one_in); break;
    case Kind::kBadSector: BadSector(step, node); break;
    case Kind::kUnmountErrors: node.unmount_errors = After(step, node.unmount_errors); break;
    case Kind::kBusyMounts: node.busy_mounts = After(step, node.busy_mounts); break;
    case Kind::kMountErrors: node.mount_errors = After(step, node.mount_errors); break;
    case Kind::kSwap: Swap(step); break;
    case Kind::kDamagePolicy: DamagePolicy(node); break;
    case Kind::kDamageLedger: DamageLedger(node), MeetLedger(step); break;
    case Kind::kBackUpLedger: BackUpLedger(node); break;
    case Kind::kRestoreLedger: RestoreLedger(node), MeetLedger(step); break;
    case Kind::kElsewhere: world.CreateElsewhere(AnyVolume()); break;
    default: break;
  }
  Say("   " + driver + (plugin.up ? "" : " down") + (plugin.busy ? " busy" : "") +
      (plugin.stuck ? " stuck" : ""));
}

void History::BadSector(const Step& step, NodeState& node) {
  const bool begins = After(step, !node.unreadable.empty());
  node.unreadable.clear();
  SimDisk::Node root;
  if (!begins || node.kernel.disk.Find(kStageRoot, &root) < 0) return;
  std::vector<std::string> stages;
  for (const auto& [name, folder] : root->children)
    if (folder->children.count("meta.json") != 0) stages.push_back(std::string(kStageRoot) + "/" + name);
  if (stages.empty()) return;
  node.unreadable = stages[random().Below(stages.size())];
  node.were_unreadable.insert(node.unreadable);
  if (random().OneIn(2)) {
    // One of its files: what proves that it is ours, or what tells of one stage.
    std::vector<std::string> files;
    node.kernel.disk.Find(node.unreadable, &root);
    for (const auto& [name, file] : root->children)
      if (S_ISREG(file->mode)) files.push_back(name);
    node.unreadable += "/" + files[random().Below(files.size())];
  }
  Say("   " + node.unreadable + " cannot be read");
}

void History::NowAndThen(const Step& step, uint64_t* one_in) {
  *one_in = After(step, *one_in > 0) ? kLooksFailOneIn[random().Below(3)] : 0;
}

void History::Reboot(NodeState& node, bool power) {
  ++(power ? result_.power_losses : result_.reboots);
  for (int i : {0, 1}) Kill(node, i);
  node.live.clear();
  node.to_clean.clear();
  node.ended.clear();
  if (power) {
    // What no answer has told of may be lost: it was in no commit yet, or in one that need not be durable.
    std::erase_if(node.created, [](const auto& volume) { return !volume.second.told; });
    node.power_was_lost = true;
    node.kernel.disk.PowerLoss(random());
    (void)ReadPolicy(node);  // one that was installed a moment ago may be gone
  }
  node.kernel.Reboot();
  PlantStrangers(node);
  state_.plugins.NodeRebooted(node.kernel.name());
}

// What was asked meanwhile may be decided by either.
void History::PolicyChanges(NodeState& node) {
  for (auto& p : node.processes)
    if (p)
      for (auto& [id, asked] : p->asked) asked.policy.clear();
}

void History::Install(EngineProcess& p, const std::string& policy) {
  state_.tasks.Start(&p.sys, [this, &p, engine = p.engine, policy] {
    auto r = engine->Policy({{"verb", "install"},
                             {"path", "/blobs/" + policy},
                             {"allow_downgrade", true},
                             {"allow_differences", true}});
    if (p.sys.dead()) return;
    Say("install " + policy + " -> " + (r.ok() ? Dump(*r) : r.status().message()));
    ++result_.swaps;
  });
  Settle();
}

void History::Swap(const Step& step) {
  NodeState& node = NodeOf(step);
  node.loses_power = step.power;
  EngineProcess* p = Open(node, step.process, step.kill_at);
  if (p == nullptr) return;
  const bool had = ReadPolicy(node);
  const char* to = node.policy == "second" ? "stock" : "second";
  PolicyChanges(node);
  Install(*p, to);
  PolicyChanges(node);
  // It may have failed half way, or been killed: the file says which one is active.
  if (!ReadPolicy(node) && had)
    Broken("swap", "a swap on " + node.kernel.name() + " left no policy that can be read");
}

void History::MeetLedger(const Step& step) {
  if (step.kill_at == 0) return;
  NodeState& node = NodeOf(step);
  node.loses_power = step.power;
  if (EngineProcess* p = Open(node, step.process, step.kill_at, false))
    Ask(*p, "recover", {{"owner", "run"}}, &Engine::Recover, kPrepareMs);
}

bool History::ReadPolicy(NodeState& node) {
  SimDisk::Node file;
  std::string path = std::string(kStateDir) + "/policy/state.json";
  if (node.kernel.disk.Find(path, &file) < 0) {
    // Until one is installed the built-in one decides; if that file is lost later, none does.
    const bool used = node.kernel.disk.Find(std::string(kStateDir) + "/policy/used", &file) == 0;
    node.policy = used ? "" : "stock";
    return false;
  }
  auto json = ParseJson(file->data, path);
  if (!json.ok()) {
    node.policy.clear();
    return false;
  }
  node.policy = GetString(*json, "active") == shared_.second_sha256 ? "second" : "stock";
  return true;
}

void History::DamagePolicy(NodeState& node) {
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

// What somebody does who clears a state folder, or puts a ledger aside, and does not know of the engines.
void History::TakeLedgerAway(NodeState& node) {
  SimDisk& disk = node.kernel.disk;
  const std::string path = std::string(kStateDir) + "/ledger.db";
  node.ledger_was_lost = true;
  const bool aside = random().OneIn(3), all = random().OneIn(2);
  for (const char* end : {"", "-wal", "-shm"}) {
    if (aside)
      disk.Rename(path + end, path + ".old" + end);
    else
      disk.Unlink(path + end, false);
    if (!all) return;
  }
}

void History::DamageLedger(NodeState& node) {
  const bool in_use = plan_.under_engines && !random().OneIn(4);
  for (int i : {0, 1}) {
    if (!in_use)
      Close(node, i);
    else if (node.processes[i] && node.processes[i]->engine)
      ++result_.ledgers_harmed;
  }
  if (in_use && random().OneIn(2)) return TakeLedgerAway(node);
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

// As a snapshot of the filesystem has it.
void History::BackUpLedger(NodeState& node) {
  node.ledger_copy.clear();
  node.scopes_of_copy = node.to_clean;
  for (const auto& [scope, w] : node.live) node.scopes_of_copy.insert({w.owner, scope});
  for (const auto& p : node.processes)
    if (p)
      for (const auto& [id, asked] : p->asked)
        node.scopes_of_copy.insert({GetString(asked.request, "owner"), GetString(asked.request, "scope")});
  for (const char* end : {"", "-wal"}) {
    SimDisk::Node file;
    const std::string path = std::string(kStateDir) + "/ledger.db" + end;
    if (node.kernel.disk.Find(path, &file) == 0) node.ledger_copy[path] = file->data;
  }
}

// New files in the place of those that are there, as tar(1) makes them.
void History::RestoreLedger(NodeState& node) {
  if (node.ledger_copy.empty() || node.kernel.disk.full()) return;
  if (random().OneIn(2))
    for (int i : {0, 1}) Close(node, i);
  node.ledger_was_lost = node.ledger_was_restored = true;
  // An older ledger knows nothing of later uses, and a prune goes by it (docs/ledger.md).
  for (auto& [key, volume] : state_.plugins.volumes) volume.had_by.erase(node.kernel.name());
  // A scope that has ended since is one again, and who puts an old ledger in place ends it again.
  for (const auto& [owner, scope] : node.scopes_of_copy)
    if (owner != "run" && node.live.count(scope) == 0) node.to_clean.insert({owner, scope});
  SimDisk& disk = node.kernel.disk;
  for (const char* end : {"", "-wal", "-shm"})
    disk.Unlink(std::string(kStateDir) + "/ledger.db" + end, false);
  for (const auto& [path, bytes] : node.ledger_copy) {
    SimDisk::Node made;
    if (disk.Make(path, S_IFREG | 0600, &made) != 0) continue;
    disk.Write(*made, 0, bytes);
    disk.Sync(*made);
  }
}
}  // namespace dvdi::sim
