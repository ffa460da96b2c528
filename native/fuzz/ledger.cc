// Bytes as the files of a ledger, and then an engine that works with it, on a simulated world. A volume is in
// use meanwhile, by a workload that the ledger knew.
//
// Input: a choice of what. "0": the rest is the database, behind a separator its log. "1": patches of the
// database that the engine itself has written; "2": patches of its log; "3": both are lost in part: the log
// stays, the database is the rest. A patch is a place (3 bytes, from the front), a length and so many bytes;
// of length 255 it cuts the file off there.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "engine/engine.h"
#include "fuzz/fuzz.h"
#include "sim/world.h"

namespace dvdi::fuzz {
namespace {

constexpr size_t kMaxPatches = 64;
constexpr uint8_t kCut = 255;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteFile(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void Patch(const std::string& path, Input input) {
  std::string bytes = ReadFile(path);
  for (size_t n = 0; n < kMaxPatches && !input.empty() && !bytes.empty(); ++n) {
    size_t at = input.Byte();
    at |= static_cast<size_t>(input.Byte()) << 8;
    at |= static_cast<size_t>(input.Byte()) << 16;
    at %= bytes.size();
    const uint8_t length = input.Byte();
    if (length == kCut) {
      bytes.resize(at);
      continue;
    }
    for (size_t i = 0; i < length && !input.empty(); ++i)
      if (const uint8_t byte = input.Byte(); at + i < bytes.size()) bytes[at + i] = static_cast<char>(byte);
  }
  WriteFile(path, bytes);
}

// One runtime for all engines, and the blob, which is compiled as long as somebody has it.
std::shared_ptr<PolicyRuntime> Runtime() {
  static const auto runtime = [] {
    auto made = PolicyRuntime::Create(SystemEnv(), PolicyLimits{}, "");
    FUZZ_EXPECT(made.ok(), made.status().message());
    return std::shared_ptr<PolicyRuntime>(std::move(*made));
  }();
  static const auto blob = runtime->Load(BuiltinPolicy());
  FUZZ_EXPECT(blob.ok(), blob.status().message());
  return runtime;
}

// A folder of this process, removed at its end.
class Folder {
 public:
  explicit Folder(const std::string& beneath) : path_(beneath + "/dvdi-fuzz-XXXXXX") {
    FUZZ_EXPECT(::mkdtemp(path_.data()) != nullptr, "no folder can be made as " + path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Of the files: in memory, where there is room for them.
const std::string& Files() {
  static const Folder folder(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  return folder.path();
}

// Of the volumes: not in a system folder.
const std::string& Volumes() {
  static const Folder folder("/tmp");
  return folder.path();
}

class Node {
 public:
  Node() : root_(Made(Files() + "/node")), world_(1, root_, Made(Volumes() + "/node")) {
    world_.transport.in_use = [](const std::string&, const std::string&) { return false; };
    for (const char* driver : {"red", "blue"}) world_.AddPlugin(driver);
    options_.keeper = false;
    options_.runtime = Runtime();
    Settings& s = options_.settings;
    s.state_dir = root_ + "/state", s.runtime_dir = root_ + "/run", s.policy_dir = root_ + "/policy";
    s.secrets_dir = root_ + "/secrets", s.node = "fuzz";
    s.plugin_paths.sockets.clear();
    s.plugin_paths.specs = {root_ + "/specs"};
    s.prepare_ms = 60'000, s.call_max_ms = 20'000;
  }
  ~Node() {
    Close();
    std::filesystem::remove_all(root_);
    std::filesystem::remove_all(Volumes() + "/node");
  }
  std::string Ledger() const { return options_.settings.state_dir + "/ledger.db"; }
  // Promise 8: a damaged ledger never stops an engine.
  void Open() {
    auto engine = Engine::Open(world_.env(), options_);
    FUZZ_EXPECT(engine.ok(), "the engine does not open: " + engine.status().message());
    engine_ = *engine;
  }
  void Close() {
    if (!engine_) return;
    world_.scheduler.RunAll();
    engine_->Close(0);
    engine_.reset();
    world_.scheduler.RunAll();
  }
  // A failure is one line.
  Status Call(Status (Engine::*verb)(const Json&, Engine::Done), const Json& request) {
    int answers = 0;
    Status outcome;
    Status taken = ((*engine_).*verb)(request, [&](const Status& s, const Json&) { ++answers, outcome = s; });
    world_.scheduler.RunAll();
    if (!taken.ok()) outcome = taken;
    FUZZ_EXPECT(answers == (taken.ok() ? 1 : 0),
                "the callback is called " + std::to_string(answers) + " times");
    ExpectLine(outcome.message(), "why it failed");
    return outcome;
  }
  Status Prepare(const std::string& scope, const char* driver, const std::string& name) {
    const Json statement = {{"volumes",
                             {{{"driver", driver},
                               {"name", name},
                               {"container_path", "/srv/" + name},
                               {"access", "multi-writer"}}}}};
    return Call(&Engine::Prepare, {{"owner", "manual"},
                                   {"scope", scope},
                                   {"targets", "ignore"},
                                   {"sources", {{{"form", "statement"}, {"text", Dump(statement)}}}}});
  }
  Status Cleanup(const std::string& scope) {
    return Call(&Engine::Cleanup, {{"owner", "manual"}, {"scope", scope}});
  }
  void Look() {
    for (const char* what : {"summary", "volumes", "scopes"}) {
      auto answer = engine_->StatusOf({{"what", what}});
      ExpectLine(answer.status().message(), "why there is no status");
    }
    (void)engine_->Explain(Json::object());
    (void)engine_->Metrics();
  }
  void Settle(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      engine_->Tick();
      world_.scheduler.RunAll();
      world_.clock.Advance(120'000);
    }
  }
  // What the ledger tells of itself: that it was damaged, or nothing.
  bool SaysDamaged() const { return !engine_->core().ledger->note().empty(); }
  sim::World& world() { return world_; }

 private:
  static std::string Made(const std::string& folder) {
    std::filesystem::create_directory(folder);
    return folder;
  }
  const std::string root_;
  sim::World world_;
  EngineOptions options_;
  std::shared_ptr<Engine> engine_;
};

}  // namespace
}  // namespace dvdi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dvdi::fuzz;
  Input input(data, size);
  Node node;
  node.Open();
  for (const dvdi::Status& s :
       {node.Prepare("live", "red", "a"), node.Prepare("ended", "blue", "b"), node.Cleanup("ended")})
    FUZZ_EXPECT(s.ok(), "a sound node does not work: " + s.message());
  node.Close();
  auto& red = node.world().transport.plugins["red"].volumes["a"];
  const std::string mounted = red.mountpoint;
  FUZZ_EXPECT(!mounted.empty(), "the volume is in use");

  switch (input.Choice(4)) {
    case 0: {
      WriteFile(node.Ledger(), input.Part());
      WriteFile(node.Ledger() + "-wal", input.Rest());
      break;
    }
    case 1: Patch(node.Ledger(), input); break;
    case 2: Patch(node.Ledger() + "-wal", input); break;
    case 3: WriteFile(node.Ledger(), input.Rest()); break;
  }
  node.Open();
  node.Look();
  (void)node.Call(&dvdi::Engine::Recover, {{"owner", "manual"}});
  (void)node.Prepare("next", "blue", "b");
  (void)node.Prepare("other", "red", "a");
  node.Settle(2);
  (void)node.Cleanup("next");
  (void)node.Cleanup("other");
  node.Settle(3);
  node.Look();
  // Promise 8: what was found to be damaged was rebuilt, and the workload has its volume.
  if (node.SaysDamaged()) FUZZ_EXPECT(red.mountpoint == mounted, "unmounted under a live workload");
  (void)node.Cleanup("live");
  node.Settle(2);
  node.Close();
  return 0;
}
