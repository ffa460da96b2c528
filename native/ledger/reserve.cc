#include "ledger/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "sys/files.h"
#include "sys/sys.h"

namespace dvdi {

bool Reserve::Whole() const {
  struct stat st = {};
  return env_.sys->FstatAt(AT_FDCWD, path_.c_str(), &st, AT_SYMLINK_NOFOLLOW) >= 0 && S_ISREG(st.st_mode) &&
         st.st_size >= kBytes;
}

Status Reserve::Fill(int fd, const std::string& path) {
  int r = 0;
  do {
    r = env_.sys->Allocate(fd, kBytes);
  } while (r == -EINTR);
  if (r >= 0) return Status();
  if (r != -EOPNOTSUPP && r != -ENOSYS) return Status::FromErrno(-r, "cannot make room in " + path, path);
  const std::string zeros(64 << 10, '\0');
  for (int64_t done = 0; done < kBytes; done += static_cast<int64_t>(zeros.size()))
    DVDI_RETURN_IF_ERROR(WriteAll(env_.sys, fd, zeros, path));
  return Status();
}

Status Reserve::Keep() {
  if (Whole()) return Status();
  // One name for all who try at once: all write the same, and one that died leaves no more than that.
  const std::string part = path_ + ".new";
  Status s;
  uint64_t free = 0;
  if (env_.sys->FsFree(path_.substr(0, path_.rfind('/')).c_str(), &free) >= 0 && free < kRoomToMake)
    s = Status::FromErrno(ENOSPC, std::to_string(free >> 10) + " KiB are free of " +
                                      std::to_string(kRoomToMake >> 10) + " KiB that must be");
  if (s.ok()) {
    SysFd file(env_.sys,
               env_.sys->OpenAt(AT_FDCWD, part.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (!file.valid()) s = Status::FromErrno(file.error(), "cannot make " + part, part);
    if (s.ok()) s = Fill(file.get(), part);
  }
  if (s.ok()) {
    int r = env_.sys->RenameAt(AT_FDCWD, part.c_str(), AT_FDCWD, path_.c_str());
    if (Whole()) return Status();
    s = r < 0 ? Status::FromErrno(-r, "cannot rename " + part, part)
              : Status(Code::kSystem, "somebody has spent it at once");
  }
  // A part of it is no use, and takes what little room there is.
  env_.sys->UnlinkAt(AT_FDCWD, part.c_str(), 0);
  Status why(
      Code::kSystem,
      "the state folder has no room for the reserve that cleanups may need on a full disk: " + s.message(),
      "make room on the filesystem of the state folder");
  return std::move(why).WithPath(path_);
}

bool Reserve::Spend() {
  auto spend = [&](const std::string& path) {
    // Emptied first, which frees its room before this returns: a removed file's goes with the last who looks
    // at it.
    const int fd = env_.sys->OpenAt(AT_FDCWD, path.c_str(), O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) env_.sys->Close(fd);
    return env_.sys->UnlinkAt(AT_FDCWD, path.c_str(), 0) >= 0;
  };
  const bool whole = spend(path_), part = spend(path_ + ".new");
  return whole || part;
}

}  // namespace dvdi
