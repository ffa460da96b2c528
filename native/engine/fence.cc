// Fence: an operator takes a volume away from another node. The driver does it (it waits for the other node's
// lease, or takes the operator's word that the node is dead); no policy can ask for it (promise 4).
#include "base/text.h"
#include "engine/operator.h"

namespace dvdi {

Status Engine::Fence(const Json& request, Done done) {
  bool dead = GetBool(request, "node_is_dead");
  done = Promise(std::move(done));
  Status s = SubmitOperator(
      core_, "fence", request,
      [dead](OperatorTask& task) -> Result<Json> {
        auto fenced = [&]() -> Result<Json> {
          DVDI_ASSIGN_OR_RETURN(auto use, task.FindUse());
          // It is this node that has it: there is nobody to be fenced off.
          DVDI_RETURN_IF_ERROR(task.CheckUnused(use, "fenced"));
          Call call;
          call.method = Method::kFence;
          call.node_is_dead = dead;
          Answer answer = task.Do(call);
          if (answer.NoSuchMethod())
            return Status(Code::kUnsupported,
                          "driver " + task.driver() + " cannot fence (" + answer.error + ")",
                          "of those that are known, dvdi-driver can; for others use what they ship with");
          if (answer.kind == Answer::Kind::kError) return Status(Code::kDriver, answer.error);
          if (answer.kind == Answer::Kind::kUnknown)
            return Status(answer.reason == "timeout" ? Code::kTimeout : Code::kUnavailable, answer.error,
                          answer.sent ? "the driver may be at it still; ask again" : "nothing was fenced");
          DVDI_ASSIGN_OR_RETURN(Json body, ParseJson(answer.body_json, "the driver's answer"));
          return Json{{"fenced", {{"driver", task.driver()}, {"name", task.name()}}},
                      {"generation", GetInt(body, "Generation")},
                      {"waited_ms", GetInt(body, "WaitedMs")},
                      {"from", OneLine(GetString(body, "From"), 255)}};
        }();
        // It is done, whether or not the record could be written.
        (void)task.Finish(fenced.status(), "fenced");
        return fenced;
      },
      done);
  if (!s.ok()) done(s, Json());
  return Status();
}

}  // namespace dvdi
