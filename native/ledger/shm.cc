#include "ledger/shm.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <exception>
#include <type_traits>

namespace dvdi {
namespace {

constexpr int kPage = 4096;  // the smallest there is

// The first slot with a mark of a reader (sqlite3 wal.c, WAL_READ_LOCK(1)): one whose mark cannot be moved
// takes an older one, as where all slots are in use.
constexpr int kFirstMark = 4;

// Whether the page can be written to. The kernel writes to it what is there, atomically, and says EFAULT
// where a store of ours would be a SIGBUS (futex(2), FUTEX_WAKE_OP; nobody waits there). madvise(2) can ask
// the same since Linux 5.14.
bool Writable(char* page) {
  uint32_t nobody = 0;
  const long r = ::syscall(SYS_futex, &nobody, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, nullptr, page,
                           FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_NE, 0));
  return r >= 0 || errno != EFAULT;
}

}  // namespace

ShmRoom* ShmRoom::Of(sqlite3_file* file) {
  static_assert(std::is_standard_layout_v<ShmRoom>);
  return reinterpret_cast<ShmRoom*>(const_cast<sqlite3_io_methods*>(file->pMethods));
}

bool ShmRoom::HasRoom() const {
  for (const Region& region : regions_)
    for (int at = 0; at < region.size; at += kPage)
      if (!Writable(region.start + at)) return false;
  return true;
}

int ShmRoom::Map(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  ShmRoom* self = Of(file);
  const int rc = self->real_->xShmMap(file, page, size, extend, out);
  if (rc != SQLITE_OK || *out == nullptr) return rc;
  try {
    self->regions_.push_back({static_cast<char*>(const_cast<void*>(*out)), size});
  } catch (const std::exception&) {
    return SQLITE_NOMEM;
  }
  return extend == 0 || self->HasRoom() ? SQLITE_OK : SQLITE_FULL;
}

int ShmRoom::Lock(sqlite3_file* file, int at, int n, int flags) {
  ShmRoom* self = Of(file);
  constexpr int kStores = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE;
  if ((flags & kStores) == kStores && !self->HasRoom()) return at >= kFirstMark ? SQLITE_BUSY : SQLITE_FULL;
  return self->real_->xShmLock(file, at, n, flags);
}

int ShmRoom::Unmap(sqlite3_file* file, int gone) {
  ShmRoom* self = Of(file);
  self->regions_.clear();
  return self->real_->xShmUnmap(file, gone);
}

void ShmRoom::Enter(sqlite3* db) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK) return;
  if (file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2) return;
  regions_.clear();
  real_ = file->pMethods, methods_ = *real_;
  methods_.xShmMap = &Map, methods_.xShmLock = &Lock, methods_.xShmUnmap = &Unmap;
  file->pMethods = &methods_;
}

}  // namespace dvdi
