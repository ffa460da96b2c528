// What tests of the runtime share.
#ifndef DVDI_POLICY_TEST_RUNTIME_H_
#define DVDI_POLICY_TEST_RUNTIME_H_

#include <gtest/gtest.h>

#include "base/text.h"
#include "policy/runtime.h"
#include "policy/test_blobs.h"

namespace dvdi {

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

inline Result<std::string> Ok(std::string_view, std::string_view) { return std::string(R"({"ok":{}})"); }

inline std::unique_ptr<PolicyRuntime> NewRuntime(const PolicyLimits& limits = {}) {
  auto r = PolicyRuntime::Create(SystemEnv(), limits, "");
  EXPECT_TRUE(r.ok()) << r.status().message();
  return r.ok() ? std::move(*r) : nullptr;
}

inline std::shared_ptr<const PolicyModule> Hostile(const PolicyLimits& limits = {}) {
  auto module = NewRuntime(limits)->Load(HostileBlob());
  EXPECT_TRUE(module.ok()) << module.status().message();
  return *module;
}

// `prepare` of the hostile blob in the mode that `input` begins with: the failure's message, which must be
// kPolicy.
inline std::string Failure(const std::shared_ptr<const PolicyModule>& module, const std::string& input,
                           const HostFunction& host = Ok, CallStats* stats = nullptr) {
  auto r = module->Call("prepare", input, host, stats);
  EXPECT_FALSE(r.ok()) << *r;
  if (r.ok()) return "";
  const Status status = r.status();
  EXPECT_EQ(status.code(), Code::kPolicy) << status.message();
  EXPECT_EQ(status.message(), OneLine(status.message(), 10'000));
  EXPECT_HAS(status.message(), "policy hostile 1.0.0: ");
  // The next operation is as if nothing had been.
  auto next = module->Call("prepare", "e", host);
  EXPECT_TRUE(next.ok()) << next.status().message();
  return status.message();
}

}  // namespace dvdi

#endif  // DVDI_POLICY_TEST_RUNTIME_H_
