// RenewImage: after a fence, the volume goes on with another file than the one that the fenced node has open.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "driver/files.h"
#include "driver/image.h"

namespace dvdi {
namespace {

constexpr size_t kBlock = 1 << 20, kHole = 64 * 1024;
constexpr int kAttempts = 5;
// The image is given this time of last change before it is copied: any write that arrives later shows,
// however coarse the server's times are.
constexpr time_t kMark = 1;

class Copier {
 public:
  Copier(int folder, std::string volume, const std::string& node,
         const std::function<void(int64_t)>& progress, const std::function<bool()>& give_up,
         const std::function<Status(int)>& finish)
      : folder_(folder),
        volume_(std::move(volume)),
        temp_(TempName(node)),
        look_(TempName(node)),
        progress_(progress),
        give_up_(give_up),
        finish_(finish) {}

  // One copy, put in place where nobody wrote meanwhile: whether it was.
  Result<bool> Try() {
    auto done = CopyAndLook();
    (void)RemoveFile(folder_, look_);
    if (!done.ok() || !*done) {
      (void)RemoveFile(folder_, temp_);
      return done;
    }
    // Shared extents are there at once, and what the pool answered may have come late.
    if (Status ended = AskGiveUp(); !ended.ok()) {
      (void)RemoveFile(folder_, temp_);
      return ended;
    }
    if (::renameat(folder_, temp_.c_str(), folder_, "image") < 0) {
      Status s = Fail("cannot put the copy of the image in place");
      (void)RemoveFile(folder_, temp_);
      return s;
    }
    Step("image-renewed");
    DVDI_RETURN_IF_ERROR(FsyncFolder(folder_, "volume " + volume_));
    return true;
  }

 private:
  Status Fail(const char* what) const { return Status::FromErrno(errno, what + (" of volume " + volume_)); }

  Status AskGiveUp() const {
    if (!give_up_ || !give_up_()) return OkStatus();
    return Status(Code::kUnavailable,
                  "the copy of the image of volume " + volume_ + " was given up: the lease ended",
                  "try again");
  }

  Result<bool> CopyAndLook() {
    // Through a name that was never used: neither names nor content come from a cache of this node.
    if (::linkat(folder_, "image", folder_, look_.c_str(), 0) < 0) return Fail("cannot look at the image");
    UniqueFd from(::openat(folder_, look_.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!from.valid()) return Fail("cannot open the image");
    // What was opened late may be another node's: it is not even marked.
    DVDI_RETURN_IF_ERROR(AskGiveUp());
    const struct timespec times[2] = {{0, UTIME_OMIT}, {kMark, 0}};
    if (::futimens(from.get(), times) < 0) return Fail("cannot mark the image");
    UniqueFd to(::openat(folder_, temp_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!to.valid()) return Fail("cannot make a copy of the image");
    if (::ioctl(to.get(), FICLONE, from.get()) < 0) DVDI_RETURN_IF_ERROR(CopyData(from.get(), to.get()));
    if (finish_) DVDI_RETURN_IF_ERROR(finish_(to.get()));
    if (::fsync(to.get()) < 0) return Fail("cannot fsync the copy of the image");
    Step("image-copied");
    // Again by a new name, so that the server is asked.
    std::string again = look_ + "2";
    if (::linkat(folder_, "image", folder_, again.c_str(), 0) < 0) return Fail("cannot look at the image");
    struct stat st;
    int err = ::fstatat(folder_, again.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
    DVDI_RETURN_IF_ERROR(RemoveFile(folder_, again));
    if (err != 0) return Status::FromErrno(err, "cannot stat the image of volume " + volume_);
    return st.st_mtim.tv_sec == kMark;
  }

  Status CopyData(int from, int to) {
    struct stat st;
    if (::fstat(from, &st) < 0) return Fail("cannot stat the image");
    if (::ftruncate(to, st.st_size) < 0) return Fail("cannot size the copy of the image");
    std::vector<char> block(kBlock);
    for (off_t at = 0; at < st.st_size;) {
      off_t data = ::lseek(from, at, SEEK_DATA);
      if (data < 0 && errno == ENXIO) break;  // only a hole is left
      if (data > at) at = data;
      DVDI_RETURN_IF_ERROR(AskGiveUp());
      ssize_t n = ::pread(from, block.data(), block.size(), at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Fail("cannot read the image");
      if (n == 0) break;
      DVDI_RETURN_IF_ERROR(Put(to, block.data(), static_cast<size_t>(n), at));
      at += n;
      if (progress_) progress_(at);
    }
    return OkStatus();
  }

  // Writes what is not zero: not every filesystem tells where its holes are.
  Status Put(int to, const char* bytes, size_t n, off_t at) {
    for (size_t done = 0; done < n;) {
      size_t part = std::min(kHole, n - done);
      const char* from = bytes + done;
      bool zero = std::all_of(from, from + part, [](char c) { return c == 0; });
      for (size_t put = 0; !zero && put < part;) {
        ssize_t w = ::pwrite(to, from + put, part - put, at + static_cast<off_t>(done + put));
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return Fail("cannot write the copy of the image");
        put += static_cast<size_t>(w);
      }
      done += part;
    }
    return OkStatus();
  }

  const int folder_;
  const std::string volume_, temp_, look_;
  const std::function<void(int64_t)>& progress_;
  const std::function<bool()>& give_up_;
  const std::function<Status(int)>& finish_;
};

}  // namespace

Status RenewImage(const Pool& pool, int volume_fd, const std::string& volume, const std::string& node,
                  const std::function<void(int64_t)>& progress, const std::function<bool()>& give_up,
                  const std::function<Status(int)>& finish) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    DVDI_ASSIGN_OR_RETURN(bool done, Copier(volume_fd, volume, node, progress, give_up, finish).Try());
    if (done) return OkStatus();
  }
  return Status(Code::kRefused,
                "the image of volume " + volume + " is still written to by the node that had it",
                "end its use there, or cut that node off from the pool; then try again")
      .WithPath(pool.VolumePath(volume) + "/image");
}

}  // namespace dvdi
