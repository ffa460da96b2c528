// What operators do to one volume by themselves (`rm`, `prune`, `fence`): admitted like every operation on
// its driver, under the volume's lock, and recorded like one.
#ifndef DVDI_ENGINE_OPERATOR_H_
#define DVDI_ENGINE_OPERATOR_H_

#include <functional>
#include <string>
#include <vector>

#include "engine/core.h"
#include "engine/engine.h"
#include "engine/recorder.h"

namespace dvdi {

// One such operation while it runs, on one thread, with the volume's lock held.
class OperatorTask {
 public:
  OperatorTask(Core& core, const char* kind, std::string driver, std::string name, int64_t deadline_ms);
  // Calls the driver, within the operation's deadline and the settings' bound; the record has it.
  Answer Do(Call call);
  // Who uses the volume on this node now, and its attachment where it has one.
  struct Use {
    std::optional<AttachmentRow> attachment;
    std::vector<UserRow> users;
    std::optional<VolumeRow> row;
  };
  Result<Use> FindUse();
  // kRefused where the volume has a user.
  Status CheckUnused(const Use& use, const char* what);
  // Whether the driver has the volume: Get, and List where Get was answered with an error.
  enum class There { kYes, kNo, kUnknown };
  // `get` is the answer to Get; *why says what is unknown.
  There Look(Answer* get, std::string* why);

  Core& core() { return core_; }
  const std::string& driver() const { return driver_; }
  const std::string& name() const { return name_; }
  Recorder& recorder() { return recorder_; }
  // Ends it: the one place where its record and the audit's line are written. `event` is what was done where
  // it was
  // ("removed"; a literal); `changes` are made in the record's commit.
  Status Finish(const Status& status, const char* event,
                const std::function<Status(LedgerTx&)>& changes = nullptr);
  int64_t deadline_ms() const { return deadline_ms_; }

 private:
  Core& core_;
  const char* const kind_;
  const std::string driver_, name_;
  const int64_t deadline_ms_;
  OperationRow operation_;
  Recorder recorder_;
  std::string left_out_;  // in place of its driver's last words, which are not to be kept
};

// Reads driver, name and deadline of `request`, and runs `body` as above. The body's result is the answer; it
// must have called Finish.
using OperatorBody = std::function<Result<Json>(OperatorTask& task)>;
Status SubmitOperator(const std::shared_ptr<Core>& core, const char* kind, const Json& request,
                      OperatorBody body, Engine::Done done);

}  // namespace dvdi

#endif  // DVDI_ENGINE_OPERATOR_H_
