#include "engine/policy_answer.h"

#include "base/text.h"

namespace dvdi {

Result<Json> ReadPolicyAnswer(std::string_view export_name, std::string_view text) {
  std::string what = "the policy's answer to " + std::string(export_name);
  auto json = ParseJson(text, what);
  if (!json.ok()) return Status(Code::kPolicy, json.status().message());
  if (json->is_object() && json->contains("ok")) return (*json)["ok"];
  const Json& error = GetMember(*json, "error");
  std::string message = GetString(error, "message");
  if (message.empty()) return Status(Code::kPolicy, what + " is neither ok nor an error");
  Code code = CodeFromName(GetString(error, "code", "refused"));
  // A field's path is for the person who wrote the statement: part of the one line that they get to see.
  Status s(code == Code::kOk ? Code::kPolicy : code, OneLine(message), OneLine(GetString(error, "hint")));
  return std::move(s).WithVolume(OneLine(GetString(error, "driver"), 128), OneLine(GetString(error, "volume"), 255));
}

Json VolumeOfAnswer(const Json& ok, size_t i) {
  for (const Json& v : GetMember(ok, "volumes"))
    if (GetInt(v, "index", -1) == static_cast<int64_t>(i)) return v;
  return Json();
}

}  // namespace dvdi
