// Remove: for an operator's `rm` and `prune` alone, after it was seen that nothing uses the volume
// (promise 11).
#include "base/path.h"
#include "base/text.h"
#include "engine/operator.h"
#include "engine/release.h"
#include "mount/mountinfo.h"
#include "mount/stage.h"

namespace dvdi {
namespace {

struct RemoveRequest {
  bool unused_only = false, global = false;
};

// What prune asks beyond rm: the volume was made here and never used, as far as anybody can know.
Status CheckPrunable(OperatorTask& task, const OperatorTask::Use& use, const RemoveRequest& request) {
  const std::string title = "volume " + OneLine(task.name(), 255);
  if (!use.row || !use.row->Unused() || use.attachment)
    return Status(Code::kRefused, title + " is not recorded as created and unused", "`dvdi rm` removes it");
  Call call;
  call.method = Method::kCapabilities;
  Answer answer = task.Do(call);
  if (answer.kind == Answer::Kind::kUnknown) return Status(Code::kUnavailable, answer.error);
  if (!request.global && answer.kind == Answer::Kind::kOk && answer.scope == "global")
    return Status(Code::kRefused,
                  title + " is of a driver that all nodes share: another node may have used it since",
                  "`dvdi prune --global` takes such volumes too, `dvdi rm` takes this one");
  return Status();
}

// The driver says that it is mounted, and so does the kernel: somebody else has it (another client of the
// driver). Drivers were seen that remove it all the same.
Status CheckNotMounted(OperatorTask& task, const Answer& get) {
  std::string place = NormalPath(get.mountpoint);  // some name a folder with a slash behind it
  if (place.empty()) return Status();
  Core& core = task.core();
  DVDI_ASSIGN_OR_RETURN(auto mounts, core.Mounts());
  if (FindMount(mounts, place) == nullptr) {
    // Our mountinfo has the mount where a symlink leads. A folder that is not there, or none, has none.
    Status s = CheckMountpoint(core.env, place, 0, task.deadline_ms(), &mounts, nullptr, &place);
    const Code code = s.code();
    if (code == Code::kNotFound || code == Code::kRefused || code == Code::kDriver) return Status();
    if (!s.ok())
      return std::move(s).WithContext("it cannot be told whether somebody has volume " +
                                      OneLine(task.name(), 255) + " mounted, so it is not removed");
    if (FindMount(mounts, place) == nullptr) return Status();
  }
  return Status(Code::kRefused,
                "volume " + OneLine(task.name(), 255) + " is mounted at " + OneLine(get.mountpoint, 4096) +
                    ", and not by this engine: it is not removed",
                "unmount it with whatever mounted it (docker, another dvdi state folder), then try again");
}

Result<bool> RemoveNow(OperatorTask& task, const RemoveRequest& request) {
  DVDI_ASSIGN_OR_RETURN(auto use, task.FindUse());
  DVDI_RETURN_IF_ERROR(task.CheckUnused(use, "removed"));
  if (request.unused_only) DVDI_RETURN_IF_ERROR(CheckPrunable(task, use, request));
  if (use.attachment) {
    // Nobody uses it, and it is not given back yet: that comes first.
    if (use.attachment->state == kReleasing) {
      DVDI_ASSIGN_OR_RETURN(auto released, Release(task.core(), use.attachment->id, task.deadline_ms()));
      (void)released;
      DVDI_ASSIGN_OR_RETURN(use, task.FindUse());
    }
    if (use.attachment)
      return Status(Code::kUnavailable,
                    "volume " + OneLine(task.name(), 255) + " is still attached to this node" +
                        (use.attachment->error.empty() ? "" : ": " + OneLine(use.attachment->error)),
                    "`dvdi recover --wait` tries to release it; `dvdi forget` gives it up");
  }
  Answer get;
  std::string why;
  auto there = task.Look(&get, &why);
  if (there == OperatorTask::There::kNo) return false;
  if (there == OperatorTask::There::kUnknown)
    return Status(Code::kUnavailable, why, "nothing was removed; try again when the driver answers");
  DVDI_RETURN_IF_ERROR(CheckNotMounted(task, get));
  Call call;
  call.method = Method::kRemove;
  Answer removed = task.Do(call);
  if (removed.kind == Answer::Kind::kOk) return true;
  if (removed.kind == Answer::Kind::kError) return Status(Code::kDriver, removed.error);
  if (!removed.sent) return Status(Code::kUnavailable, removed.error, "nothing was removed");
  // Nobody knows whether it acted: it is asked.
  std::string again;
  if (task.Look(&get, &again) == OperatorTask::There::kNo) return true;
  return Status(removed.reason == "timeout" ? Code::kTimeout : Code::kUnavailable, removed.error,
                "the driver may be at it still: `dvdi inspect` asks whether the volume is there");
}

}  // namespace

Status Engine::Remove(const Json& request, Done done) {
  RemoveRequest wanted{GetBool(request, "unused_only"), GetBool(request, "global")};
  done = Promise(std::move(done));
  Status s = SubmitOperator(
      core_, wanted.unused_only ? "prune" : "remove", request,
      [wanted](OperatorTask& task) -> Result<Json> {
        auto removed = RemoveNow(task, wanted);
        if (!removed.ok()) {
          (void)task.Finish(removed.status(), "");
          return removed.status();
        }
        // What is not there has no history: a later volume of this name is another one.
        Status told = task.Finish(Status(), *removed ? "removed" : "forgotten", [&](LedgerTx& tx) {
          return tx.DeleteVolume(task.driver(), task.name(), "");
        });
        if (!told.ok())
          return std::move(told).WithContext("the volume was removed, but the ledger still has it");
        return Json{{"removed", {{"driver", task.driver()}, {"name", task.name()}}}, {"existed", *removed}};
      },
      done);
  if (!s.ok()) done(s, Json());
  return Status();
}

}  // namespace dvdi
