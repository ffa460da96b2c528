// What an operation of the engine costs, against a plain C program that does only what cannot be avoided,
// with few and with many volumes known; and what it costs to open an engine. Everything is in a mount
// namespace of its own and in a folder that is removed at the end. docs/performance.md explains the figures.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "bench/counting_env.h"
#include "bench/report.h"
#include "dvdi/dvdi.h"
#include "ledger/ledger.h"
#include "mount/mountinfo.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr int kWarmUp = 20;

[[noreturn]] void Die(const std::string& what, int err = errno);
void Check(long result, const std::string& what) {
  if (result < 0) Die(what);
}
void Check(const Status& s) {
  if (!s.ok()) Die(s.message() + (s.hint().empty() ? "" : " (" + s.hint() + ")"), 0);
}

int64_t NowNs() { return Clock::Real()->MonotonicNs(); }

// Of all threads, in user and in kernel mode.
int64_t CpuNs() {
  struct timespec t;
  Check(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), "clock_gettime");
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

// A child process with pipes to its standard input and output; ended by closing its input, or by a signal.
class Child {
 public:
  Child(const std::string& program, std::vector<std::string> arguments) {
    int in[2], out[2];
    Check(::pipe2(in, O_CLOEXEC), "pipe");
    Check(::pipe2(out, O_CLOEXEC), "pipe");
    arguments.insert(arguments.begin(), program);
    std::vector<char*> argv;
    for (auto& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    int err = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    to_.reset(in[1]);
    from_.reset(out[0]);
    if (err != 0) Die("cannot start " + program, err);
  }
  ~Child() { Wait(true); }

  void Tell(std::string_view text) {
    if (::write(to_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      Die("write to a child");
  }
  // The next line that it prints; "" at its end.
  std::string Line() {
    std::string line;
    char c;
    ssize_t n;
    while ((n = ::read(from_.get(), &c, 1)) == 1 && c != '\n') line += c;
    Check(n, "read from a child");
    return line;
  }
  // Its exit status.
  int Wait(bool end = false) {
    if (pid_ <= 0) return 0;
    to_.reset();
    if (end) ::kill(pid_, SIGTERM);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd to_, from_;
};

// The folder that everything is in, and the plugin. Ends with all that was mounted there.
class World {
 public:
  explicit World(const std::string& programs) : programs_(programs) {
    std::string name = programs + "/work-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) Die("cannot make " + name);
    folder_ = name;
    for (const char* sub : {"/plugins", "/volume", "/memory", "/disk"})
      Check(::mkdir((folder_ + sub).c_str(), 0700), "mkdir");
    Check(::mount("bench", (folder_ + "/volume").c_str(), "tmpfs", 0, "size=1m"), "mount a tmpfs");
    Check(::mount("bench", (folder_ + "/memory").c_str(), "tmpfs", 0, "size=512m,mode=700"), "mount a tmpfs");
    std::ofstream(folder_ + "/settings.yaml") << "node: bench\n";  // not what this machine is set to
    plugin_ = std::make_unique<Child>(programs + "/dvdi_bench_plugin",
                                      std::vector<std::string>{Socket(), folder_ + "/volume"});
    for (int i = 0; ::access(Socket().c_str(), F_OK) != 0; ++i) {
      if (i > 500) Die("the plugin does not come up", 0);
      ::usleep(10'000);
    }
    control_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (Socket().size() >= sizeof address.sun_path)
      Die("the path " + Socket() + " is too long for a socket", 0);
    std::strcpy(address.sun_path, Socket().c_str());
    while (::connect(control_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0)
      if (errno != ECONNREFUSED) Die("cannot connect to the plugin");
  }
  ~World() { Clear(); }

  void Clear() {
    if (folder_.empty()) return;
    plugin_.reset();
    auto text = Sys::Real()->Mountinfo();
    auto mounts = text.ok() ? ParseMountinfo(*text) : std::vector<MountEntry>();
    for (auto m = mounts.rbegin(); m != mounts.rend(); ++m)
      if (m->mountpoint.starts_with(folder_ + "/")) ::umount2(m->mountpoint.c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
    folder_.clear();
  }

  const std::string& programs() const { return programs_; }
  std::string Socket() const { return folder_ + "/plugins/bench.sock"; }
  // A folder for state: on the disk that the programs are on, or in memory.
  std::string Folder(bool memory, const std::string& name) const {
    std::string path = folder_ + (memory ? "/memory/" : "/disk/") + name;
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) Die("cannot make " + path);
    return path;
  }
  std::string Options(const std::string& state, bool keeper = true) const {
    return Dump({{"config", folder_ + "/settings.yaml"},
                 {"keeper", keeper},
                 {"settings",
                  {{"state_dir", state},
                   {"runtime_dir", folder_ + "/run"},
                   {"plugins", {{"sockets", {folder_ + "/plugins"}}, {"specs", Json::array()}}}}}});
  }
  // Requests that the plugin had since the last call.
  int64_t Requests() {
    const std::string ask = "POST /Bench.Count HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n";
    if (::send(control_.get(), ask.data(), ask.size(), MSG_NOSIGNAL) < 0) Die("cannot ask the plugin");
    char buffer[1024];
    ssize_t n = ::recv(control_.get(), buffer, sizeof buffer - 1, 0);
    if (n <= 0) Die("the plugin does not answer");
    buffer[n] = '\0';
    const char* at = std::strstr(buffer, "\"Requests\":");
    if (at == nullptr) Die("the plugin does not count", 0);
    return std::atoll(at + std::strlen("\"Requests\":"));
  }

 private:
  std::string programs_, folder_;
  std::unique_ptr<Child> plugin_;
  UniqueFd control_;
};

World* world = nullptr;

void Die(const std::string& what, int err) {
  std::fprintf(stderr, "engine_bench: %s%s%s\n", what.c_str(), err != 0 ? ": " : "",
               err != 0 ? std::strerror(err) : "");
  if (world != nullptr) world->Clear();
  ::_exit(1);
}

struct Times {
  int64_t prepare = 0, cleanup = 0, released = 0;  // until the answers; until nothing is going on any more
};

// An engine behind dvdi.h.
class Engine {
 public:
  explicit Engine(const std::string& options) {
    char* error = nullptr;
    if (dvdi_open(options.c_str(), &engine_, &error) != DVDI_OK)
      Die(error != nullptr ? error : "cannot open", 0);
  }
  ~Engine() { dvdi_close(engine_, 1000); }

  Times Operation() {
    const std::string scope = "scope-" + std::to_string(++count_);
    const std::string request = Dump(
        {{"owner", "bench"},
         {"scope", scope},
         {"sources", {{{"form", "mount"}, {"text", "type=volume,src=data,dst=/data,volume-driver=bench"}}}}});
    Times t;
    const int64_t t0 = NowNs();
    Wait(dvdi_prepare, request);
    const int64_t t1 = NowNs();
    Wait(dvdi_cleanup, Dump({{"owner", "bench"}, {"scope", scope}}));
    const int64_t t2 = NowNs();
    WaitUntilIdle();
    const int64_t t3 = NowNs();
    return {.prepare = t1 - t0, .cleanup = t2 - t1, .released = t3 - t0};
  }

 private:
  using Verb = dvdi_code(dvdi_engine*, const char*, dvdi_done, void*);
  void Wait(Verb* verb, const std::string& request) {
    answered_ = false;
    if (verb(engine_, request.c_str(), &Engine::Done, this) != DVDI_OK) Die("the engine takes no request", 0);
    std::unique_lock lock(mu_);
    cv_.wait(lock, [this] { return answered_; });
    if (code_ != DVDI_OK) Die(answer_, 0);
  }
  static void Done(void* user, dvdi_code code, const char* json, size_t length) {
    auto self = static_cast<Engine*>(user);
    std::lock_guard lock(self->mu_);
    self->code_ = code;
    if (code != DVDI_OK) self->answer_.assign(json, length);
    self->answered_ = true;
    self->cv_.notify_one();
  }

  dvdi_engine* engine_ = nullptr;
  int count_ = 0;
  std::mutex mu_;
  std::condition_variable cv_;
  bool answered_ = false;
  dvdi_code code_ = DVDI_OK;
  std::string answer_;
};

// --- an operation against the reference program

void Operation(Report& report, const std::string& name, bool memory, int usual_rounds) {
  if (!report.Wants(name)) return;
  const int rounds = report.Rounds(usual_rounds);
  const std::string reference_folder = world->Folder(memory, "reference");
  Engine engine(world->Options(world->Folder(memory, "engine")));
  Child reference(world->programs() + "/dvdi_reference", {world->Socket(), reference_folder, "data"});
  Samples ours, ours_prepare, ours_cleanup, ours_cpu, theirs, theirs_prepare, theirs_cleanup;
  Counts counts;
  int64_t calls = 0, their_calls = 0, their_mounts = 0, their_fsyncs = 0;
  for (int i = -kWarmUp; i < rounds; ++i) {
    auto run_ours = [&] {
      world->Requests();
      TakeCounts();
      const int64_t cpu = CpuNs();
      const Times t = engine.Operation();
      const int64_t cpu_used = CpuNs() - cpu;
      const Counts c = TakeCounts();
      if (i < 0) return;
      ours_cpu.Add(cpu_used);
      calls += world->Requests();
      counts.fsyncs += c.fsyncs, counts.mount_calls += c.mount_calls;
      counts.mountinfo += c.mountinfo, counts.threads += c.threads;
      ours.Add(t.released), ours_prepare.Add(t.prepare), ours_cleanup.Add(t.cleanup);
    };
    auto run_theirs = [&] {
      world->Requests();
      reference.Tell("\n");
      long long prepare = 0, cleanup = 0;
      int said = 0, mounts = 0, fsyncs = 0;
      if (std::sscanf(reference.Line().c_str(), "%lld %lld %d %d %d", &prepare, &cleanup, &said, &mounts,
                      &fsyncs) != 5)
        Die("the reference program failed", 0);
      if (i < 0) return;
      their_calls += world->Requests(), their_mounts += mounts, their_fsyncs += fsyncs;
      theirs.Add(prepare + cleanup), theirs_prepare.Add(prepare), theirs_cleanup.Add(cleanup);
    };
    // Each is first half of the time: what one leaves to the disk is not always the other's.
    if (i % 2 == 0) run_ours();
    run_theirs();
    if (i % 2 != 0) run_ours();
  }
  const auto each = [&](int64_t n) { return static_cast<double>(n) / rounds; };
  report.Add(name, ours,
             {{"ratio", ours.Median() / theirs.Median()},
              {"ratio_prepare", ours_prepare.Median() / theirs_prepare.Median()},
              {"ratio_cleanup", ours_cleanup.Median() / theirs_cleanup.Median()},
              {"prepare_us", ours_prepare.Median()},
              {"cleanup_us", ours_cleanup.Median()},
              {"cpu_us", ours_cpu.Median()},
              {"reference_us", theirs.Median()},
              {"reference_min_us", theirs.Min()},
              {"reference_p95_us", theirs.P95()},
              {"reference_prepare_us", theirs_prepare.Median()},
              {"reference_cleanup_us", theirs_cleanup.Median()},
              {"fsyncs", each(counts.fsyncs)},
              {"reference_fsyncs", each(their_fsyncs)},
              {"plugin_calls", each(calls)},
              {"reference_plugin_calls", each(their_calls)},
              {"mount_calls", each(counts.mount_calls)},
              {"reference_mount_calls", each(their_mounts)},
              {"mountinfo", each(counts.mountinfo)},
              {"threads", each(counts.threads)}},
             memory ? "state in memory" : "state on disk");
}

// --- few and many volumes in the ledger

void Fill(const std::string& state, int volumes, int attached, int records) {
  { Engine make_it(world->Options(state, false)); }
  Env env = RealEnv();
  Ledger ledger(env, state + "/ledger.db");
  Check(ledger.Open());
  const int64_t now = env.clock->WallMs();
  auto boot = env.sys->BootId();
  if (!boot.ok()) Check(boot.status());
  constexpr int kBatch = 5000;
  for (int from = 0; from < std::max(volumes, records); from += kBatch) {
    Check(ledger.Apply(false, [&](LedgerTx& tx) -> Status {
      for (int i = from; i < from + kBatch; ++i) {
        const std::string n = std::to_string(i), name = "volume-" + n;
        if (i < volumes)
          DVDI_RETURN_IF_ERROR(tx.TouchVolume({"bench", name, i % 2 == 0, now - i, now - i, "known"}));
        if (i < attached) {
          AttachmentRow a;
          a.id = env.random->HexId(32), a.driver = "bench", a.name = name, a.state = kAttached;
          a.mountpoint = "/nowhere/" + name, a.boot_id = *boot, a.mount_sent = true, a.created_ms = now;
          DVDI_RETURN_IF_ERROR(tx.PutAttachment(a));
          OperationRow o;
          o.id = env.random->HexId(16), o.owner = "other", o.scope = name, o.instance = "gone",
          o.boot_id = *boot;
          o.state = kCommitted, o.started_ms = now, o.answer = std::string(400, 'x');
          DVDI_RETURN_IF_ERROR(tx.PutOperation(o));
          EffectRow e;
          e.operation = o.id, e.seq = 1, e.kind = kAttach, e.attachment = a.id, e.target = "/data/" + n;
          e.mode = "rw", e.access = "single-writer";
          DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
          e.seq = 2, e.kind = kStage, e.path = "/nowhere/stage/" + n;
          DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
        }
        if (i < records) {
          RecordRow r;
          r.operation = env.random->HexId(16), r.kind = "prepare", r.owner = "other", r.scope = name,
          r.outcome = "ok";
          r.body = std::string(3000, 'x'), r.started_ms = now;
          DVDI_RETURN_IF_ERROR(tx.PutRecord(r, {{"bench", name}}, 10'000));
        }
      }
      return Status();
    }));
  }
  ledger.Close();
}

void ManyVolumes(Report& report, const std::string& name, int attached, int records, int usual_rounds) {
  if (!report.Wants(name)) return;
  const int rounds = report.Rounds(usual_rounds);
  constexpr int kFew = 10, kMany = 100'000;
  const std::string few_folder = world->Folder(true, "few-" + std::to_string(attached + records));
  const std::string many_folder = world->Folder(true, "many-" + std::to_string(attached + records));
  Fill(few_folder, kFew, std::min(attached, kFew), std::min(records, kFew));
  Fill(many_folder, kMany, attached, records);
  Engine few(world->Options(few_folder)), many(world->Options(many_folder));
  Samples with_few, with_many;
  for (int i = -kWarmUp; i < rounds; ++i) {
    for (int k = 0; k < 2; ++k) {
      const bool is_few = (i + k) % 2 == 0;
      const Times t = (is_few ? few : many).Operation();
      if (i >= 0) (is_few ? with_few : with_many).Add(t.released);
    }
  }
  const auto megabytes = [](const std::string& folder) {
    std::error_code error;
    return static_cast<double>(std::filesystem::file_size(folder + "/ledger.db", error)) / (1 << 20);
  };
  report.Add(name, with_many,
             {{"ratio", with_many.Median() / with_few.Median()},
              {"few_us", with_few.Median()},
              {"few_min_us", with_few.Min()},
              {"few_p95_us", with_few.P95()},
              {"volumes", kMany},
              {"attached", attached},
              {"records", records},
              {"ledger_mib", megabytes(many_folder)},
              {"few_ledger_mib", megabytes(few_folder)}},
             "100,000 volumes against 10; state in memory");
}

// --- opening

void Open(Report& report, const std::string& name, int usual_rounds) {
  if (!report.Wants(name)) return;
  const int rounds = report.Rounds(usual_rounds);
  const std::string state = world->Folder(false, "open");
  const std::string options = world->Options(state);
  const std::string request = Dump(
      {{"owner", "bench"},
       {"scope", "first"},
       {"dry_run", true},
       {"sources", {{{"form", "mount"}, {"text", "type=volume,src=data,dst=/data,volume-driver=bench"}}}}});
  { Engine(options).Operation(); }  // makes the ledger and the compiled form
  Samples load, open, first, both;
  std::vector<double> kib[6];
  for (int i = -2; i < rounds; ++i) {
    Child probe(world->programs() + "/dvdi_open_probe", {LIBRARY, options, request});
    const std::string line = probe.Line();
    long long load_ns = 0, open_ns = 0, first_ns = 0;
    long k[6] = {};
    if (std::sscanf(line.c_str(), "%lld %lld %lld %ld %ld %ld %ld %ld %ld", &load_ns, &open_ns, &first_ns,
                    &k[0], &k[1], &k[2], &k[3], &k[4], &k[5]) != 9 ||
        probe.Wait() != 0)
      Die("opening an engine in a process of its own failed", 0);
    if (i < 0) continue;
    load.Add(load_ns), open.Add(open_ns), first.Add(first_ns), both.Add(open_ns + first_ns);
    for (int m = 0; m < 6; ++m) kib[m].push_back(static_cast<double>(k[m]));
  }
  const auto median = [&](int m) {
    std::sort(kib[m].begin(), kib[m].end());
    return kib[m][kib[m].size() / 2];
  };
  report.Add(name, open,
             {{"load_us", load.Median()},
              {"first_decision_us", first.Median()},
              {"open_and_first_us", both.Median()},
              {"open_and_first_min_us", both.Min()},
              {"memory_kib", median(1) - median(0)},
              {"memory_first_kib", median(2) - median(0)},
              {"resident_kib", median(4) - median(3)},
              {"resident_first_kib", median(5) - median(3)}},
             "dvdi_open in a fresh process, the blob's compiled form cached");
}

int Main(int argc, char** argv) {
  Report report(argc, argv);
  if (::geteuid() != 0 || ::unshare(CLONE_NEWNS) != 0) {
    report.Skip("engine", "mounts need root");
    return report.Write() ? 0 : 1;
  }
  Check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make the mounts private");
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) Die("cannot tell where this program is", error.value());
  {
    World here(self.parent_path());
    world = &here;
    Operation(report, "operation/disk", false, 200);
    Operation(report, "operation/memory", true, 500);
    ManyVolumes(report, "many/volumes", 0, 0, 300);
    ManyVolumes(report, "many/volumes_records", 1'000, 10'000, 300);
    Open(report, "open", 40);
    world = nullptr;
  }
  return report.Write() ? 0 : 1;
}

}  // namespace
}  // namespace dvdi

int main(int argc, char** argv) { return dvdi::Main(argc, argv); }
