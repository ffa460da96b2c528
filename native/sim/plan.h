// What a seed stands for: a list of steps, each with a seed of its own, so that a step can be left out and
// the others stay what they are.
#ifndef DVDI_SIM_PLAN_H_
#define DVDI_SIM_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dvdi::sim {

struct Step {
  enum class Kind {
    // What an engine is asked for.
    kPrepare,
    kAgain,    // the same request once more
    kCleanup,  // a workload ends, and somebody says so
    kDie,      // it ends, and nobody says so; then recovery
    kRecover,
    kReconcile,  // an agent says which of its scopes live
    kCreate,
    kRehearse,
    kRemove,
    kPrune,
    kFence,
    kForget,
    kStatus,
    kTick,
    // What happens to it.
    kPluginDown,     // or up again
    kPluginRestart,  // its mounts are gone
    kPluginForgets,  // the mounts are there, and it knows nothing of them
    kPluginBusy,     // or no more
    kPluginStuck,    // or no more
    kClock,
    kReboot,
    kPowerLoss,
    kKill,
    kClose,
    kDiskFull,     // or room again
    kBusyMounts,   // unmounts of ours fail, or no more
    kMountErrors,  // calls that make mounts fail, or no more
    kSwap,
    kDamagePolicy,
    kDamageLedger,
    kBackUpLedger,   // somebody copies it
    kRestoreLedger,  // and puts that copy in its place
    kElsewhere,      // somebody else makes a volume
    kDiskErrors,     // writes and fsyncs fail, or no more
    kNoMountTable,   // mountinfo cannot be read, or can again
    kUnmountErrors,  // unmounts of ours fail as on a mount that is broken, or no more
    kNoThreads,      // no thread can be started, or one can again
    kLooksFail,      // files of the state folder cannot be looked at, or can again
    kBadSector,      // a stage's folder or its meta.json cannot be read (EIO), or can again
  };
  Kind kind = Kind::kPrepare;
  uint64_t seed = 0;
  int node = 0, process = 0;
  int kill_at = 0;     // the process is killed at that change from here on; 0: not; of few faults
  bool power = false;  // and at that very moment its node loses its power
  int turns = 0;       // of tasks until the next step; 0: until nothing is going on
  int number = 0;      // in the plan as it was made
  // Of a fault that lasts: whether it begins, ends, or does what it does not do now.
  enum class Turn { kOther, kBegins, kEnds } turn = Turn::kOther;
};

inline bool IsFault(Step::Kind kind) { return kind >= Step::Kind::kPluginDown; }
const char* NameOf(Step::Kind kind);
std::string Describe(const Step& step);

struct Plan {
  uint64_t seed = 0;
  uint64_t fault_one_in = 0;   // plugin calls
  uint64_t single_one_in = 0;  // requests that are for one volume whatever chance has; 0: none
  bool under_engines = false;  // a ledger's file is also taken away and damaged while engines have it open
  bool kills_opening = false;  // kills count from before their engine is opened
  bool left_alone = false;     // at the end, engines undo what was begun before anybody tells them to
  bool odd_drivers = false;    // some never tell where a volume is mounted, some do so whether it is or not;
                               // some act, and answer with an error
  bool pids_come_again = false;
  std::vector<Step> steps;
};

// How plans are made, which a seed that is kept depends on.
//   1  a fault that lasts (a plugin that is down, a full disk) ends when chance has it once more: for half of
//      the time something is broken that everything needs
//   2  most such faults end within a dozen steps, so that most operations get far enough to be disturbed;
//      power is lost also in the middle of them
//   3  half of the requests are for one volume, as most workloads have it, so that more of them come to hold
//      what they asked for; fewer steps are prepares, so that more of what else can be asked, of ticks and of
//      faults falls between them; as many kills as before
//   4  a ledger's file is also taken away, damaged, and replaced by an older copy of it, while engines have
//      it open and operations go on; engines are also killed while they open, swap a policy, or meet a ledger
//      that was harmed; half of the histories end with engines that nobody tells to recover
//   5  drivers that never name a mountpoint, or always; that act and then say that they could not
//   6  disks of which now and then, or for a while always, a write or an fsync fails
//   7  mountinfo that cannot be read, now and then or for a while
//   8  unmounts that fail with EINVAL or EIO
//   9  threads that cannot be started
//  10  processes that have the number of one that has ended
//  11  open, stat, read and readdir in the state folder that fail, now and then or for a while, for want of a
//      descriptor or of memory
//  12  a stage's folder, or one of its files, that cannot be read for a while: EIO, as of a bad
//      sector
constexpr int kNewestPlans = 12;
// The newest of which no seed is known to break a promise, but with the wild policy (docs/simulation.md,
// "Plans").
constexpr int kSettledPlans = 12;

// At least `operations` steps that ask an engine for something. Each seed has some kinds of faults and not
// others.
Plan MakePlan(uint64_t seed, int operations, int generation = kNewestPlans);

}  // namespace dvdi::sim

#endif  // DVDI_SIM_PLAN_H_
