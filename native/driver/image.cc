#include "driver/image.h"

#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "base/text.h"
#include "driver/files.h"

namespace dvdi {
namespace {

// Where the child finds the new image: no text from outside is on its command line.
constexpr int kImageFd = 3;
constexpr char kImagePath[] = "/proc/self/fd/3";

struct FreeProbe {
  void operator()(blkid_probe p) const { blkid_free_probe(p); }
};

std::vector<const char*> MkfsArguments(Filesystem fs) {
  // -F and not -f: mke2fs wants to be told that a file is meant; mkfs.xfs keeps its own refusal to
  // overwrite. Nothing is zeroed or discarded that a new sparse file has as holes already.
  if (fs == Filesystem::kExt4)
    return {"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", kImagePath};
  return {"mkfs.xfs", "-q", "-K", kImagePath};
}

// Reads the child's output to its end, keeps the first 2000 bytes.
std::string Drain(int fd) {
  std::string out;
  char buffer[1024];
  for (;;) {
    ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return out;
    if (out.size() < 2000) out.append(buffer, static_cast<size_t>(n));
  }
}

Status RunMkfs(Filesystem fs, int image_fd, const std::string& volume) {
  DVDI_ASSIGN_OR_RETURN(std::string tool, FindMkfs(fs));
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) < 0) return Status::FromErrno(errno, "cannot make a pipe for " + tool);
  UniqueFd read_end(pipe_fds[0]), write_end(pipe_fds[1]);
  // Away from 0..3, so that the child's own numbers can be made one after another.
  UniqueFd image(::fcntl(image_fd, F_DUPFD_CLOEXEC, 10)),
      output(::fcntl(write_end.get(), F_DUPFD_CLOEXEC, 10));
  if (!image.valid() || !output.valid())
    return Status::FromErrno(errno, "cannot prepare descriptors for " + tool);
  write_end.reset();

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attr;
  int err = posix_spawn_file_actions_init(&actions);
  if (err != 0) return Status::FromErrno(err, "cannot prepare " + tool);
  if ((err = posix_spawnattr_init(&attr)) != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return Status::FromErrno(err, "cannot prepare " + tool);
  }
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  auto keep = [&err](int result) {
    if (err == 0) err = result;
  };
  keep(posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0));
  keep(posix_spawn_file_actions_adddup2(&actions, output.get(), 1));
  keep(posix_spawn_file_actions_adddup2(&actions, output.get(), 2));
  keep(posix_spawn_file_actions_adddup2(&actions, image.get(), kImageFd));
  // The driver blocks its stop signals in every thread; the child starts with a mask of its own.
  keep(posix_spawnattr_setsigmask(&attr, &none));
  keep(posix_spawnattr_setsigdefault(&attr, &defaults));
  keep(posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  std::vector<const char*> arguments = MkfsArguments(fs);
  arguments.push_back(nullptr);
  const char* environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", nullptr};
  pid_t pid = 0;
  if (err == 0)
    err = ::posix_spawn(&pid, tool.c_str(), &actions, &attr, const_cast<char* const*>(arguments.data()),
                        const_cast<char* const*>(environment));
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attr);
  if (err != 0) return Status::FromErrno(err, "cannot start " + tool, tool);
  output.reset();
  Step("mkfs-started");
  std::string text = Drain(read_end.get());
  int state = 0;
  while (::waitpid(pid, &state, 0) < 0)
    if (errno != EINTR) return Status::FromErrno(errno, "cannot wait for " + tool, tool);
  if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return OkStatus();
  std::string how = WIFEXITED(state) ? "exit status " + std::to_string(WEXITSTATUS(state))
                                     : "signal " + std::to_string(WTERMSIG(state));
  return Status(Code::kSystem,
                tool + " failed for volume " + volume + " (" + how + "): " + OneLine(text, 300));
}

}  // namespace

Result<std::string> ProbeSignature(int fd, const std::string& volume) {
  std::unique_ptr<std::remove_pointer_t<blkid_probe>, FreeProbe> probe(blkid_new_probe());
  Status failed(Code::kSystem, "libblkid cannot look at the image of volume " + volume);
  if (probe == nullptr) return failed;
  // 0 as the size is "up to the end of the file".
  if (blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) return failed;
  if (blkid_probe_enable_superblocks(probe.get(), 1) != 0 ||
      blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM) != 0 ||
      blkid_probe_enable_partitions(probe.get(), 1) != 0)
    return failed;
  int found = blkid_do_safeprobe(probe.get());
  if (found == -2) return std::string("several");
  if (found < 0) return failed;
  if (found == 1) return std::string();
  const char* value = nullptr;
  if (blkid_probe_lookup_value(probe.get(), "TYPE", &value, nullptr) == 0 ||
      blkid_probe_lookup_value(probe.get(), "PTTYPE", &value, nullptr) == 0)
    return std::string(value);
  return std::string("unknown");
}

Result<std::string> FindMkfs(Filesystem fs) {
  std::string name = std::string("mkfs.") + FilesystemName(fs);
  for (const char* folder : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"}) {
    std::string path = folder + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return Status(Code::kUnsupported, name + " is not installed",
                fs == Filesystem::kXfs ? "apt-get install xfsprogs" : "apt-get install e2fsprogs");
}

Status FormatImage(const Pool& pool, int volume_fd, const VolumeMeta& meta, const std::string& node) {
  DVDI_ASSIGN_OR_RETURN(UniqueFd old, pool.OpenImage(volume_fd, meta.name));
  DVDI_ASSIGN_OR_RETURN(std::string signature, ProbeSignature(old.get(), meta.name));
  if (!signature.empty())
    return Status(Code::kRefused,
                  "the image of volume " + meta.name + " holds " + signature + "; it is never formatted",
                  "if its content is not needed, remove the volume and create it again")
        .WithPath(pool.VolumePath(meta.name) + "/image");
  std::string temp = TempName(node);
  UniqueFd fresh(::openat(volume_fd, temp.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fresh.valid()) return Status::FromErrno(errno, "cannot make a new image for volume " + meta.name);
  Status done;
  if (::ftruncate(fresh.get(), meta.size_bytes) < 0)
    done = Status::FromErrno(
        errno, "cannot make an image of " + FormatSize(meta.size_bytes) + " for volume " + meta.name);
  if (done.ok()) done = RunMkfs(meta.filesystem, fresh.get(), meta.name);
  if (done.ok()) {
    Step("mkfs-done");
    auto made = ProbeSignature(fresh.get(), meta.name);
    done = made.status();
    if (done.ok() && *made != FilesystemName(meta.filesystem))
      done = Status(Code::kSystem, "mkfs made '" + *made + "' instead of " + FilesystemName(meta.filesystem) +
                                       " for volume " + meta.name);
  }
  if (done.ok() && ::fsync(fresh.get()) < 0)
    done = Status::FromErrno(errno, "cannot fsync the new image of volume " + meta.name);
  if (done.ok() && ::renameat(volume_fd, temp.c_str(), volume_fd, "image") < 0)
    done = Status::FromErrno(errno, "cannot put the new image of volume " + meta.name + " in place");
  if (!done.ok()) {
    ::unlinkat(volume_fd, temp.c_str(), 0);
    return done;
  }
  Step("image-formatted");
  return FsyncFolder(volume_fd, "volume " + meta.name);
}

}  // namespace dvdi
