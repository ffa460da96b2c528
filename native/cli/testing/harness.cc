#include "cli/testing/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/bind.h"

namespace dvdi::cli {

Running::~Running() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool Running::WaitForText(const UniqueFd& fd, std::string* seen, const std::string& text) {
  char buffer[4096];
  while (seen->find(text) == std::string::npos) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    seen->append(buffer, static_cast<size_t>(n));
  }
  return true;
}

void Running::Kill(int signal) { ASSERT_EQ(::kill(pid_, signal), 0) << ::strerror(errno); }

void Running::Feed(const std::string& text) {
  // Small: a pipe takes it whole.
  ASSERT_EQ(::write(in_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

Finished Running::Finish() {
  in_.reset();
  struct pollfd fds[2] = {{out_.get(), POLLIN, 0}, {err_.get(), POLLIN, 0}};
  std::string* texts[2] = {&seen_.out, &seen_.err};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (::poll(fds, 2, -1) < 0) continue;
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[4096];
      ssize_t n = ::read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0)
        texts[i]->append(buffer, static_cast<size_t>(n));
      else
        fds[i].fd = -1;
    }
  }
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  seen_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return seen_;
}

void CommandTest::SetUp() {
  // Ignored where the tests run in the background of a shell, and a shell cannot trap what it got ignored.
  for (int s : {SIGINT, SIGQUIT, SIGHUP, SIGTERM}) ::signal(s, SIG_DFL);
  char name[] = "/tmp/dvdi-cli-test-XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  folder_ = name;
}

void CommandTest::TearDown() {
  std::error_code error;
  std::filesystem::remove_all(folder_, error);
}

std::string CommandTest::MakeFolder(const std::string& name) {
  std::error_code error;
  std::filesystem::create_directories(Path(name), error);
  EXPECT_FALSE(error) << error.message();
  return Path(name);
}

std::string CommandTest::WriteFile(const std::string& name, const std::string& text) {
  std::ofstream(Path(name)) << text;
  return Path(name);
}

std::string CommandTest::ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Running CommandTest::StartDvdi(const std::vector<std::string>& arguments) {
  WriteFile("script.json", Dump(script_));
  std::vector<std::string> env = environment_;
  env.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  env.push_back("DVDI_FAKE_SCRIPT=" + Path("script.json"));
  env.push_back("DVDI_FAKE_LOG=" + Path("log"));
  std::vector<char*> envp, argv;
  for (auto& e : env) envp.push_back(e.data());
  envp.push_back(nullptr);
  argv.push_back(program_.data());
  for (auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  int in[2], out[2], err[2];
  EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
  EXPECT_EQ(::pipe2(err, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input_from_ >= 0 ? input_from_ : in[0], 0);
  ::posix_spawn_file_actions_adddup2(&actions, output_to_ >= 0 ? output_to_ : out[1], 1);
  ::posix_spawn_file_actions_adddup2(&actions, error_to_ >= 0 ? error_to_ : err[1], 2);
  if (closed_ >= 0) ::posix_spawn_file_actions_addclose(&actions, closed_);
  pid_t pid = -1;
  EXPECT_EQ(::posix_spawn(&pid, DVDI_FAKE_BINARY, &actions, nullptr, argv.data(), envp.data()), 0);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  ::close(err[1]);
  return Running(pid, UniqueFd(in[1]), UniqueFd(out[0]), UniqueFd(err[0]));
}

Finished CommandTest::Dvdi(const std::vector<std::string>& arguments, const std::string& input) {
  Running running = StartDvdi(arguments);
  running.Feed(input);
  return running.Finish();
}

std::vector<Json> CommandTest::Log() const {
  std::vector<Json> lines;
  std::istringstream text(ReadFile(Path("log")));
  for (std::string line; std::getline(text, line);) {
    auto parsed = ParseJson(line, "the log");
    if (parsed.ok()) lines.push_back(*parsed);
  }
  return lines;
}

std::vector<Json> CommandTest::Calls(const std::string& call) const {
  std::vector<Json> found;
  for (const auto& line : Log())
    if (GetString(line, "call") == call) found.push_back(GetMember(line, "request"));
  return found;
}

Json CommandTest::OneCall(const std::string& call) const {
  auto calls = Calls(call);
  EXPECT_EQ(calls.size(), 1u) << call;
  return calls.size() == 1 ? calls[0] : Json();
}

void MountTest::SetUp() {
  CommandTest::SetUp();
  if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
  if (::unshare(CLONE_NEWNS) < 0) GTEST_SKIP() << "cannot make a mount namespace: " << ::strerror(errno);
  ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr), 0);
  ASSERT_EQ(::mount("dvdi-test", Path("").c_str(), "tmpfs", 0, "size=4m"), 0) << ::strerror(errno);
}

void MountTest::TearDown() {
  ::umount2(Path("").c_str(), MNT_DETACH);
  CommandTest::TearDown();
}

std::string MountTest::MakeStage(const std::string& name) {
  std::string stage = MakeFolder("stage-" + name);
  EXPECT_EQ(::mount("dvdi-test", stage.c_str(), "tmpfs", 0, "size=1m"), 0) << ::strerror(errno);
  EXPECT_EQ(::mount(nullptr, stage.c_str(), nullptr, MS_SHARED, nullptr), 0) << ::strerror(errno);
  std::ofstream(stage + "/is-" + name) << name;
  return stage;
}

void MountTest::ScriptVolumes(const std::vector<std::vector<std::string>>& volumes) {
  Json list = Json::array();
  for (const auto& v : volumes)
    list.push_back({{"driver", "d"},
                    {"name", v[0]},
                    {"id", "1"},
                    {"stage", v[1]},
                    {"target", v[2]},
                    {"mode", "rw"},
                    {"what", "created"},
                    {"last_used", nullptr},
                    {"message", "created new volume " + v[0]}});
  script_["prepare"]["answer"] = {{"operation", "o"},
                                  {"scope", "s"},
                                  {"volumes", list},
                                  {"hide", Json::array()},
                                  {"notes", Json::array()}};
}

bool MountTest::IsMount(const std::string& path) {
  auto mounts = OwnMounts();
  return mounts.ok() && FindMount(*mounts, path) != nullptr;
}

}  // namespace dvdi::cli
