// Bytes as the files of a ledger, and then an engine that works with it, on a simulated world. A volume is in
// use meanwhile, by a workload that the ledger knew.
//
// The node before is made once, and put back before each input; what an engine has opened that stands as an
// earlier one did, byte for byte, is not worked with again.
//
// Input: a choice of what. "0": the rest is the database, behind a separator its log. "1": patches of the
// database that the engine itself has written; "2": patches of its log; "3": both are lost in part: the log
// stays, the database is the rest. A patch is a place (3 bytes, from the front), a length and so many bytes;
// of length 255 it cuts the file off there.
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/text.h"
#include "engine/engine.h"
#include "fuzz/fuzz.h"
#include "sim/world.h"

namespace dvdi::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxPatches = 64;
constexpr uint8_t kCut = 255;

// A file's bytes after what is in `bytes`: a caller who comes a million times keeps the memory.
void AppendFile(const std::string& path, std::string& bytes) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) return;
  const size_t before = bytes.size();
  bytes.resize(before + size);
  std::ifstream in(path, std::ios::binary);
  in.read(bytes.data() + before, static_cast<std::streamsize>(size));
  bytes.resize(before + static_cast<size_t>(in.gcount()));
}

std::string ReadFile(const std::string& path) {
  std::string bytes;
  AppendFile(path, bytes);
  return bytes;
}

void WriteFile(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void Patch(const std::string& path, Input input) {
  static std::string bytes;
  bytes.clear();
  AppendFile(path, bytes);
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
  ~Folder() { fs::remove_all(path_); }
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

// What is in a folder at one time, and how it becomes so again.
class Kept {
 public:
  explicit Kept(std::string folder) : folder_(std::move(folder)) {
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      const std::string path = entry.path();
      File& file = files_[path];
      FUZZ_EXPECT(::stat(path.c_str(), &file.st) == 0, path + " cannot be looked at");
      if (!entry.is_directory()) file.bytes = ReadFile(path), Mark(path);
    }
  }
  void Restore() const {
    std::vector<std::string> more;
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (const auto it = files_.find(entry.path());
          it == files_.end() || S_ISDIR(it->second.st.st_mode) != entry.is_directory())
        more.push_back(entry.path());
    for (const std::string& path : more) fs::remove_all(path);
    for (const auto& [path, file] : files_) {  // a folder comes before what is in it
      struct stat st;
      const bool there = ::stat(path.c_str(), &st) == 0;
      if (S_ISDIR(file.st.st_mode)) {
        if (!there) fs::create_directory(path);
      } else if (!there || st.st_mtim.tv_sec != kMark.tv_sec || path.ends_with("/counters")) {
        WriteFile(path, file.bytes);
        Mark(path);
      }
      if (!there || st.st_mode != file.st.st_mode) ::chmod(path.c_str(), file.st.st_mode & 07777);
    }
  }

 private:
  struct File {
    struct stat st;
    std::string bytes;
  };
  // A file of this time was not written to since, unless through a mapping, as the counters are.
  static constexpr timespec kMark = {1, 0};
  static void Mark(const std::string& path) {
    const timespec times[] = {kMark, kMark};
    FUZZ_EXPECT(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0, "no time can be set on " + path);
  }
  const std::string folder_;
  std::map<std::string, File> files_;
};

// Appends a database's pages, as a reader sees them: those that its log holds are newer than the file's.
void AppendPages(const std::string& path, std::string& bytes) {
  sqlite3* db = nullptr;
  if (sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK) {
    sqlite3_int64 size = 0;
    if (unsigned char* pages = sqlite3_serialize(db, "main", &size, 0); pages != nullptr) {
      bytes.append(reinterpret_cast<const char*>(pages), static_cast<size_t>(size));
      sqlite3_free(pages);
    }
  }
  sqlite3_close(db);
}

class Node {
 public:
  Node() : root_(Made(Files() + "/node")), volumes_(Made(Volumes() + "/node")), world_(1, root_, volumes_) {
    world_.transport.in_use = [](const std::string&, const std::string&) { return false; };
    for (const char* driver : {"red", "blue"}) world_.AddPlugin(driver);
    options_.keeper = Keeping::kNothing;
    options_.runtime = Runtime();
    Settings& s = options_.settings;
    s.state_dir = root_ + "/state", s.runtime_dir = root_ + "/run", s.policy_dir = root_ + "/policy";
    s.secrets_dir = root_ + "/secrets", s.node = "fuzz";
    s.plugin_paths.sockets.clear();
    s.plugin_paths.specs = {root_ + "/specs"};
    s.prepare_ms = 60'000, s.call_max_ms = 20'000;
  }
  // From now on Restore leads back here. No engine is open.
  void Keep() {
    kept_.emplace(
        State{world_.random, world_.clock, world_.sys, world_.transport, Kept(root_), Kept(volumes_)});
  }
  void Restore() {
    FUZZ_EXPECT(!engine_, "an engine is open");
    world_.random = kept_->random, world_.clock = kept_->clock;
    world_.sys = kept_->sys, world_.transport = kept_->transport;
    kept_->files.Restore();
    kept_->volumes.Restore();
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
  std::string Note() const { return engine_->core().ledger->note(); }
  bool SaysDamaged() const { return !Note().empty(); }
  // A hash of all that the engine goes on from, which has no more than that: two nodes of the same go the
  // same way. "" where the ledger cannot be read as a whole.
  std::string Standing() {
    static std::string all;
    all.clear();
    AppendPages(Ledger(), all);
    if (all.empty()) return "";
    std::map<std::string, std::string> files;  // sorted
    for (const auto& entry : fs::recursive_directory_iterator(options_.settings.state_dir))
      if (const std::string path = entry.path(); !path.starts_with(Ledger()))
        files[path] = entry.is_directory() ? "" : ReadFile(path);
    for (const auto& [path, bytes] : files) all += path + '\n' + bytes;
    for (const std::string& line : world_.transport.transcript) all += line + '\n';
    const auto mounts = world_.sys.Mountinfo(0);
    FUZZ_EXPECT(mounts.ok(), mounts.status().message());
    sim::SimRandom random = world_.random;
    all += *mounts + std::to_string(world_.clock.MonotonicNs()) + ' ' + std::to_string(random.Next());
    all += SaysDamaged() ? "damaged" : "sound";
    return Sha256Hex(all);
  }
  sim::World& world() { return world_; }

 private:
  static std::string Made(const std::string& folder) {
    fs::create_directory(folder);
    return folder;
  }
  struct State {
    sim::SimRandom random;
    sim::SimClock clock;
    sim::SimSys sys;
    sim::SimTransport transport;
    Kept files, volumes;
  };
  const std::string root_, volumes_;
  sim::World world_;
  EngineOptions options_;
  std::shared_ptr<Engine> engine_;
  std::optional<State> kept_;
};

// Standings that were worked with, by the first bits of their hashes. Of one size from the start: what grows
// as inputs come is to libFuzzer a leak to look for, and it runs the input once more.
class Known {
 public:
  // Whether it was new. A table that is full forgets all.
  bool Insert(const std::string& standing) {
    uint64_t hash = 0;
    std::from_chars(standing.data(), standing.data() + 16, hash, 16);
    hash |= 1;  // 0 is no entry
    if (2 * held_ > table_.size()) std::fill(table_.begin(), table_.end(), 0), held_ = 0;
    for (size_t at = hash >> 1;; ++at) {
      uint64_t& entry = table_[at % table_.size()];
      if (entry == hash) return false;
      if (entry != 0) continue;
      entry = hash, ++held_;
      return true;
    }
  }

 private:
  std::vector<uint64_t> table_ = std::vector<uint64_t>(1 << 20);
  size_t held_ = 0;
};

// With a volume in use, and one that was. Made once: the most of an input's time would go into it.
Node& Sound() {
  static Node* node = [] {
    auto* made = new Node;
    made->Open();
    for (const Status& s :
         {made->Prepare("live", "red", "a"), made->Prepare("ended", "blue", "b"), made->Cleanup("ended")})
      FUZZ_EXPECT(s.ok(), "a sound node does not work: " + s.message());
    made->Close();
    made->Keep();
    return made;
  }();
  return *node;
}

}  // namespace
}  // namespace dvdi::fuzz

// What it runs belongs to no input.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  dvdi::fuzz::Sound();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dvdi::fuzz;
  Input input(data, size);
  Node& node = Sound();
  node.Restore();
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
  ExpectLine(node.Note(), "the ledger's note");
  // Most damages end in one of few ledgers: what an engine does with one that it had before in this process
  // it has shown.
  static Known worked_with;
  if (const std::string standing = node.Standing(); !standing.empty() && !worked_with.Insert(standing)) {
    node.Close();
    return 0;
  }
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
