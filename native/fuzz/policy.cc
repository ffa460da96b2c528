#include "fuzz/policy.h"

#include "fuzz/fuzz.h"
#include "policy/answer.h"

namespace dvdi::fuzz {

const PolicyModule& Shipped() {
  static const auto runtime = PolicyRuntime::Create(SystemEnv(), PolicyLimits{}, "");
  FUZZ_EXPECT(runtime.ok(), runtime.status().message());
  static const auto module = (*runtime)->Load(BuiltinPolicy());
  FUZZ_EXPECT(module.ok(), module.status().message());
  return **module;
}

Json Decide(const std::string& export_name, std::string_view input, const HostFunction& host) {
  CallStats stats;
  auto answer = Shipped().Call(export_name, input, host, &stats);
  FUZZ_EXPECT(answer.ok(), export_name + ": " + answer.status().message());
  SawSize("fuel of " + export_name, stats.fuel_used);
  Json error;
  auto ok = ParsePolicyAnswer(export_name, *answer, &error);
  if (ok.ok()) {
    SawSize("answer of " + export_name, answer->size());
    return std::move(*ok);
  }
  FUZZ_EXPECT(!error.is_null(), ok.status().message());
  // A policy's messages reach people as they are.
  ExpectLine(GetString(error, "message"), "a message");
  ExpectLine(GetString(error, "hint"), "a hint");
  Saw(export_name + GetString(error, "message") + GetString(error, "hint"));
  return nullptr;
}

}  // namespace dvdi::fuzz
