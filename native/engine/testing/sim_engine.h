// Tests of the engine on the simulated world: no root, no threads, no time that passes by itself.
#ifndef DVDI_ENGINE_TESTING_SIM_ENGINE_H_
#define DVDI_ENGINE_TESTING_SIM_ENGINE_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/testing/scripted_policy.h"
#include "sim/world.h"

namespace dvdi {

#define EXPECT_HAS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)
#define EXPECT_HAS_NOT(text, part) EXPECT_EQ(std::string(text).find(part), std::string::npos) << (text)

// Hands on to the simulated plugins, unless the test answers itself.
class HookedTransport : public PluginTransport {
 public:
  explicit HookedTransport(PluginTransport* real) : real_(real) {}
  std::vector<PluginReply> Exchange(const std::vector<PluginRequest>& requests) override;
  void CloseIdle() override {
    if (idle_hook) idle_hook();
    real_->CloseIdle();
  }
  // True where it answered. `method` is "Get", …
  std::function<bool(const std::string& method, const PluginRequest& request, PluginReply* reply)> hook;
  std::function<void()> idle_hook;  // at each CloseIdle
  std::vector<PluginRequest> requests;

 private:
  PluginTransport* real_;
};

// A whole answer of a plugin.
PluginReply Says(const std::string& body, int status = 200);

// One node with the drivers red and blue. The policy is `policy`, a scripted one, unless `stock` is set.
class SimEngineTest : public ::testing::Test {
 protected:
  SimEngineTest();
  ~SimEngineTest() override;

  Env env();
  // A further engine on the same state folder, with `settings`.
  std::shared_ptr<Engine> OpenAnother();
  // The test's own engine, opened when it is first asked for.
  Engine& engine();
  // Closes it; engine() opens another one then.
  void Close();
  // The engine's process is killed: nothing of it acts any more, its locks are free.
  void Kill();

  // A volume of a statement: a whole VolumeRequest, members of `more` over the defaults.
  static Json Volume(const std::string& driver, const std::string& name, const Json& more = Json::object());
  // A request to prepare them. `more`: further members of the request.
  static Json Request(const std::string& scope, const std::vector<Json>& volumes,
                      const Json& more = Json::object());
  // Each returns {"ok": answer} or {"error": {…}}, when all that follows from it is done.
  Json Call(Engine& engine, Status (Engine::*verb)(const Json&, Engine::Done), const Json& request);
  Json Prepare(const std::string& scope, const std::vector<Json>& volumes, const Json& more = Json::object());
  Json Cleanup(const std::string& scope);
  Json Recover(const Json& more = Json::object());
  Json Ask(const std::string& what);      // StatusOf, without its envelope
  Json Record(const std::string& scope);  // the newest of that scope
  // The policy's `prepare` is `script` for one operation on scope "hostile" with these volumes.
  Json Hostile(const std::vector<Json>& volumes, ScriptedPolicy::Script script,
               const Json& more = Json::object());
  // A prepare of red/a whose engine is killed once all is staged. Another one is there behind it, and its
  // ledger does not say where the volume is mounted: only the stage does.
  void DieUnplaced();
  // Goes on until nothing is due any more.
  void Settle();

  // Requests that reached a plugin, as "driver Method", in order.
  std::vector<std::string> Sent() const;
  int Count(const std::string& what) const;  // of Sent()
  bool Attached(const std::string& driver, const std::string& name);
  bool HasVolume(const std::string& driver, const std::string& name);
  void MakeVolume(const std::string& driver, const std::string& name);
  // A volume as `status` shows it, or null.
  Json Known(const std::string& driver, const std::string& name);
  // No stage, no attachment, no operation, nothing pending, no folder of ours.
  void ExpectNothingLeft(const std::string& when = "");
  // Bytes of every file of the ledger.
  std::string LedgerBytes() const;

  std::string root_;
  sim::World world_;
  Store* store_ = nullptr;  // the ledger's, where it is not the real one
  HookedTransport transport_{&world_.transport};
  Settings settings_;
  std::shared_ptr<ScriptedPolicy> policy_ = std::make_shared<ScriptedPolicy>();
  bool stock_ = false;                   // the policy that the settings' policy_dir names instead
  std::vector<std::string> violations_;  // of the protocol, as an honest driver sees it

 private:
  std::shared_ptr<Engine> engine_;
};

// {"error":{"code": …}} -> the code, or "ok".
std::string CodeOf(const Json& outcome);
std::string MessageOf(const Json& outcome);

}  // namespace dvdi

#endif  // DVDI_ENGINE_TESTING_SIM_ENGINE_H_
