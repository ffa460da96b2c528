#include "cli/terminal.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <iterator>

namespace dvdi::cli {

// TIOCSTI, TIOCLINUX and the numbers below are the same for the 32-bit programs of these machines, and both
// are little-endian: the low half of an argument comes first.
#if defined(__x86_64__)
constexpr unsigned kArch = AUDIT_ARCH_X86_64, kIoctl = __NR_ioctl;
// Programs for x32 mark their calls with a bit, and have an ioctl of their own; kernels before 5.4 took
// either number with and without the bit.
constexpr unsigned kOtherIoctl = 514, kNumber = ~0x40000000u;
constexpr bool kKnown = true;
#elif defined(__aarch64__)
constexpr unsigned kArch = AUDIT_ARCH_AARCH64, kIoctl = __NR_ioctl, kOtherIoctl = __NR_ioctl, kNumber = ~0u;
constexpr bool kKnown = true;
#else
constexpr unsigned kArch = 0, kIoctl = __NR_ioctl, kOtherIoctl = __NR_ioctl, kNumber = ~0u;
constexpr bool kKnown = false;
#endif
constexpr unsigned kIoctlOf32Bit = 54;  // i386 and arm

Status RefuseTerminalInput() {
  if (!kKnown) return OkStatus();
  // ioctl is refused for nothing else: whoever asks whether its output is a terminal needs it. The kernel
  // takes 32 bits of the request and drops the rest, so no more are compared.
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArch, 2, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kIoctlOf32Bit, 4, 7),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kIoctl, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kOtherIoctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };
  const struct sock_fprog program = {static_cast<unsigned short>(std::size(filter)), filter};
  // Not no_new_privs, which would take setuid programs from the command. No sandbox either: before Linux 5.16
  // it would run with the processor's speculation held back, for nothing.
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) == 0)
    return OkStatus();
  // EPERM is no answer of the kernel's own, but of a filter that we are under.
  if (errno == ENOSYS || errno == EINVAL || errno == EPERM) return OkStatus();
  return Status::FromErrno(errno, "cannot keep the command from writing into the terminal's input");
}

}  // namespace dvdi::cli
