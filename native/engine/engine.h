// An engine on one node's state folder: takes requests, runs operations, keeps what is pending going.
#ifndef DVDI_ENGINE_ENGINE_H_
#define DVDI_ENGINE_ENGINE_H_

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "engine/core.h"
#include "engine/undo.h"

namespace dvdi {

class PrepareOperation;

// What a thread of the engine looks after by itself. No operation of an engine waits for ever: what waits
// for room or for its time needs somebody who lets it in, and ends it at its deadline.
enum class Keeping {
  kAll,      // that, and what Tick does beside it
  kWaits,    // that alone: nothing is retried
  kNothing,  // there is no thread: whoever opened the engine calls Tick, as a simulation does
};

struct EngineOptions {
  Settings settings;
  Keeping keeper = Keeping::kAll;
  bool classic_mounts = false;  // mount(2) even where the descriptor calls exist
  // Shared with other engines of this process, so that a blob is compiled and loaded once; null: its own.
  std::shared_ptr<PolicyRuntime> runtime;
};

// Thread-safe.
class Engine : public std::enable_shared_from_this<Engine> {
 public:
  // Called once, on a thread of the engine: OK and the answer, or the error (`answer` is null then).
  using Done = std::function<void(const Status& status, const Json& answer)>;

  static Result<std::shared_ptr<Engine>> Open(const Env& env, EngineOptions options);
  ~Engine();

  // The functions of dvdi.h, whose comments say what goes in and out. A returned error means that `done` will
  // not be called.
  Status Prepare(const Json& request, Done done);
  Status Cleanup(const Json& request, Done done);  // cleanup.cc
  Status Recover(const Json& request, Done done);  // recovery.cc
  Status Remove(const Json& request, Done done);   // remove.cc
  Status Fence(const Json& request, Done done);    // fence.cc
  Result<Json> StatusOf(const Json& query);        // status.cc
  Status Ask(const Json& query, Done done);        // usage.cc
  Result<Json> Explain(const Json& query);         // status.cc
  Result<Json> Forget(const Json& request);        // forget.cc
  // The metrics in Prometheus' text format (metrics.cc).
  Result<std::string> Metrics();
  // The same by plain names: `dvdi_operations_total{kind="prepare",outcome="ok"}` is
  // operations_total/prepare/ok. Buckets of histograms are left out.
  static Json MetricValues(const std::string& text);
  // Writes them to the settings' metrics file, if there is one and it is old, or `now`.
  void WriteMetrics(bool now);
  Result<Json> Policy(const Json& request);  // policy_verbs.cc
  void Close(int64_t wait_ms);

  // What the keeper does: expired waits, due releases, unfinished operations. Returns the monotonic time
  // (ms) at which it wants to be called again.
  int64_t Tick();
  Core& core() { return *core_; }

 private:
  explicit Engine(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  // The callback, counted: Close waits until each was called. It is called once, with the first answer; where
  // all who could have given one are gone (what they did threw), with kInternal.
  Done Promise(Done done);
  // Runs `task` on the front thread: short work that must not hold up the caller. What it gives back may take
  // long: it runs on that thread too, which another one then stands in for. What either throws goes to
  // `done`, as does the reason why there is no thread.
  using Rest = std::function<void()>;
  void Front(Done done, std::function<Rest()> task);
  void FrontLoop();
  // `all`: it calls Tick. Fails where there is no thread to be had.
  Status StartKeeper(bool all);
  // The keeper's look where it only looks at what waits. As Tick, when it is to look again.
  int64_t LookAtWaits();
  // The keeper looks at once.
  void Wake() { core_->wake_at(0); }

  Status Begin(const Json& request, bool take_over, Done done);
  Rest PrepareFront(Json request, bool take_over, Done done);
  // `learned`: what LearnWhatIsLeft has answered. `known`: the operations of which `request` says which live;
  // null for those of when it is admitted.
  Result<Json> RecoverNow(const Json& request, const Status& learned, const std::vector<OperationRow>* known);
  // One turn of an admitted prepare: to its answer, or to its next turn.
  void Conduct(const std::shared_ptr<PrepareOperation>& operation, const std::vector<std::string>& drivers,
               const Done& done, const Status& admitted);
  // Behind the answer of a cleanup, or of a prepare that failed. `locks`: of the volumes of its scope, where
  // it holds them.
  void ReleaseBehind(const std::vector<AttachmentRow>& releasing, std::unique_ptr<VolumeLocks> locks);

  // Makes the mounts of the original Mesos module, in its file at `path`, scopes of `owner`; once
  // (original.cc). `live`: the containers that the owner knows to be alive, null where it does not say. What
  // became of each mount, in lines.
  Json TakeOver(const std::string& owner, const std::string& path, const Json* live);
  // How full the attached volumes are, and which of them are lost (usage.cc).
  Result<Json> UsageOf(const Json& query);

  class Promised;
  struct FrontTask {
    Done done;
    std::function<Rest()> run;
  };

  std::shared_ptr<Core> core_;
  std::mutex front_mu_;
  std::deque<FrontTask> front_;
  bool front_running_ = false;
  int unanswered_ = 0;
  std::condition_variable answered_;
  // The keeper's, shared with its thread.
  struct Keeper {
    std::mutex mu;
    std::condition_variable cv;
    bool stop = false, running = false;
    int64_t next_ms = 0;  // monotonic: when it looks again
    void WakeAt(int64_t monotonic_ms);
  };
  std::shared_ptr<Keeper> keeper_ = std::make_shared<Keeper>();
};

// --- recover.cc
// Fills a ledger that is new from the stage folder and mountinfo, and one that has lost what is mounted
// (promise 8).
Status RebuildLedger(Core& core);
// What a rebuild could not read, where it can be read by now: of a ledger that is whole there is nothing. Any
// thread; transactions of others wait meanwhile.
Status LearnWhatIsLeft(Core& core);
// What the ledger has of operations now.
Result<std::vector<OperationRow>> AllOperations(Core& core);
// Of `operations` takes up the unfinished ones of engines that have ended, and committed ones of `owner`
// whose scope is over. `live`: the scopes that the owner knew to be alive when `operations` were read, null
// where it does not say.
struct RecoverOutcome {
  Json undone = Json::array(), ended = Json::array(), problems = Json::array();
};
RecoverOutcome RecoverOwner(Core& core, const std::string& owner, const Json* live,
                            const std::vector<OperationRow>& operations);
// Of two IDs of one volume that nothing uses the later one counts: whoever took it found the other in no row,
// so that one's Mount was never sent, or is over. `found` is in no row yet.
bool IsSuperseded(const AttachmentRow& known, const AttachmentRow& found);
// Folders of attachments that the ledger does not know: removed where they are only left over, taken into the
// ledger where the row was lost.
Status SweepStageRoot(Core& core);
// Finds what is below the stage root and not provably ours, for status. Nothing is touched.
void ReportStrangers(Core& core);
// Whether a committed operation's scope is over, as far as the node can tell.
bool ScopeIsOver(Core& core, const OperationRow& operation);
// Whether the number of the scope's process is one of our PID namespace.
bool KnowsPid(const Core& core, const OperationRow& operation);
// Claims and undoes an operation whatever its state. False where another operation is at it or was quicker:
// nothing was done.
Result<bool> TakeDown(Core& core, const OperationRow& seen, const char* kind, const Status& why,
                      int64_t lock_deadline_ms, UndoOutcome* outcome);

}  // namespace dvdi

#endif  // DVDI_ENGINE_ENGINE_H_
