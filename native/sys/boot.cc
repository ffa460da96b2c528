#include "sys/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>

#include "base/fd.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr char kInProc[] = "sys/kernel/random/boot_id";
constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";

// *kernels: whether it is a file of the kernel's.
Status ReadId(int fd, bool* kernels, std::string* id) {
  struct statfs st;
  if (::fstatfs(fd, &st) < 0) return Status::FromErrno(errno, std::string("cannot look at ") + kPath, kPath);
  *kernels = st.f_type == PROC_SUPER_MAGIC;
  std::array<char, 64> text = {};
  const ssize_t n = ::read(fd, text.data(), text.size());
  if (n < 0) return Status::FromErrno(errno, std::string("cannot read ") + kPath, kPath);
  id->assign(text.data(), static_cast<size_t>(n));
  while (id->ends_with('\n')) id->pop_back();
  return Status();
}

}  // namespace

// Many runtimes (LXC, systemd-nspawn) mount a file over it, so that each container has a boot of its own:
// what others have begun on this kernel would be taken for what an earlier boot has left, and undone while it
// is in use. What is mounted over /proc is not in a copy of that mount alone. Who cannot have one does
// nothing: what another boot has begun cannot be told from what goes on.
Result<Boot> Sys::BootId() {
  UniqueFd file(::open(kPath, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return Status::FromErrno(errno, std::string("cannot open ") + kPath, kPath);
  Boot boot;
  bool kernels = false;
  DVDI_RETURN_IF_ERROR(ReadId(file.get(), &kernels, &boot.id));
  if (!kernels) {
    boot.also = std::move(boot.id);
    boot.id.clear();
    UniqueFd proc(OpenTree(AT_FDCWD, "/proc", OPEN_TREE_CLONE));
    UniqueFd beneath(proc.valid() ? ::openat(proc.get(), kInProc, O_RDONLY | O_CLOEXEC) : -1);
    if (beneath.valid()) DVDI_RETURN_IF_ERROR(ReadId(beneath.get(), &kernels, &boot.id));
    if (!kernels)
      return Status(Code::kSystem,
                    std::string("something is mounted over ") + kPath +
                        ", and the kernel's own cannot be read: volumes in use would be taken for those of "
                        "an earlier boot",
                    std::string("unmount it (umount ") + kPath + "), or run this outside of the container")
          .WithPath(kPath);
  }
  if (boot.id.size() == 36 && boot.id.find_first_not_of("0123456789abcdef-") == std::string::npos)
    return boot;
  return Status(Code::kSystem, std::string(kPath) + " holds no boot id", "mount /proc anew").WithPath(kPath);
}

}  // namespace dvdi
