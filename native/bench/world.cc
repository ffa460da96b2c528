#include "bench/world.h"

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

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "bench/counting_env.h"
#include "mount/mountinfo.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

World* world = nullptr;

}  // namespace

void Die(const std::string& what, int err) {
  std::fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, what.c_str(), err != 0 ? ": " : "",
               err != 0 ? std::strerror(err) : "");
  if (world != nullptr) world->Clear();
  ::_exit(1);
}

void Die(const std::string& what) { Die(what, errno); }

void Check(long result, const std::string& what) {
  if (result < 0) Die(what);
}

void Check(const Status& s) {
  if (!s.ok()) Die(s.message() + (s.hint().empty() ? "" : " (" + s.hint() + ")"), 0);
}

int64_t NowNs() { return Clock::Real()->MonotonicNs(); }

int64_t CpuNs() {
  struct timespec t;
  Check(::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), "clock_gettime");
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

bool OwnMounts() {
  if (::geteuid() != 0 || ::unshare(CLONE_NEWNS) != 0) return false;
  Check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make the mounts private");
  return true;
}

std::string ProgramFolder() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) Die("cannot tell where this program is", error.value());
  return self.parent_path();
}

Child::Child(const std::string& program, std::vector<std::string> arguments) {
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

void Child::Tell(std::string_view text) {
  if (::write(to_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    Die("write to a child");
}

std::string Child::Line() {
  std::string line;
  char c;
  ssize_t n;
  while ((n = ::read(from_.get(), &c, 1)) == 1 && c != '\n') line += c;
  Check(n, "read from a child");
  return line;
}

int Child::Wait(bool end) {
  if (pid_ <= 0) return 0;
  to_.reset();
  if (end) ::kill(pid_, SIGTERM);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return status;
}

World::World(const std::string& programs, int delay_ms, int in_flight) : programs_(programs) {
  MakeFolder();
  StartPlugin(programs + "/dvdi_bench_plugin",
              {Socket(), folder_ + "/volume", std::to_string(delay_ms), std::to_string(in_flight)});
  control_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (Socket().size() >= sizeof address.sun_path)
    Die("the path " + Socket() + " is too long for a socket", 0);
  std::strcpy(address.sun_path, Socket().c_str());
  while (::connect(control_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) != 0)
    if (errno != ECONNREFUSED) Die("cannot connect to the plugin");
}

World::World(const std::string& programs, WithDriver) : programs_(programs) {
  MakeFolder();
  const std::string pool = folder_ + "/disk/pool";
  Check(::mkdir(pool.c_str(), 0700), "mkdir");
  StartPlugin(programs + "/../driver/dvdi-driver", {"--pool", pool, "--node-id", "bench", "--socket",
                                                    Socket(), "--mount-root", folder_ + "/driver"});
}

void World::MakeFolder() {
  world = this;
  std::string name = programs_ + "/work-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) Die("cannot make " + name);
  folder_ = name;
  for (const char* sub : {"/plugins", "/volume", "/memory", "/disk"})
    Check(::mkdir((folder_ + sub).c_str(), 0700), "mkdir");
  Check(::mount("bench", (folder_ + "/volume").c_str(), "tmpfs", 0, "size=1m"), "mount a tmpfs");
  Check(::mount("bench", (folder_ + "/memory").c_str(), "tmpfs", 0, "size=512m,mode=700"), "mount a tmpfs");
  std::ofstream(folder_ + "/settings.yaml") << "node: bench\n";  // not what this machine is set to
}

void World::StartPlugin(const std::string& program, std::vector<std::string> arguments) {
  plugin_ = std::make_unique<Child>(program, std::move(arguments));
  for (int i = 0; ::access(Socket().c_str(), F_OK) != 0; ++i) {
    if (i > 500) Die("the plugin does not come up", 0);
    ::usleep(10'000);
  }
}

World::~World() {
  Clear();
  world = nullptr;
}

void World::Clear() {
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

std::string World::Folder(bool memory, const std::string& name) const {
  std::string path = folder_ + (memory ? "/memory/" : "/disk/") + name;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) Die("cannot make " + path);
  return path;
}

std::string World::Options(const std::string& state, bool keeper) const {
  return Dump({{"config", folder_ + "/settings.yaml"},
               {"keeper", keeper},
               {"settings",
                {{"state_dir", state},
                 {"runtime_dir", folder_ + "/run"},
                 {"plugins", {{"sockets", {folder_ + "/plugins"}}, {"specs", Json::array()}}}}}});
}

std::string World::SettingsText(const std::string& state) const {
  return Dump({{"node", "bench"},
               {"state_dir", state},
               {"runtime_dir", folder_ + "/run"},
               {"plugins", {{"sockets", {folder_ + "/plugins"}}, {"specs", Json::array()}}}});
}

void World::Reboot(const std::string& state) {
  Check(::umount2((state + "/stage").c_str(), MNT_DETACH), "unmount the stages");
  OtherBoot();
  Ask("Reboot");
}

int64_t World::Requests() { return control_.valid() ? Ask("Count") : -1; }

int64_t World::Ask(const std::string& what) {
  const std::string ask = "POST /Bench." + what + " HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n";
  if (::send(control_.get(), ask.data(), ask.size(), MSG_NOSIGNAL) < 0) Die("cannot ask the plugin");
  char buffer[1024];
  ssize_t n = ::recv(control_.get(), buffer, sizeof buffer - 1, 0);
  if (n <= 0) Die("the plugin does not answer");
  buffer[n] = '\0';
  const char* at = std::strstr(buffer, "\"Requests\":");
  if (at == nullptr) Die("the plugin does not count", 0);
  return std::atoll(at + std::strlen("\"Requests\":"));
}

BenchEngine::BenchEngine(const std::string& options) {
  char* error = nullptr;
  if (dvdi_open(options.c_str(), &engine_, &error) != DVDI_OK)
    Die(error != nullptr ? error : "cannot open", 0);
}

Times BenchEngine::Operation() {
  const std::string scope = "scope-" + std::to_string(++count_);
  const Json request = PrepareRequestOf(scope, {"data"});
  const Json end = {{"owner", "bench"}, {"scope", scope}};
  const int64_t t0 = NowNs();
  Start(dvdi_prepare, request);
  WaitForAll();
  const int64_t t1 = NowNs();
  Start(dvdi_cleanup, end);
  WaitForAll();
  const int64_t t2 = NowNs();
  WaitUntilIdle();
  const int64_t t3 = NowNs();
  return {.prepare = t1 - t0, .cleanup = t2 - t1, .released = t3 - t0};
}

bool BenchEngine::TryOperation() {
  const std::string scope = "scope-" + std::to_string(++count_);
  for (bool begin : {true, false}) {
    Start(begin ? dvdi_prepare : dvdi_cleanup,
          begin ? PrepareRequestOf(scope, {"data"}) : Json{{"owner", "bench"}, {"scope", scope}});
    std::unique_lock lock(mu_);
    cv_.wait(lock, [this] { return open_ == 0; });
    if (code_ == DVDI_OK) continue;
    std::fprintf(stderr, "an operation failed: %s\n", answer_.c_str());
    code_ = DVDI_OK;
    return false;
  }
  return true;
}

void BenchEngine::MustRefuse(Question* question, const Json& request) {
  char* text = nullptr;
  const dvdi_code code = question(engine_, Dump(request).c_str(), &text);
  if (code == DVDI_OK) Die("it was not refused: " + Dump(request), 0);
  dvdi_free(text);
}

Json BenchEngine::Ask(Question* question, const Json& request) {
  char* text = nullptr;
  const dvdi_code code = question(engine_, Dump(request).c_str(), &text);
  const std::string answer = text == nullptr ? "" : text;
  dvdi_free(text);
  if (code != DVDI_OK) Die(answer, 0);
  auto json = ParseJson(answer, "an answer");
  Check(json.status());
  return *json;
}

void BenchEngine::Start(Verb* verb, const Json& request) {
  {
    std::lock_guard lock(mu_);
    ++open_;
  }
  if (verb(engine_, Dump(request).c_str(), &BenchEngine::Done, this) != DVDI_OK)
    Die("the engine takes no request", 0);
}

void BenchEngine::StartApart(Verb* verb, const Json& request, dvdi_done done, void* user) {
  if (verb(engine_, Dump(request).c_str(), done, user) != DVDI_OK) Die("the engine takes no request", 0);
}

void BenchEngine::WaitForAll() {
  std::unique_lock lock(mu_);
  cv_.wait(lock, [this] { return open_ == 0; });
  if (code_ != DVDI_OK) Die(answer_, 0);
}

void BenchEngine::Done(void* user, dvdi_code code, const char* json, size_t length) {
  auto self = static_cast<BenchEngine*>(user);
  std::lock_guard lock(self->mu_);
  if (code != DVDI_OK && self->code_ == DVDI_OK) {
    self->code_ = code;
    self->answer_.assign(json, length);
  }
  if (--self->open_ == 0) self->cv_.notify_one();
}

Json PrepareRequestOf(const std::string& scope, const std::vector<std::string>& volumes,
                      const std::string& driver) {
  Json sources = Json::array();
  for (const auto& name : volumes)
    sources.push_back({{"form", "mount"},
                       {"text", "type=volume,src=" + name + ",dst=/" + name + ",volume-driver=" + driver}});
  return {{"owner", "bench"}, {"scope", scope}, {"sources", std::move(sources)}};
}

}  // namespace dvdi
