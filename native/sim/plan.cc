#include "sim/plan.h"

#include <array>
#include <iterator>
#include <map>

#include "sim/random.h"

namespace dvdi::sim {
namespace {

using Kind = Step::Kind;

struct Weight {
  Kind kind;
  const char* name;
  unsigned weight;
  bool always;    // in every history
  int since = 1;  // generation of plans
};

constexpr Weight kKinds[] = {
    {Kind::kPrepare, "prepare", 300, true},
    {Kind::kAgain, "again", 20, true},
    {Kind::kCleanup, "cleanup", 200, true},
    {Kind::kDie, "die", 40, true},
    {Kind::kRecover, "recover", 30, true},
    {Kind::kReconcile, "reconcile", 30, true},
    {Kind::kCreate, "create", 20, false},
    {Kind::kRehearse, "rehearse", 8, false},
    {Kind::kRemove, "remove", 20, false},
    {Kind::kPrune, "prune", 12, false},
    {Kind::kFence, "fence", 12, false},
    {Kind::kForget, "forget", 8, false},
    {Kind::kStatus, "status", 8, false},
    {Kind::kTick, "tick", 60, true},
    {Kind::kPluginDown, "plugin-down", 24, false},
    {Kind::kPluginRestart, "plugin-restart", 10, false},
    {Kind::kPluginForgets, "plugin-forgets", 10, false},
    {Kind::kPluginBusy, "plugin-busy", 16, false},
    {Kind::kPluginStuck, "plugin-stuck", 8, false},
    {Kind::kClock, "clock", 20, false},
    {Kind::kReboot, "reboot", 10, false},
    {Kind::kPowerLoss, "power-loss", 10, false},
    {Kind::kKill, "kill", 20, false},
    {Kind::kClose, "close", 12, false},
    {Kind::kDiskFull, "disk-full", 12, false},
    {Kind::kBusyMounts, "busy-mounts", 14, false},
    {Kind::kMountErrors, "mount-errors", 10, false},
    {Kind::kSwap, "swap", 10, false},
    {Kind::kDamagePolicy, "damage-policy", 5, false},
    {Kind::kDamageLedger, "damage-ledger", 6, false},
    {Kind::kElsewhere, "elsewhere", 10, false},
    {Kind::kBackUpLedger, "back-up-ledger", 12, false, 4},
    {Kind::kRestoreLedger, "restore-ledger", 8, false, 4},
    // Half of the histories have it often, or it would hardly ever meet an operation half way.
    {Kind::kDamageLedger, "damage-ledger", 30, false, 4},
    {Kind::kDiskErrors, "disk-errors", 16, false, 6},
    {Kind::kNoMountTable, "no-mount-table", 12, false, 7},
    {Kind::kUnmountErrors, "unmount-errors", 12, false, 8},
    {Kind::kNoThreads, "no-threads", 12, false, 9},
    {Kind::kLooksFail, "looks-fail", 12, false, 11},
    {Kind::kBadSector, "bad-sector", 16, false, 12},
};

// Of generation 3: a step about a workload, where none lives, is a prepare too.
constexpr unsigned kPreparesNow = 160;

bool Lasts(Kind kind) {
  for (Kind lasting :
       {Kind::kPluginDown, Kind::kPluginBusy, Kind::kPluginStuck, Kind::kDiskFull, Kind::kBusyMounts,
        Kind::kMountErrors, Kind::kDamagePolicy, Kind::kDiskErrors, Kind::kNoMountTable, Kind::kUnmountErrors,
        Kind::kNoThreads, Kind::kLooksFail, Kind::kBadSector})
    if (kind == lasting) return true;
  return false;
}

// A fault in which an engine does something that it can be killed in.
bool EngineActs(Kind kind) {
  return kind == Kind::kSwap || kind == Kind::kDamageLedger || kind == Kind::kRestoreLedger;
}

}  // namespace

const char* NameOf(Kind kind) {
  for (const Weight& w : kKinds)
    if (w.kind == kind) return w.name;
  return "?";
}

std::string Describe(const Step& s) {
  std::string text = std::to_string(s.number) + " " + NameOf(s.kind) + " on node " + std::to_string(s.node) +
                     ", process " + std::to_string(s.process);
  if (s.kill_at > 0)
    text += ", killed at change " + std::to_string(s.kill_at) + (s.power ? " by a loss of power" : "");
  if (s.turns > 0) text += ", for " + std::to_string(s.turns) + " turns";
  if (s.turn != Step::Turn::kOther) text += s.turn == Step::Turn::kBegins ? ", begins" : ", ends";
  return text;
}

Plan MakePlan(uint64_t seed, int operations, int generation) {
  // Mixed, or the numbers of one seed would be those of the next, shifted.
  SimRandom mixer(generation == 1 ? seed : seed ^ (0x9E3779B97F4A7C15U * static_cast<unsigned>(generation)));
  SimRandom random(mixer.Next() ^ (seed << 32));
  Plan plan;
  plan.seed = seed;
  plan.single_one_in = generation > 2 ? 2 : 0;
  plan.under_engines = plan.kills_opening = generation > 3;
  plan.left_alone = generation > 3 && random.OneIn(2);
  plan.odd_drivers = generation > 4;
  plan.pids_come_again = generation > 9 && random.OneIn(2);
  plan.fault_one_in = random.OneIn(4) ? 0 : 6 + random.Below(40);
  const uint64_t kill_one_in = random.OneIn(4)  ? 0
                               : generation > 2 ? 12 + random.Below(40)
                                                : 5 + random.Below(20);
  const uint64_t partial_one_in = random.OneIn(3) ? 0 : 2 + random.Below(4);
  const bool two_nodes = !random.OneIn(3), two_processes = !random.OneIn(3);
  std::array<unsigned, std::size(kKinds)> weights;
  unsigned total = 0;
  bool power_is_lost = false;
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = 0;
    if (kKinds[i].since > generation) continue;
    bool in = kKinds[i].always || random.OneIn(2);
    power_is_lost |= in && kKinds[i].kind == Kind::kPowerLoss;
    const bool fewer = generation > 2 && kKinds[i].kind == Kind::kPrepare;
    total += weights[i] = !in ? 0 : fewer ? kPreparesNow : kKinds[i].weight;
  }
  std::multimap<size_t, Step> ends;  // by the number of the step that they follow
  auto add = [&plan](Step step) {
    step.number = static_cast<int>(plan.steps.size());
    plan.steps.push_back(step);
  };
  for (int asked = 0; asked < operations;) {
    for (auto due = ends.begin(); due != ends.end() && due->first <= plan.steps.size(); due = ends.erase(due))
      add(due->second);
    uint64_t at = random.Below(total);
    size_t i = 0;
    while (at >= weights[i]) at -= weights[i++];
    Step s;
    s.kind = kKinds[i].kind;
    s.seed = random.Next();
    s.node = two_nodes ? static_cast<int>(random.Below(2)) : 0;
    s.process = two_processes ? static_cast<int>(random.Below(2)) : 0;
    if (!IsFault(s.kind)) {
      if (kill_one_in > 0 && random.OneIn(kill_one_in)) s.kill_at = 1 + static_cast<int>(random.Below(90));
      if (partial_one_in > 0 && random.OneIn(partial_one_in))
        s.turns = 1 + static_cast<int>(random.Below(12));
      s.power = generation > 1 && power_is_lost && s.kill_at > 0 && random.OneIn(4);
      ++asked;
    } else if (generation > 3 && EngineActs(s.kind) && kill_one_in > 0 && random.OneIn(2)) {
      s.kill_at = 1 + static_cast<int>(random.Below(60));
      s.power = power_is_lost && random.OneIn(4);
    }
    if (generation > 1 && Lasts(s.kind) && !random.OneIn(8)) {
      s.turn = Step::Turn::kBegins;
      Step end = s;
      end.turn = Step::Turn::kEnds;
      // Who sees that no policy decides any more puts one in.
      if (s.kind == Kind::kDamagePolicy) end.kind = Kind::kSwap;
      ends.emplace(plan.steps.size() + 1 + random.Below(12), end);
    }
    add(s);
  }
  return plan;
}

}  // namespace dvdi::sim
