#include "sys/time_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

#include "base/fd.h"

namespace dvdi {
namespace {

constexpr int64_t kNsOfSecond = 1'000'000'000;

// Whether our children have the clocks that we have.
bool IsInherited() {
  struct stat own, children;
  return ::stat("/proc/self/ns/time", &own) == 0 &&
         ::stat("/proc/self/ns/time_for_children", &children) == 0 && own.st_dev == children.st_dev &&
         own.st_ino == children.st_ino;
}

}  // namespace

int BootClockAhead(int64_t* ticks) {
  *ticks = 0;
  UniqueFd file(::open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return errno == ENOENT ? 0 : -errno;  // a kernel that has no time namespaces
  std::array<char, 256> text = {};
  const ssize_t n = ::read(file.get(), text.data(), text.size() - 1);
  const char* line = n > 0 ? ::strstr(text.data(), "boottime") : nullptr;
  long long seconds = 0, ns = 0;
  if (line == nullptr || ::sscanf(line, "boottime %lld %lld", &seconds, &ns) != 2) return -EDOM;
  if (seconds == 0 && ns == 0) return 0;
  const long per_second = ::sysconf(_SC_CLK_TCK);
  if (per_second <= 0 || !IsInherited()) return -EDOM;
  const int64_t tick = kNsOfSecond / per_second;
  if (ns % tick != 0) return -EDOM;
  *ticks = seconds * per_second + ns / tick;
  return 0;
}

}  // namespace dvdi
