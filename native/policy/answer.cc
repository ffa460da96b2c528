#include "policy/answer.h"

#include "base/text.h"

namespace dvdi {

Result<Json> ParsePolicyAnswer(const std::string& export_name, std::string_view answer, Json* said) {
  if (said != nullptr) *said = Json();
  auto malformed = [&](const std::string& why) {
    return Status(Code::kPolicy, "the policy's answer to " + export_name + " is malformed: " + why);
  };
  auto json = ParseJson(answer, "it");
  if (!json.ok()) return malformed(json.status().message());
  if (!json->is_object() || json->size() != 1)
    return malformed("it must have one member, \"ok\" or \"error\"");
  if (auto ok = json->find("ok"); ok != json->end()) return std::move(*ok);
  const Json& error = GetMember(*json, "error");
  const std::string name = GetString(error, "code");
  const std::string message = OneLine(GetString(error, "message"), 2'000);
  if (message.empty() || name.empty()) return malformed("its error has no code or no message");
  Code code = CodeFromName(name);
  // CodeFromName answers kInternal for a name that it does not know, and "ok" is no failure.
  if (code == Code::kOk || (code == Code::kInternal && name != "internal"))
    return malformed("its error has the unknown code \"" + OneLine(name, 40) + "\"");
  Status status(code, message, OneLine(GetString(error, "hint"), 2'000));
  if (said != nullptr) *said = error;
  return std::move(status).WithVolume(OneLine(GetString(error, "driver")),
                                      OneLine(GetString(error, "volume")));
}

}  // namespace dvdi
