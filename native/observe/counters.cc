#include "observe/counters.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>

#include "sys/files.h"
#include "sys/sys.h"
#include "sys/sys_fd.h"

namespace dvdi {
namespace {

constexpr char kMagic[8] = {'D', 'V', 'D', 'I', 'C', 'T', '0', '1'};
constexpr uint32_t kSlots = 1024;
constexpr uint32_t kNameBytes = 176;
enum : uint32_t { kFree, kNaming, kNamed };

uint32_t HashOf(std::string_view text) {
  uint32_t h = 2166136261u;  // FNV-1a
  for (unsigned char c : text) h = (h ^ c) * 16777619u;
  return h;
}

// What makers of the file have left that died: theirs are links to it, or never were whole.
void Sweep(const Env& env, const std::string& folder) {
  SysFd opened(env.sys, env.sys->OpenAt(AT_FDCWD, folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.valid()) SweepTemporaries(env.sys, opened.get());
}

}  // namespace

// The file is this, in the machine's own byte order: it never leaves the node.
struct Counters::Slot {
  std::atomic<uint64_t> value;
  std::atomic<uint32_t> state;
  uint32_t length;
  char name[kNameBytes];
};
struct Counters::File {
  char magic[8];
  uint32_t slots, slot_bytes;
  std::atomic<uint64_t> lost;
  uint64_t reserved[5];
  Slot slot[kSlots];
};

std::unique_ptr<Counters> Counters::Open(const Env& env, const std::string& path) {
  std::unique_ptr<Counters> counters(new Counters());
  counters->status_ = counters->Map(env, path);
  if (counters->file_ == nullptr) {
    counters->own_.reset(new (std::nothrow) File());
    counters->file_ = counters->own_.get();
  }
  return counters;
}

Counters::~Counters() {
  if (own_ == nullptr && file_ != nullptr) ::munmap(file_, sizeof(File));
}

Status Counters::Map(const Env& env, const std::string& path) {
  static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<uint32_t>::is_always_lock_free);
  auto failed = [&](int err, const char* what) {
    return Status::FromErrno(err, std::string(what) + " " + path, path);
  };
  const size_t slash = path.rfind('/');
  const std::string folder = path.substr(0, slash), name = path.substr(slash + 1);
  // A second try after one that was made anew by somebody else at the same time.
  for (int attempt = 0; attempt < 3; ++attempt) {
    SysFd fd(env.sys, env.sys->OpenAt(AT_FDCWD, path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK));
    if (!fd.valid() && fd.error() != ENOENT) return failed(fd.error(), "cannot open");
    if (fd.valid()) {
      struct stat st = {};
      int r = env.sys->Fstat(fd.get(), &st);
      if (r < 0) return failed(-r, "cannot look at");
      struct {
        char magic[8];
        uint32_t slots, slot_bytes;
      } head = {};
      bool ours = S_ISREG(st.st_mode) && st.st_uid == ::geteuid() && (st.st_mode & 077) == 0 &&
                  st.st_size == sizeof(File) &&
                  env.sys->Read(fd.get(), &head, sizeof head) == static_cast<ssize_t>(sizeof head) &&
                  std::memcmp(head.magic, kMagic, sizeof kMagic) == 0 && head.slots == kSlots &&
                  head.slot_bytes == sizeof(Slot);
      int64_t type = 0;
      if (ours) {
        r = env.sys->FsType(fd.get(), &type);
        if (r < 0) return failed(-r, "cannot look at the filesystem of");
        if (!MappedWritesInPlace(type))
          return Status(Code::kUnsupported, "counters cannot be kept in " + path + " on this filesystem",
                        "set runtime_dir to a folder on tmpfs, ext4 or xfs")
              .WithPath(path);
        void* at = ::mmap(nullptr, sizeof(File), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
        if (at == MAP_FAILED) return failed(errno, "cannot map");
        file_ = static_cast<File*>(at);
        if (st.st_nlink > 1) Sweep(env, folder);
        return Status();
      }
      r = env.sys->UnlinkAt(AT_FDCWD, path.c_str(), 0);
      if (r < 0 && r != -ENOENT) return failed(-r, "cannot remove what is no file of counters:");
    }
    // Written whole under another name first: who maps it finds all its blocks allocated.
    Sweep(env, folder);
    const std::string fresh = folder + "/" + TemporaryName(env, name);
    SysFd made(env.sys, env.sys->OpenAt(AT_FDCWD, fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600));
    if (!made.valid()) return failed(made.error(), "cannot make");
    // Says that somebody is at it. Where locks cannot be had, whoever sweeps may take it away, and this
    // fails.
    (void)env.sys->TryLock(made.get());
    std::string bytes(sizeof(File), '\0');
    auto* file = reinterpret_cast<File*>(bytes.data());
    std::memcpy(file->magic, kMagic, sizeof kMagic);
    file->slots = kSlots, file->slot_bytes = sizeof(Slot);
    ssize_t n = env.sys->Write(made.get(), bytes.data(), bytes.size());
    int linked = n == static_cast<ssize_t>(bytes.size())
                     ? env.sys->LinkAt(AT_FDCWD, fresh.c_str(), AT_FDCWD, path.c_str(), 0)
                     : -ENOSPC;
    int removed = env.sys->UnlinkAt(AT_FDCWD, fresh.c_str(), 0);
    // -ENOENT: somebody swept before it was locked.
    if (linked < 0 && linked != -EEXIST && linked != -ENOENT) return failed(-linked, "cannot make");
    if (removed < 0 && removed != -ENOENT)
      return failed(-removed, "cannot remove the name that was used to make");
  }
  return Status(Code::kSystem, "cannot make " + path + ": it is replaced again and again").WithPath(path);
}

void Counters::Add(std::string_view series, uint64_t n) {
  if (file_ == nullptr) return;
  if (series.size() <= kNameBytes) {
    uint32_t at = HashOf(series);
    for (uint32_t probe = 0; probe < kSlots; ++probe) {
      Slot& s = file_->slot[(at + probe) % kSlots];
      uint32_t state = s.state.load(std::memory_order_acquire);
      if (state == kFree && s.state.compare_exchange_strong(state, kNaming, std::memory_order_acquire)) {
        s.length = static_cast<uint32_t>(series.size());
        std::memcpy(s.name, series.data(), series.size());
        s.state.store(kNamed, std::memory_order_release);
        s.value.fetch_add(n, std::memory_order_relaxed);
        return;
      }
      // A slot that another is naming may become this series: then there are two, which Read adds up. One
      // that a killed process left so is never used.
      if (state == kNamed && s.length == series.size() &&
          std::memcmp(s.name, series.data(), series.size()) == 0) {
        s.value.fetch_add(n, std::memory_order_relaxed);
        return;
      }
    }
  }
  file_->lost.fetch_add(1, std::memory_order_relaxed);
}

std::map<std::string, uint64_t> Counters::Read() const {
  std::map<std::string, uint64_t> out;
  if (file_ == nullptr) return out;
  for (const Slot& s : file_->slot) {
    if (s.state.load(std::memory_order_acquire) != kNamed || s.length > kNameBytes) continue;
    out[std::string(s.name, s.length)] += s.value.load(std::memory_order_relaxed);
  }
  return out;
}

uint64_t Counters::lost() const { return file_ == nullptr ? 0 : file_->lost.load(std::memory_order_relaxed); }

}  // namespace dvdi
