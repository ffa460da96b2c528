// What tests of several mount namespaces share.
#ifndef DVDI_DRIVER_ELSEWHERE_TEST_H_
#define DVDI_DRIVER_ELSEWHERE_TEST_H_

#include <signal.h>
#include <sys/wait.h>

#include <string>

#include "driver/test_world.h"

namespace dvdi::testing {

// A process in a mount namespace of its own, with copies of all mounts; `propagation` for "/".
class Elsewhere {
 public:
  explicit Elsewhere(unsigned long propagation, const std::string& hold_open = "") {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) < 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      // The lock files of the test's drivers are not to be held here too.
      ::dup2(ready[1], 3);
      ::close_range(4, ~0U, 0);
      bool ok =
          ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | propagation, nullptr) == 0;
      if (!hold_open.empty()) ok = ok && ::open(hold_open.c_str(), O_RDONLY) >= 0;
      char c = ok ? 'y' : 'n';
      [[maybe_unused]] ssize_t n = ::write(3, &c, 1);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char c = 'n';
    ok_ = ::read(ready[0], &c, 1) == 1 && c == 'y';
    ::close(ready[0]);
  }
  ~Elsewhere() { End(); }
  void End() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  bool ok() const { return ok_; }
  // What it holds open, reached from here.
  std::string Held() const { return "/proc/" + std::to_string(pid_) + "/fd/4"; }
  bool Sees(const std::string& mountpoint) const {
    auto text = Sys::Real()->Mountinfo(pid_);
    auto mounts = ParseMountinfo(text.ok() ? *text : "");
    return FindMount(mounts, mountpoint) != nullptr;
  }

 private:
  pid_t pid_ = 0;
  bool ok_ = false;
};

}  // namespace dvdi::testing

#endif  // DVDI_DRIVER_ELSEWHERE_TEST_H_
