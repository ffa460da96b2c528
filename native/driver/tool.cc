#include "driver/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/fd.h"
#include "base/text.h"
#include "driver/files.h"

namespace dvdi {
namespace {

constexpr int kFileFd = 3;
constexpr size_t kMaxText = 2000, kMaxLine = 1000;
constexpr int kAskMs = 100;

// Reads the child's output to its end; ends the child where that is asked for. Whether it was.
bool Follow(const Tool& tool, int fd, pid_t pid, std::string* text) {
  std::string line;
  char buffer[1024];
  bool ended = false;
  for (;;) {
    if (!ended && tool.give_up && tool.give_up()) {
      ::kill(pid, SIGKILL);
      ended = true;
    }
    struct pollfd p = {fd, POLLIN, 0};
    if (::poll(&p, 1, kAskMs) == 0) continue;
    ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ended;
    if (text->size() < kMaxText) text->append(buffer, static_cast<size_t>(n));
    for (ssize_t i = 0; i < n; ++i) {
      if (buffer[i] != '\n' && buffer[i] != '\r') {
        if (line.size() < kMaxLine) line += buffer[i];
        continue;
      }
      if (!line.empty() && tool.line) tool.line(line);
      line.clear();
    }
  }
}

class Actions {
 public:
  Status Prepare(const UniqueFd& file, const UniqueFd& output) {
    int err = ::posix_spawn_file_actions_init(&actions_);
    if (err != 0) return Status::FromErrno(err, "cannot prepare a program");
    made_ = true;
    if ((err = ::posix_spawnattr_init(&attributes_)) != 0)
      return Status::FromErrno(err, "cannot prepare a program");
    attributes_made_ = true;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (int s : {SIGPIPE, SIGXFSZ}) sigaddset(&defaults, s);
    auto keep = [&err](int result) {
      if (err == 0) err = result;
    };
    keep(::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0));
    keep(::posix_spawn_file_actions_adddup2(&actions_, output.get(), 1));
    keep(::posix_spawn_file_actions_adddup2(&actions_, output.get(), 2));
    keep(::posix_spawn_file_actions_adddup2(&actions_, file.get(), kFileFd));
    // The driver blocks its stop signals in every thread; the child starts with a mask of its own.
    keep(::posix_spawnattr_setsigmask(&attributes_, &none));
    keep(::posix_spawnattr_setsigdefault(&attributes_, &defaults));
    keep(::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    return err == 0 ? OkStatus() : Status::FromErrno(err, "cannot prepare a program");
  }
  ~Actions() {
    if (made_) ::posix_spawn_file_actions_destroy(&actions_);
    if (attributes_made_) ::posix_spawnattr_destroy(&attributes_);
  }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  bool made_ = false, attributes_made_ = false;
};

}  // namespace

Result<std::string> FindTool(const std::string& name, const char* package) {
  for (const char* folder : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"}) {
    std::string path = folder + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return Status(Code::kUnsupported, name + " is not installed", std::string("apt-get install ") + package);
}

Result<ToolResult> RunTool(const Tool& tool, int file_fd, const std::string& volume) {
  DVDI_ASSIGN_OR_RETURN(std::string path, FindTool(tool.arguments[0], tool.package));
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) < 0) return Status::FromErrno(errno, "cannot make a pipe for " + path);
  UniqueFd read_end(pipe_fds[0]), write_end(pipe_fds[1]);
  // Away from 0..3, so that the child's own numbers can be made one after another.
  UniqueFd file(::fcntl(file_fd, F_DUPFD_CLOEXEC, 10)), output(::fcntl(write_end.get(), F_DUPFD_CLOEXEC, 10));
  if (!file.valid() || !output.valid())
    return Status::FromErrno(errno, "cannot prepare descriptors for " + path);
  write_end.reset();
  Actions actions;
  DVDI_RETURN_IF_ERROR(actions.Prepare(file, output));
  std::vector<const char*> arguments = tool.arguments;
  arguments.push_back(nullptr);
  const char* environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", nullptr};
  auto ended = [&] {
    return Status(Code::kUnavailable, path + " was ended for volume " + volume + ": its lease ended",
                  "try again");
  };
  // A file that was opened when the lease had ended may be another node's.
  if (tool.give_up && tool.give_up()) return ended();
  pid_t pid = 0;
  int err = ::posix_spawn(&pid, path.c_str(), actions.actions(), actions.attributes(),
                          const_cast<char* const*>(arguments.data()), const_cast<char* const*>(environment));
  if (err != 0) return Status::FromErrno(err, "cannot start " + path, path);
  output.reset();
  Step("tool-started");
  ToolResult result;
  bool given_up = Follow(tool, read_end.get(), pid, &result.text);
  int state = 0;
  while (::waitpid(pid, &state, 0) < 0)
    if (errno != EINTR) return Status::FromErrno(errno, "cannot wait for " + path, path);
  result.text.resize(std::min(result.text.size(), kMaxText));
  if (given_up) return ended();
  if (!WIFEXITED(state))
    return Status(Code::kSystem, path + " failed for volume " + volume + " (signal " +
                                     std::to_string(WTERMSIG(state)) + "): " + OneLine(result.text, 300));
  result.status = WEXITSTATUS(state);
  return result;
}

}  // namespace dvdi
