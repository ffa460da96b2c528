// A policy whose exports are functions of a test: it says and asks whatever the test wants, so that what the
// engine promises can be shown to hold whatever a policy does.
#ifndef DVDI_ENGINE_TESTING_SCRIPTED_POLICY_H_
#define DVDI_ENGINE_TESTING_SCRIPTED_POLICY_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "policy/revision.h"
#include "policy/runtime.h"

namespace dvdi {

// The imports, as a script calls them. Once the engine ended the operation every call answers null.
class ScriptHost {
 public:
  explicit ScriptHost(const HostFunction& call) : call_(call) {}
  // The whole answer: {"ok": …} or {"error": …}.
  Json Do(const char* name, const Json& request);
  // Several plugin calls in one: their answers, or null where the host call as a whole was refused.
  Json PluginAll(const std::vector<Json>& calls);
  // One plugin call: its answer ({"kind": …}), or null.
  Json Plugin(const Json& call);
  // One stage: {"ok": true} or {"error": …}, or null.
  Json Stage(const Json& stage);
  const Status& ended() const { return ended_; }
  int calls() const { return calls_; }

 private:
  const HostFunction& call_;
  Status ended_;
  int calls_ = 0;
};

// Thread-safe as long as its scripts are. `scripts` is set before the first operation.
class ScriptedPolicy : public PolicyModule, public std::enable_shared_from_this<ScriptedPolicy> {
 public:
  // The answer as text; an error is a trap.
  using Script = std::function<Result<std::string>(const Json& input, ScriptHost& host)>;

  ScriptedPolicy();
  // By export. `parse` takes the statement's volumes as they are, `prepare` is Honest, the others answer
  // {"ok":{}}.
  std::map<std::string, Script> scripts;

  const std::string& sha256() const override { return sha256_; }
  const PolicyManifest& manifest() const override { return manifest_; }
  std::unique_ptr<PolicyInstance> Begin() const override;

 private:
  class Instance;
  std::string sha256_ = std::string(64, '5');
  PolicyManifest manifest_;
};

// What a sound policy does: Get; List and Create where there is none; Mount; stage. One host call for each
// step of each volume, so that a test can stop between any two.
Result<std::string> Honest(const Json& input, ScriptHost& host);
// {"ok":{"volumes":[],"notes":[]}}
std::string AllIsWell();
// An answer with an error.
std::string SaysError(const std::string& code, const std::string& message);

// Always that policy.
class ScriptedSelector : public PolicySelector {
 public:
  ScriptedSelector(const Env& env, PolicyRuntime* runtime, std::shared_ptr<const PolicyModule> policy);
  Result<std::shared_ptr<const Revision>> Current() override { return revision_; }

 private:
  std::shared_ptr<const Revision> revision_;
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_TESTING_SCRIPTED_POLICY_H_
