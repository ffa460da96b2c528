// The engine on the real kernel with real threads, in a mount namespace of the test program's own; its policy
// is scripted unless a test wants real Wasm, and its volumes are tmpfs. For the tests that include it.
#ifndef DVDI_ENGINE_TESTING_MOUNT_ENGINE_H_
#define DVDI_ENGINE_TESTING_MOUNT_ENGINE_H_

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/testing/scripted_policy.h"
#include "engine/testing/tmpfs_plugins.h"
#include "mount/test_world.h"

namespace dvdi {

class EngineMountTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    plugins_ = std::make_unique<TmpfsPlugins>(MakeDir("volumes"));
    MakeDir("specs");
    for (const char* driver : {"red", "blue"})
      MakeFile(std::string("specs/") + driver + ".spec", std::string("unix:///sim/") + driver + ".sock\n");
    settings_.state_dir = Path("state"), settings_.runtime_dir = Path("run"),
    settings_.policy_dir = Path("policy");
    settings_.node = "test";
    settings_.plugin_paths.sockets.clear();
    settings_.plugin_paths.specs = {Path("specs")};
    settings_.target_roots = {dir_};
  }

  // `keeper`: whether it retries by itself.
  std::shared_ptr<Engine> Open(Sys* sys = Sys::Real(), bool keeper = true, bool classic = false) {
    Env env = TestEnv(sys);
    env.transport = plugins_.get();
    EngineOptions options;
    options.settings = settings_;
    options.keeper = keeper ? Keeping::kAll : Keeping::kWaits;
    options.classic_mounts = classic;
    auto engine = Engine::Open(env, std::move(options));
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    Core& core = (*engine)->core();
    if (!stock_)
      core.policy =
          std::make_unique<ScriptedSelector>(env, core.runtime.get(), std::make_shared<ScriptedPolicy>());
    return *engine;
  }

  Json Request(const std::string& scope, const std::vector<std::string>& names,
               const Json& more = Json::object()) {
    Json volumes = Json::array();
    for (const auto& name : names)
      volumes.push_back({{"driver", "red"},
                         {"name", name},
                         {"options", Json::object()},
                         {"container_path", Path("targets/" + scope + "/" + name)},
                         {"mode", name == "ro" ? "ro" : "rw"},
                         {"subpath", ""},
                         {"access", "multi-writer"},
                         {"create", "if-missing"},
                         {"ownership", "none"}});
    Json request = {{"owner", "run"},
                    {"scope", scope},
                    {"sources", {{{"form", "statement"}, {"text", Dump({{"volumes", volumes}})}}}}};
    request.update(more);
    return request;
  }

  // {"ok": answer} or {"error": …}, when the callback came.
  static Json Call(Engine& engine, Status (Engine::*verb)(const Json&, Engine::Done), const Json& request) {
    std::promise<Json> promise;
    Status accepted = (engine.*verb)(request, [&promise](const Status& s, const Json& answer) {
      promise.set_value(s.ok() ? Json{{"ok", answer}}
                               : Json{{"error", Json::parse(s.ToJson(), nullptr, false)}});
    });
    if (!accepted.ok()) return {{"error", Json::parse(accepted.ToJson(), nullptr, false)}};
    return promise.get_future().get();
  }
  static Json Cleanup(Engine& engine, const std::string& scope) {
    return Call(engine, &Engine::Cleanup, {{"owner", "run"}, {"scope", scope}});
  }
  static bool IsMounted(const std::string& path) { return FindMount(Mounts(), path) != nullptr; }
  // Until every release is done.
  bool Released(Engine& engine) {
    return Eventually([&] {
      Call(engine, &Engine::Recover, {{"owner", "run"}, {"wait_ms", 100}});
      return plugins_->mounted() == 0;
    });
  }

  Settings settings_;
  std::unique_ptr<TmpfsPlugins> plugins_;
  bool stock_ = false;  // the policy that the settings' policy_dir names instead
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_TESTING_MOUNT_ENGINE_H_
