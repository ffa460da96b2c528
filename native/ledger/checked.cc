#include "ledger/checked.h"

#include <fcntl.h>

#include "sys/sys.h"

namespace dvdi {
namespace {

// Longer than the kernel's clock for files takes from one value to the next.
constexpr int64_t kCoarseMs = 50;

}  // namespace

std::string CheckedMark::Line(const struct stat& file) const {
  auto boot = env_.sys->BootId();
  if (!boot.ok()) return "";
  std::string line = boot->id;
  for (const int64_t n :
       {static_cast<int64_t>(file.st_dev), static_cast<int64_t>(file.st_ino),
        static_cast<int64_t>(file.st_size), static_cast<int64_t>(file.st_mtim.tv_sec),
        static_cast<int64_t>(file.st_mtim.tv_nsec), static_cast<int64_t>(file.st_ctim.tv_sec),
        static_cast<int64_t>(file.st_ctim.tv_nsec)})
    line += ' ' + std::to_string(n);
  return line + '\n';
}

bool CheckedMark::Holds(const struct stat& file) const {
  int fd = env_.sys->OpenAt(AT_FDCWD, mark_.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return false;
  char text[512];
  const ssize_t n = env_.sys->Read(fd, text, sizeof text);
  env_.sys->Close(fd);
  return n > 0 && std::string(text, static_cast<size_t>(n)) == Line(file);
}

void CheckedMark::Set(const struct stat& file) const {
  const int64_t changed_ms = int64_t{file.st_ctim.tv_sec} * 1000 + file.st_ctim.tv_nsec / 1'000'000;
  if (env_.clock->WallMs() - changed_ms < kCoarseMs) return;
  const std::string line = Line(file);
  int fd = env_.sys->OpenAt(AT_FDCWD, mark_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  (void)env_.sys->Write(fd, line.data(), line.size());
  env_.sys->Close(fd);
}

}  // namespace dvdi
