// One history while it runs. Each group of its functions has a file of its own.
#ifndef DVDI_SIM_HISTORY_RUN_H_
#define DVDI_SIM_HISTORY_RUN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/history.h"
#include "sim/invariants.h"
#include "sim/state.h"

namespace dvdi::sim {

inline constexpr const char* kDrivers[] = {"red", "blue", "sea"};  // sea: of all nodes
inline constexpr const char* kNames[] = {"a", "b", "c"};           // volumes of each
inline constexpr int64_t kPrepareMs = 60'000;
inline constexpr int kTurnsAtMost = 200'000;

// Whatever is drawn at random is drawn from the state's generator, in an order that the seed alone decides:
// another draw, or one that comes earlier, makes other histories of all seeds.
//
// Functions run on the thread that called Run, but for what they say of themselves: callbacks of plugins and
// answers of engines come on the thread of a task, while all others rest.
class History {
 public:
  // `plan` and `shared` must outlive it. `keep`: the result has the transcript.
  History(const Plan& plan, const Shared& shared, bool keep);

  // Once. Does the steps until something is broken; if nothing is, heals the world and checks what must be
  // left.
  HistoryResult Run();

 private:
  using Verb = Status (Engine::*)(const Json&, Engine::Done);

  bool broken() const { return !result_.violations.empty(); }
  SimRandom& random() { return state_.random; }
  NodeState& NodeOf(const Step& step) { return *state_.nodes[static_cast<size_t>(step.node)]; }

  // --- history.cc: the run
  void Begin();
  void Do(const Step& step);
  void Heal();
  void LeaveAlone();
  void EndAll(NodeState& node);
  // Nobody asks the engine for anything: it gets ticks alone, ten minutes apart.
  void Wait(EngineProcess& p, int ticks);
  // In a world without faults a node gives out all its volumes once more, and gets them back.
  void ServeAgain(NodeState& node);
  void End();
  // Until all tasks are idle. It is broken where they never are.
  void Settle();
  void Check(const std::vector<Invariant>& all);
  // A line of the transcript. All lines are in the digest, also where the transcript is not kept.
  void Say(const std::string& line);
  // The history ends with this step.
  void Broken(const std::string& invariant, const std::string& what);
  void SayLedger(NodeState& node);

  // --- history_engines.cc: engines are opened, asked, closed and killed
  // The engine of a node's process, opened and told to recover where it was not open. Null where it does not
  // open, or is killed on the way; a killed process is gone from its node, and pointers to it with it.
  // `kill_at`: a Step's; it counts from before the engine opens. `recovers`: false: it is not told to.
  EngineProcess* Open(NodeState& node, int number, int kill_at = 0, bool recovers = true);
  void SetFaults(EngineProcess& p);
  void Staged(const std::string& stage);
  // Starts a request; its answer comes to Answered, on the thread of a task, unless the process is killed
  // first. `deadline_ms` is from now on. The member "container" of a request is ours and the engine does not
  // see it; a member "live" is filled at the call.
  void Ask(EngineProcess& p, const std::string& what, const Json& request, Verb verb, int64_t deadline_ms);
  void Close(NodeState& node, int number);
  void Kill(NodeState& node, int number);
  // After each turn: what the threads of killed processes do from here on has no effect.
  void BuryTheDead();
  void Bury(NodeState& node, std::unique_ptr<EngineProcess>& slot);
  void Abandoned(NodeState& node, const Asked& asked);
  EngineProcess* ProcessOf(const SimProcess& sys);

  // --- history_judge.cc: answers, and calls that plugins get; on the threads of tasks
  void Answered(EngineProcess& p, const Asked& asked, const Status& s, const Json& answer);
  void Prepared(NodeState& node, const Asked& asked, const Json& answer, pid_t pid);
  // What was said is held against what is.
  void CleanedUp(NodeState& node, const std::string& scope, const Json& answer);
  void Created(NodeState& node, const Asked& asked, const Json& answer);
  bool MayRemove(const SimProcess& sys, const VolumeKey& v);
  void Creating(SimProcess& sys, const VolumeKey& v, const Json& options);
  void Mounting(SimProcess& sys, const VolumeKey& v, const std::string& id);
  void Unmounting(SimProcess& sys, const VolumeKey& v, const std::string& id);

  // --- history_requests.cc: steps that want something of an engine
  void Request(const Step& step);
  void Prepare(EngineProcess& p);
  static bool ReconcilesElsewhere(const EngineProcess& p);
  void EndOne(EngineProcess& p, bool politely);  // nothing where no workload lives
  void Forget(EngineProcess& p, const VolumeKey& v);
  // What only the IDs of earlier ones that were forgotten keep from being released.
  void ForgetAgain(EngineProcess& p);
  Json LiveAgents(NodeState& node);
  VolumeKey AnyVolume();
  // Volumes of a statement, and the sources that say so.
  Json Wanted(Json* sources, bool with_targets);
  std::map<std::string, Workload>::iterator AnyLive(NodeState& node);  // of one or more

  // --- history_faults.cc: steps in which something goes wrong
  void Happen(const Step& step);
  // A fault that lasts, and is met each time or now and then: one in so many; 0: it is over.
  void BadSector(const Step& step, NodeState& node);
  void NowAndThen(const Step& step, uint64_t* one_in);
  void Reboot(NodeState& node, bool power);
  void Swap(const Step& step);
  void Install(EngineProcess& p, const std::string& policy);
  void PolicyChanges(NodeState& node);
  bool ReadPolicy(NodeState& node);  // false where none is there, or it cannot be read
  void DamagePolicy(NodeState& node);
  void TakeLedgerAway(NodeState& node);
  void DamageLedger(NodeState& node);
  // Of a step that kills: somebody opens a ledger that was harmed, and is killed on the way.
  void MeetLedger(const Step& step);
  void BackUpLedger(NodeState& node);
  void RestoreLedger(NodeState& node);

  const Plan& plan_;
  const Shared& shared_;
  const bool keep_;
  State state_;
  HistoryResult result_;
  std::string last_ = "the beginning", refusal_;  // the last one's words
  int next_scope_ = 1, next_asked_ = 1, next_process_ = 1;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_HISTORY_RUN_H_
