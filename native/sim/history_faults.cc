// The steps in which something goes wrong.
#include "base/text.h"
#include "sim/history_run.h"

namespace dvdi::sim {

namespace {

using Kind = Step::Kind;

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
    case Kind::kBusyMounts: node.busy_mounts = After(step, node.busy_mounts); break;
    case Kind::kMountErrors: node.mount_errors = After(step, node.mount_errors); break;
    case Kind::kSwap: Swap(node, step.process); break;
    case Kind::kDamagePolicy: DamagePolicy(node); break;
    case Kind::kDamageLedger: DamageLedger(node); break;
    case Kind::kElsewhere: world.CreateElsewhere(AnyVolume()); break;
    default: break;
  }
  Say("   " + driver + (plugin.up ? "" : " down") + (plugin.busy ? " busy" : "") +
      (plugin.stuck ? " stuck" : ""));
}

void History::Reboot(NodeState& node, bool power) {
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

// What was asked meanwhile may be decided by either.
void History::PolicyChanges(NodeState& node) {
  for (auto& p : node.processes)
    if (p)
      for (auto& [id, asked] : p->asked) asked.policy.clear();
}

void History::Swap(NodeState& node, int number) {
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

void History::ReadPolicy(NodeState& node) {
  SimDisk::Node file;
  std::string path = std::string(kStateDir) + "/policy/state.json";
  if (node.kernel.disk.Find(path, &file) < 0) return;
  auto json = ParseJson(file->data, path);
  if (!json.ok()) {
    node.policy.clear();
    return;
  }
  node.policy = GetString(*json, "active") == shared_.second_sha256 ? "second" : "stock";
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

void History::DamageLedger(NodeState& node) {
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
}  // namespace dvdi::sim
