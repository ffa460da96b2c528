// For LD_PRELOAD, by the tests alone: who reads the kernel's boot id reads DVDI_OTHER_BOOT in its place, as
// in another boot. No program of ours can be told so without it. Never installed.
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

// The descriptor under which this thread has it open and not yet read.
thread_local int of_boot_id = -1;

int Open(const char* path, int flags, mode_t mode) {
  const int fd = static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
  if (std::strcmp(path, "/proc/sys/kernel/random/boot_id") == 0) of_boot_id = fd;
  return fd;
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int open(const char* path, int flags, ...) {
  std::va_list more;
  va_start(more, flags);
  const bool makes = (flags & (O_CREAT | O_TMPFILE)) != 0;
  const mode_t mode = makes ? va_arg(more, mode_t) : 0;
  va_end(more);
  return Open(path, flags, mode);
}

__attribute__((visibility("default"))) ssize_t read(int fd, void* buffer, size_t n) {
  const char* boot = fd >= 0 && fd == of_boot_id ? std::getenv("DVDI_OTHER_BOOT") : nullptr;
  if (boot == nullptr) return ::syscall(SYS_read, fd, buffer, n);
  of_boot_id = -1;
  const std::string line = std::string(boot) + '\n';
  n = std::min(n, line.size());
  std::memcpy(buffer, line.data(), n);
  return static_cast<ssize_t>(n);
}
}
