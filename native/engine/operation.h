// One prepare: what it was asked for, what it knows of its volumes, what it has done so far.
#ifndef DVDI_ENGINE_OPERATION_H_
#define DVDI_ENGINE_OPERATION_H_

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "engine/core.h"
#include "engine/recorder.h"
#include "engine/undo.h"
#include "ledger/rows.h"
#include "policy/revision.h"

namespace dvdi {

// What a prepare is for. A workload's volumes are attached and staged; the others leave nothing to be undone
// (apart.cc).
enum class Goal {
  kWorkload,
  kCreate,     // the volumes are to exist
  kRehearsal,  // to be told what would be done: drivers are asked, and told nothing
};

// A prepare request that was read and parsed by the policy.
struct PrepareRequest {
  Goal goal = Goal::kWorkload;
  // The workload runs, and has its volumes mounted by somebody else: whatever fails, they stay mounted.
  bool take_over = false;
  OperationRow operation;  // owner, scope, process, request_hash
  bool has_user = false;
  uint32_t uid = 0, gid = 0;
  std::string user;  // a name that is to be looked up
  // Where container paths lie on this node: relative ones beneath the first, absolute ones beneath the
  // second. "": as they are.
  std::string relative_base, absolute_base;
  std::string targets = "ignore";  // "make", "check", "ignore"
  std::string covers;              // a path that must be in one of the volumes; "": none
  bool hide = false;               // whether "hide" is wanted
  int64_t deadline_ms = 0;         // monotonic
  Json volumes = Json::array();    // VolumeRequests
  Json notes = Json::array();
  std::vector<std::pair<std::string, std::string>> secrets;  // of the parse: handle, value
  std::unique_ptr<PolicyInstance> policy;                    // that parsed it
};

// Why a scope that has volumes gets no others. How one is ended depends on who began it: the owners are those
// of the command line, and of a caller that is not known here only the rule is told.
Status ScopeTaken(const OperationRow& operation);

// One volume request on its way.
struct VolumeState {
  Json request;  // VolumeRequest
  std::string driver, name, target, mode, access;
  AttachmentRow attachment;  // shared in content with the other requests for the same volume
  size_t first = 0;          // index of the first request for the same volume
  bool fresh = false;        // the ledger had no attachment of it: the ID is this operation's
  std::string before;        // "none", "attached", "releasing"
  std::vector<UserRow> users;
  std::optional<VolumeRow> history;
  // What the plugin has said in this operation (promise 11).
  bool get_said_no = false, list_without = false, created = false;
  bool create_sent = false;  // and it may be there
  bool there = false;        // the driver said that it has it
  bool mount_opts = false;   // its driver takes options with a Mount
  bool attached = false;     // Mount was answered, now or before
  std::string unseen;  // where its driver said that it is, if nobody could look there or has it unknown to us
  std::string owned;   // how the ownership of what is in it was changed, for the audit log
  std::string stage;   // the folder, once mounted
  std::string unstaged;  // why the last try to mount it failed
};

// Runs on one thread.
class PrepareOperation {
 public:
  PrepareOperation(Core& core, PrepareRequest request, std::shared_ptr<const Revision> revision,
                   Recorder recorder);

  struct Outcome {
    Status status;  // OK: `answer` is dvdi_prepare's
    Json answer;
    std::vector<AttachmentRow> releasing;  // to be released behind the answer; the locks are still held
    std::unique_ptr<VolumeLocks> locks;
    int64_t again_ms = 0;  // monotonic: there is no answer yet, nothing is held, and Run is to be called then
  };
  Outcome Run();
  // Instead of a further Run: it ends with what it was refused for.
  Outcome GiveUp();

  int64_t deadline_ms() const { return request_.deadline_ms; }

  // Behind the answer of Run: what it says of policies (watch.cc).
  void Watch(const Status& status) const;

  // --- host calls (host_calls.cc); `name` is one of OfferedImports()
  Result<std::string> HostCall(std::string_view name, std::string_view request);

 private:
  std::vector<VolumeState> FreshVolumes() const;
  std::string TargetOf(const std::string& container_path) const;
  VolumeLocks::Names Names() const;                // of the volumes, sorted, each once
  Json Notes() const;                              // the request's and the policy's
  std::string PolicyMessage(size_t volume) const;  // "" where it said nothing of that one
  Status Look();
  Status ReadMounts();
  Status Journal(const std::vector<size_t>& mounts, const std::vector<size_t>& creates);
  Status CheckTargets();
  Status Try(Outcome* outcome);
  Status LookAndDecide();
  bool Pauses(const Status& refused);
  void Resume();
  void NoteWait();
  Status Decide();
  Status MakeTargets();
  Result<Json> Commit();
  void OweUnmounts() const;
  void Fail(const Status& why, Outcome* outcome);
  void UndoBegun(const Status& why, Outcome* outcome);
  void EndStages() const;
  // To the audit log and the counters (tell.cc): what was done, and that it was refused where `why` is an
  // error.
  void Tell(const Status& why) const;
  void TellCreated(const VolumeState& v) const;
  Json InputForPolicy() const;
  Json AttachmentForPolicy(const VolumeState& v) const;
  Json HistoryForPolicy(const VolumeState& v) const;

  Result<Json> PluginCall(const Json& request);
  Status FillCall(const Json& item, Call* call, size_t* volume, std::string* refused);
  Status BeforeEffects(const std::vector<size_t>& mounts, const std::vector<size_t>& creates);
  Status RecordCreated();
  // That RecordCreated failed, to who would be told that volumes were made for him.
  Status NotKept(Status why) const;
  Status RecordPlaces();
  Status PutIntent(LedgerTx& tx);
  Result<bool> HasIntent(LedgerTx& tx) const;
  Status ScopeIsFree(LedgerTx& tx) const;
  std::string StageOf(size_t index) const;
  Json AfterCall(const Call& call, size_t volume, const Answer& answer);
  Json AfterMount(size_t volume, const Answer& answer);

  // --- place.cc: whether a driver may have a volume at that path
  Status MayBeAt(const VolumeState& v, const std::string& place);
  Status NobodyUnknownHas(const VolumeState& v, const std::string& place);
  const std::vector<std::string>& OwnFolders();

  Result<std::map<std::string, std::string>> CreateOptions(const VolumeState& v, const Json& options,
                                                           std::string* refused);
  Result<Json> Stage(const Json& request);
  Status StageOne(const Json& item, size_t index);
  Result<Json> Query(const Json& request);
  int64_t LeftMs() const;

  // --- apart.cc: the goals beside kWorkload
  Outcome RunApart();
  Json RehearsalAnswer(const Status& decided) const;
  Json CreateAnswer() const;
  // The answer to a call that is not sent for the operation's goal; null for one that is.
  Json AnswerApart(const Json& item, const Call& call, size_t volume);
  Result<Json> StageApart(const Json& items, const std::vector<size_t>& volumes);

  Core& core_;
  PrepareRequest request_;
  std::shared_ptr<const Revision> revision_;
  Recorder recorder_;
  std::vector<VolumeState> volumes_;
  std::unique_ptr<VolumeLocks> locks_;
  std::vector<std::string> own_folders_;
  std::vector<std::string> named_;  // folders that drivers have named, and where they really are
  // Our mountinfo, as it was when a volume was last found or put in its place.
  std::string mountinfo_;  // which these were read from
  std::vector<MountEntry> mounts_;
  bool begun_ = false, meta_written_ = false, created_any_ = false, create_tried_ = false;
  bool commit_tried_ = false;
  std::set<std::string> had_words_;  // drivers that said something which may repeat a secret
  std::string unanswered_;           // what the last call came to that had no answer
  bool policy_failed_ = false;       // by itself: it trapped, hit a limit, answered nonsense
  int64_t next_seq_ = 1;
  // The policy refused, and is to be asked again after so long; 0: not at all.
  int64_t again_ms_ = 0;
  Status refused_;              // what it said, the last time
  int64_t refused_at_ms_ = -1;  // monotonic: when it did for the first time
  int64_t waited_ms_ = 0;       // since then, when it was last asked
  Json policy_answer_;
  Json rehearsed_ = Json::array();  // what would have been done
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_OPERATION_H_
