#include "engine/testing/sim_engine.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/meta.h"

namespace dvdi {
namespace {

std::string MakeRoot() {
  char name[] = "/tmp/dvdi-engine-test-XXXXXX";
  return ::mkdtemp(name) == nullptr ? "" : name;
}

}  // namespace

std::string CodeOf(const Json& outcome) { return GetString(GetMember(outcome, "error"), "code", "ok"); }
std::string MessageOf(const Json& outcome) { return GetString(GetMember(outcome, "error"), "message"); }

std::vector<PluginReply> HookedTransport::Exchange(const std::vector<PluginRequest>& all) {
  std::vector<PluginReply> replies;
  for (const auto& r : all) {
    requests.push_back(r);
    PluginReply reply;
    bool answered = hook && hook(r.path.substr(r.path.rfind('.') + 1), r, &reply);
    replies.push_back(answered ? reply : real_->Exchange({r})[0]);
  }
  return replies;
}

PluginReply Says(const std::string& body, int status) {
  PluginReply reply;
  reply.outcome = PluginReply::Outcome::kAnswer, reply.sent = true, reply.status = status, reply.body = body;
  return reply;
}

SimEngineTest::SimEngineTest() : root_(MakeRoot()), world_(1, root_, root_) {
  world_.transport.violation = [this](const std::string& what) { violations_.push_back(what); };
  world_.transport.in_use = [](const std::string&, const std::string&) { return false; };
  for (const char* driver : {"red", "blue"}) world_.AddPlugin(driver);
  Settings& s = settings_;
  s.state_dir = root_ + "/state", s.runtime_dir = root_ + "/run", s.policy_dir = root_ + "/policy";
  s.secrets_dir = root_ + "/secrets";
  s.node = "sim";
  s.plugin_paths.sockets.clear();
  s.plugin_paths.specs = {root_ + "/specs"};
  s.prepare_ms = 60'000, s.call_max_ms = 20'000;
}

SimEngineTest::~SimEngineTest() {
  world_.sys.Restart();
  world_.sys.fault = nullptr;
  Close();
  for (const auto& v : violations_) ADD_FAILURE() << v;
  std::filesystem::remove_all(root_);
}

Env SimEngineTest::env() {
  Env env = world_.env();
  env.transport = &transport_;
  if (store_ != nullptr) env.store = store_;
  return env;
}

std::shared_ptr<Engine> SimEngineTest::OpenAnother() {
  EngineOptions options;
  options.settings = settings_;
  options.keeper = Keeping::kNothing;
  auto engine = Engine::Open(env(), std::move(options));
  if (!engine.ok()) {
    ADD_FAILURE() << "the engine does not open: " << engine.status().message();
    std::abort();
  }
  Core& core = (*engine)->core();
  if (!stock_) core.policy = std::make_unique<ScriptedSelector>(core.env, core.runtime.get(), policy_);
  return *engine;
}

Engine& SimEngineTest::engine() {
  if (!engine_) engine_ = OpenAnother();
  return *engine_;
}

void SimEngineTest::Close() {
  if (!engine_) return;
  world_.scheduler.RunAll();
  engine_->Close(0);
  engine_.reset();
  world_.scheduler.RunAll();
}

void SimEngineTest::Kill() {
  world_.sys.CrashAfter(1);
  (void)world_.sys.MkdirAt(-1, (root_ + "/never").c_str(), 0700);
  Close();
  world_.sys.Restart();
}

Json SimEngineTest::Volume(const std::string& driver, const std::string& name, const Json& more) {
  Json v = {{"driver", driver},
            {"name", name},
            {"options", Json::object()},
            {"container_path", "/srv/" + driver + "-" + name},
            {"mode", "rw"},
            {"subpath", ""},
            {"access", "multi-writer"},
            {"create", "if-missing"},
            {"ownership", "none"},
            {"from", "a test"}};
  v.update(more);
  return v;
}

Json SimEngineTest::Request(const std::string& scope, const std::vector<Json>& volumes, const Json& more) {
  Json statement = {{"volumes", volumes}};
  Json request = {{"owner", "run"},
                  {"scope", scope},
                  {"targets", "ignore"},
                  {"sources", {{{"form", "statement"}, {"text", Dump(statement)}}}}};
  request.update(more);
  return request;
}

Json SimEngineTest::Call(Engine& engine, Status (Engine::*verb)(const Json&, Engine::Done),
                         const Json& request) {
  Json out;
  int times = 0;
  Status accepted = (engine.*verb)(request, [&](const Status& s, const Json& answer) {
    ++times;
    if (s.ok())
      out = {{"ok", answer}};
    else
      out = {{"error", Json::parse(s.ToJson(), nullptr, false)}};
  });
  world_.scheduler.RunAll();
  if (!accepted.ok()) return {{"error", Json::parse(accepted.ToJson(), nullptr, false)}};
  EXPECT_EQ(times, 1) << "the callback is called exactly once";
  return out;
}

Json SimEngineTest::Prepare(const std::string& scope, const std::vector<Json>& volumes, const Json& more) {
  return Call(engine(), &Engine::Prepare, Request(scope, volumes, more));
}

Json SimEngineTest::Cleanup(const std::string& scope) {
  return Call(engine(), &Engine::Cleanup, {{"owner", "run"}, {"scope", scope}});
}

Json SimEngineTest::Recover(const Json& more) {
  Json request = {{"owner", "run"}};
  request.update(more);
  return Call(engine(), &Engine::Recover, request);
}

Json SimEngineTest::Ask(const std::string& what) {
  auto answer = engine().StatusOf({{"what", what}});
  EXPECT_TRUE(answer.ok()) << answer.status().message();
  return answer.ok() ? *answer : Json();
}

Json SimEngineTest::Record(const std::string& scope) {
  auto answer = engine().Explain({{"scope", scope}});
  EXPECT_TRUE(answer.ok()) << answer.status().message();
  return answer.ok() && !(*answer)["operations"].empty() ? (*answer)["operations"][0] : Json();
}

Json SimEngineTest::Hostile(const std::vector<Json>& volumes, ScriptedPolicy::Script script,
                            const Json& more) {
  auto before = policy_->scripts["prepare"];
  policy_->scripts["prepare"] = std::move(script);
  Json answer = Prepare("hostile", volumes, more);
  policy_->scripts["prepare"] = before;
  return answer;
}

void SimEngineTest::DieUnplaced() {
  Hostile({Volume("red", "a")}, [&](const Json& input, ScriptHost& host) -> Result<std::string> {
    auto done = Honest(input, host);
    world_.sys.CrashAfter(1);  // dies before it can commit or undo
    return SaysError("refused", "no");
  });
  Close();
  world_.sys.Restart();
  // The world's end is not the ledger's: the row is as it was when the Mount was sent.
  Status unplaced = engine().core().ledger->Apply(Commit::intent, false, [](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(auto row, tx.FindAttachment("red", "a"));
    row->mountpoint.clear(), row->device.clear();
    return tx.PutAttachment(*row);
  });
  ASSERT_TRUE(unplaced.ok()) << unplaced.message();
}

void SimEngineTest::Settle() {
  for (int i = 0; i < 8; ++i) {
    engine().Tick();
    world_.scheduler.RunAll();
    world_.clock.Advance(120'000);
  }
}

std::vector<std::string> SimEngineTest::Sent() const {
  std::vector<std::string> out;
  for (const auto& line : world_.transport.transcript) {
    size_t end = line.find(' ', line.find(' ') + 1);
    out.push_back(line.substr(0, end));
  }
  return out;
}

int SimEngineTest::Count(const std::string& what) const {
  auto sent = Sent();
  return static_cast<int>(std::count(sent.begin(), sent.end(), what));
}

bool SimEngineTest::HasVolume(const std::string& driver, const std::string& name) {
  return world_.transport.plugins[driver].volumes.count(name) != 0;
}

bool SimEngineTest::Attached(const std::string& driver, const std::string& name) {
  return HasVolume(driver, name) && !world_.transport.plugins[driver].volumes[name].mountpoint.empty();
}

void SimEngineTest::MakeVolume(const std::string& driver, const std::string& name) {
  world_.transport.plugins[driver].volumes[name];
}

Json SimEngineTest::Known(const std::string& driver, const std::string& name) {
  Json all = Ask("volumes");
  for (const Json& v : all["volumes"])
    if (v["driver"] == driver && v["name"] == name) return v;
  return nullptr;
}

void SimEngineTest::ExpectNothingLeft(const std::string& when) {
  std::string stage_root = settings_.state_dir + "/stage";
  for (const auto& m : world_.sys.MountsBelow(stage_root)) ADD_FAILURE() << when << ": left mounted: " << m;
  for (auto& [driver, plugin] : world_.transport.plugins)
    for (auto& [name, v] : plugin.volumes)
      if (!v.mountpoint.empty()) ADD_FAILURE() << when << ": left attached: " << driver << "/" << name;
  EXPECT_EQ(Ask("scopes")["scopes"], Json::array()) << when;
  EXPECT_EQ(Ask("summary")["pending"], Json::array()) << when;
  EXPECT_EQ(Ask("summary")["reported"], Json::array()) << when;
  auto ids = ListMeta(world_.env(), stage_root);
  if (ids.ok() && !ids->empty()) ADD_FAILURE() << when << ": left below the stage root: " << ids->front();
}

std::string SimEngineTest::LedgerBytes() const {
  std::string bytes;
  for (const auto& entry : std::filesystem::directory_iterator(settings_.state_dir)) {
    if (entry.path().filename().string().find("ledger") == std::string::npos) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    bytes.append(std::istreambuf_iterator<char>(in), {});
  }
  return bytes;
}

}  // namespace dvdi
