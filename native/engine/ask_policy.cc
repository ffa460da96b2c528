#include "engine/ask_policy.h"

#include <algorithm>

#include "base/text.h"
#include "policy/answer.h"

namespace dvdi {
namespace {

constexpr size_t kMaxReports = 32;

// Questions only: the imports that act are not to be had at an end.
Result<std::string> HostCall(Core& core, std::string_view name) {
  if (name == "log") return std::string("{\"ok\":{}}");
  if (name == "now") return Dump({{"ok", {{"unix_ms", core.env.clock->WallMs()}, {"left_ms", 0}}}});
  if (name == "random") {
    uint32_t n = 0;
    core.env.random->Fill(&n, sizeof n);
    return Dump({{"ok", {{"u32", n}}}});
  }
  return Status(Code::kPolicy, "the policy called " + std::string(name) + " where it is only asked");
}

}  // namespace

EndAdvice AskPolicy(Core& core, const char* export_name, Json input, Recorder* recorder) {
  EndAdvice advice;
  auto revision = core.policy->Current();
  if (!revision.ok()) return advice;
  input["config"] = (*revision)->config;
  std::string text = Dump(input);
  if (recorder != nullptr) {
    const PolicyManifest& m = (*revision)->module->manifest();
    recorder->Policy(m.name, m.version, (*revision)->module->sha256());
    recorder->Input(export_name, text);
  }
  auto answer = (*revision)->module->Call(
      export_name, text, [&core](std::string_view name, std::string_view) { return HostCall(core, name); });
  if (!answer.ok()) {
    if (recorder != nullptr) recorder->Note("the defaults serve: " + answer.status().message());
    return advice;
  }
  if (recorder != nullptr) recorder->Answer(export_name, *answer);
  auto ok = ParsePolicyAnswer(export_name, *answer);
  if (!ok.ok()) return advice;
  // Bounds of the engine's own: no policy can make retries a flood, or put them off for ever.
  const Json& retry = GetMember(*ok, "retry");
  int64_t base = GetInt(retry, "base_ms"), max = GetInt(retry, "max_ms");
  if (base > 0 && max >= base) {
    advice.retry_base_ms = std::clamp<int64_t>(base, 100, 60'000);
    advice.retry_max_ms = std::clamp<int64_t>(max, advice.retry_base_ms, 3'600'000);
  }
  for (const Json& line : GetMember(*ok, "report"))
    if (line.is_string() && advice.report.size() < kMaxReports)
      advice.report.push_back(OneLine(line.get_ref<const std::string&>()));
  return advice;
}

}  // namespace dvdi
