#include "base/caller.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

namespace dvdi {

void HoldStandardStreams() {
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest that is free, which is this one: those below are taken. Open for the other direction alone.
    if (::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
  }
}

void ShedInherited() {
  // What is left of it, where it cannot be raised, is an error of the write.
  for (int s : {SIGPIPE, SIGXFSZ}) ::signal(s, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);
  struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_FSIZE, &limit) == 0 || ::getrlimit(RLIMIT_FSIZE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_FSIZE, &limit));
}

}  // namespace dvdi
