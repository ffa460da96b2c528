#include "sim/vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <vector>

#include "ledger/db.h"

namespace dvdi::sim {

struct SimStore::File {
  sqlite3_file base;
  SimStore* store;
  SimDisk::Node node;
  const char* name;            // of the file, kept by SQLite as long as it is open; null: it has none
  int level;                   // of the lock on the file: SQLITE_LOCK_…
  SimDisk::Node shm;           // the file NAME-shm, once it has the shared memory
  unsigned shared, exclusive;  // slots of the shared memory that it has locked, as bits
};

struct SimStore::Methods {
  static SimStore* StoreOf(sqlite3_vfs* vfs) { return static_cast<SimStore*>(vfs->pAppData); }
  static File* Of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }

  static int Error(int err) { return err == ENOSPC ? SQLITE_FULL : SQLITE_IOERR; }
  static int Change(File* f, const char* what) {
    if (*f->store->dead_) return SQLITE_IOERR;
    int err = f->store->change_(what);
    return err == 0 ? SQLITE_OK : Error(err);
  }

  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
    static const sqlite3_io_methods kMethods = {
        2,       Close,  Read,   Write,  Truncate, Sync,     Size,     LockFile, Unlock, Reserved,
        Control, Sector, Device, ShmMap, ShmLock,  ShmFence, ShmUnmap, nullptr,  nullptr};
    SimStore* store = StoreOf(vfs);
    file->pMethods = nullptr;
    if (*store->dead_) return SQLITE_IOERR;
    SimDisk::Node node;
    if (name == nullptr) {
      node = std::make_shared<SimDisk::Inode>();
    } else {
      int r = store->disk_->Find(name, &node);
      if (r == -ENOENT && (flags & SQLITE_OPEN_CREATE) != 0) {
        if (int err = store->change_("open"); err != 0) return SQLITE_CANTOPEN;
        r = store->disk_->Make(name, S_IFREG | 0600, &node);
      }
      if (r < 0 || node->folder()) return SQLITE_CANTOPEN;
    }
    auto* f = new (file) File{};
    f->base.pMethods = &kMethods;
    f->store = store, f->node = std::move(node), f->name = name;
    store->files_.insert(f);
    if (out != nullptr) *out = flags;
    return SQLITE_OK;
  }
  static int Close(sqlite3_file* file) {
    File* f = Of(file);
    if (f->store->files_.erase(f) != 0) f->store->LetGo(f);
    f->~File();
    file->pMethods = nullptr;
    return SQLITE_OK;
  }
  static int Read(sqlite3_file* file, void* to, int n, sqlite3_int64 at) {
    File* f = Of(file);
    if (*f->store->dead_) return SQLITE_IOERR;
    const std::string& data = f->node->data;
    auto want = static_cast<size_t>(n), from = static_cast<size_t>(at);
    size_t got = from >= data.size() ? 0 : std::min(want, data.size() - from);
    if (got > 0) std::memcpy(to, data.data() + from, got);
    if (got == want) return SQLITE_OK;
    std::memset(static_cast<char*>(to) + got, 0, want - got);
    return SQLITE_IOERR_SHORT_READ;
  }
  static int Write(sqlite3_file* file, const void* from, int n, sqlite3_int64 at) {
    File* f = Of(file);
    std::string_view bytes(static_cast<const char*>(from), static_cast<size_t>(n));
    if (int rc = Change(f, "sqlite write"); rc != SQLITE_OK) {
      if (!*f->store->dead_) f->store->disk_->Tear(*f->node, static_cast<uint64_t>(at), bytes);
      return rc;
    }
    int r = f->store->disk_->Write(*f->node, static_cast<uint64_t>(at), bytes);
    return r < 0 ? Error(-r) : SQLITE_OK;
  }
  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    File* f = Of(file);
    if (int rc = Change(f, "sqlite truncate"); rc != SQLITE_OK) return rc;
    f->store->disk_->Truncate(*f->node, static_cast<uint64_t>(size));
    return SQLITE_OK;
  }
  static int Sync(sqlite3_file* file, int) {
    File* f = Of(file);
    if (int rc = Change(f, "sqlite sync"); rc != SQLITE_OK) return rc;
    f->store->disk_->Sync(*f->node);
    return SQLITE_OK;
  }
  static int Size(sqlite3_file* file, sqlite3_int64* size) {
    *size = static_cast<sqlite3_int64>(Of(file)->node->data.size());
    return SQLITE_OK;
  }

  // The five states of SQLite's lock on a file.
  static int LockFile(sqlite3_file* file, int level) {
    File* f = Of(file);
    if (*f->store->dead_) return SQLITE_IOERR;
    SimDisk::Shared& s = f->node->shared;
    if (f->level >= level) return SQLITE_OK;
    auto other = [f](const void* holder) { return holder != nullptr && holder != f; };
    if (other(s.exclusive)) return SQLITE_BUSY;
    if (f->level == SQLITE_LOCK_NONE) {
      if (other(s.pending)) return SQLITE_BUSY;
      ++s.readers, f->level = SQLITE_LOCK_SHARED;
    }
    if (level >= SQLITE_LOCK_RESERVED && f->level < SQLITE_LOCK_RESERVED) {
      if (other(s.reserved)) return SQLITE_BUSY;
      s.reserved = f, f->level = SQLITE_LOCK_RESERVED;
    }
    if (level >= SQLITE_LOCK_PENDING) {
      if (other(s.pending)) return SQLITE_BUSY;
      s.pending = f;
      if (s.readers > 1) return SQLITE_BUSY;
      s.exclusive = f, f->level = SQLITE_LOCK_EXCLUSIVE;
    }
    return SQLITE_OK;
  }
  static void LetLock(File* f, int level) {
    SimDisk::Shared& s = f->node->shared;
    if (f->level <= level) return;
    for (const void** holder : {&s.reserved, &s.pending, &s.exclusive})
      if (*holder == f) *holder = nullptr;
    if (level == SQLITE_LOCK_NONE && f->level >= SQLITE_LOCK_SHARED) --s.readers;
    f->level = level;
  }
  static int Unlock(sqlite3_file* file, int level) {
    if (!*Of(file)->store->dead_) LetLock(Of(file), level);
    return SQLITE_OK;
  }
  static int Reserved(sqlite3_file* file, int* out) {
    *out = Of(file)->node->shared.reserved != nullptr ? 1 : 0;
    return SQLITE_OK;
  }
  // As SQLite's own VFS for Unix: who closes a file that has another name, or none, leaves alone what
  // is beside that name now.
  static int Control(sqlite3_file* file, int what, void* out) {
    File* f = Of(file);
    if (what != SQLITE_FCNTL_HAS_MOVED) return SQLITE_NOTFOUND;
    SimDisk::Node now;
    *static_cast<int*>(out) =
        f->name != nullptr && (f->store->disk_->Find(f->name, &now) != 0 || now != f->node) ? 1 : 0;
    return SQLITE_OK;
  }
  static int Sector(sqlite3_file*) { return 512; }
  static int Device(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  static int ShmMap(sqlite3_file* file, int region, int bytes, int extend, void volatile** out) {
    File* f = Of(file);
    *out = nullptr;
    if (*f->store->dead_) return SQLITE_IOERR;
    if (f->shm == nullptr) {
      const std::string name = std::string(f->name) + "-shm";
      int r = f->store->disk_->Find(name, &f->shm);
      if (r == -ENOENT) r = f->store->disk_->Make(name, S_IFREG | 0600, &f->shm);
      if (r != 0) return r == -ENOSPC ? SQLITE_FULL : SQLITE_CANTOPEN;
      if (f->shm->shared.users == 0) f->shm->shared.regions.clear();  // of processes that are gone
      ++f->shm->shared.users;
    }
    SimDisk::Shared& s = f->shm->shared;
    while (s.regions.size() <= static_cast<size_t>(region)) {
      if (extend == 0) return SQLITE_OK;
      s.regions.push_back(std::make_unique<char[]>(static_cast<size_t>(bytes)));
      s.region_bytes = static_cast<size_t>(bytes);
    }
    *out = s.regions[static_cast<size_t>(region)].get();
    return SQLITE_OK;
  }
  static int ShmLock(sqlite3_file* file, int offset, int n, int flags) {
    File* f = Of(file);
    if (*f->store->dead_) return SQLITE_IOERR;
    SimDisk::Shared& s = f->shm->shared;
    unsigned mask = ((1U << n) - 1) << offset;
    if ((flags & SQLITE_SHM_UNLOCK) != 0) {
      LetSlots(f, mask);
      return SQLITE_OK;
    }
    for (int i = offset; i < offset + n; ++i) {
      bool mine = (f->shared >> i & 1U) != 0;
      if (s.slot_owner[i] != nullptr && s.slot_owner[i] != f) return SQLITE_BUSY;
      if ((flags & SQLITE_SHM_EXCLUSIVE) != 0 && s.slot_readers[i] > (mine ? 1 : 0)) return SQLITE_BUSY;
    }
    for (int i = offset; i < offset + n; ++i) {
      if ((flags & SQLITE_SHM_EXCLUSIVE) != 0) {
        s.slot_owner[i] = f, f->exclusive |= 1U << i;
      } else if ((f->shared >> i & 1U) == 0) {
        ++s.slot_readers[i], f->shared |= 1U << i;
      }
    }
    return SQLITE_OK;
  }
  static void LetSlots(File* f, unsigned mask) {
    SimDisk::Shared& s = f->shm->shared;
    for (int i = 0; i < 8; ++i) {
      if ((mask >> i & 1U) == 0) continue;
      if ((f->shared >> i & 1U) != 0) --s.slot_readers[i];
      if (s.slot_owner[i] == f) s.slot_owner[i] = nullptr;
    }
    f->shared &= ~mask, f->exclusive &= ~mask;
  }
  static void ShmFence(sqlite3_file*) {}
  static int ShmUnmap(sqlite3_file* file, int remove) {
    File* f = Of(file);
    if (*f->store->dead_ || f->shm == nullptr) return SQLITE_OK;
    const SimDisk::Node shm = f->shm;
    LetShm(f);
    if (remove != 0 && shm->shared.users == 0)
      (void)f->store->disk_->Unlink(std::string(f->name) + "-shm", false);
    return SQLITE_OK;
  }
  static void LetShm(File* f) {
    if (f->shm == nullptr) return;
    LetSlots(f, 0xFF);
    --f->shm->shared.users;
    f->shm = nullptr;
  }

  static int Delete(sqlite3_vfs* vfs, const char* name, int) {
    SimStore* store = StoreOf(vfs);
    if (*store->dead_ || store->change_("sqlite unlink") != 0) return SQLITE_IOERR_DELETE;
    int r = store->disk_->Unlink(name, false);
    return r == -ENOENT ? SQLITE_IOERR_DELETE_NOENT : r < 0 ? SQLITE_IOERR_DELETE : SQLITE_OK;
  }
  static int Access(sqlite3_vfs* vfs, const char* name, int, int* out) {
    SimDisk::Node node;
    *out = StoreOf(vfs)->disk_->Find(name, &node) == 0 ? 1 : 0;
    return SQLITE_OK;
  }
  static int FullPath(sqlite3_vfs*, const char* name, int n, char* out) {
    sqlite3_snprintf(n, out, "%s", name);
    return SQLITE_OK;
  }
  static int Randomness(sqlite3_vfs*, int n, char* out) {
    std::memset(out, 7, static_cast<size_t>(n));
    return n;
  }
  static int Sleep(sqlite3_vfs*, int us) { return us; }
  static int Time(sqlite3_vfs* vfs, double* out) {
    *out = static_cast<double>(StoreOf(vfs)->clock_->WallMs()) / 86'400'000.0 + 2440587.5;
    return SQLITE_OK;
  }
};

SimStore::SimStore(SimDisk* disk, Clock* clock, std::string name, std::function<int(const char*)> change,
                   const bool* dead)
    : disk_(disk),
      clock_(clock),
      name_(std::move(name)),
      change_(std::move(change)),
      dead_(dead),
      vfs_(std::make_unique<sqlite3_vfs>()) {
  *vfs_ = {};
  vfs_->iVersion = 1, vfs_->szOsFile = sizeof(File), vfs_->mxPathname = 512;
  vfs_->zName = name_.c_str(), vfs_->pAppData = this;
  vfs_->xOpen = Methods::Open, vfs_->xDelete = Methods::Delete, vfs_->xAccess = Methods::Access;
  vfs_->xFullPathname = Methods::FullPath, vfs_->xRandomness = Methods::Randomness;
  vfs_->xSleep = Methods::Sleep, vfs_->xCurrentTime = Methods::Time;
  ConfigureSqlite();
  sqlite3_vfs_register(vfs_.get(), 0);
}

SimStore::~SimStore() { sqlite3_vfs_unregister(vfs_.get()); }

void SimStore::LetGo(File* f) {
  Methods::LetLock(f, SQLITE_LOCK_NONE);
  Methods::LetShm(f);
}

void SimStore::Killed() {
  kept_.clear();
  for (File* f : files_) {
    if (f->shm != nullptr) {
      Kept kept{f->shm, {}};
      for (const auto& region : f->shm->shared.regions)
        kept.regions.emplace_back(region.get(), f->shm->shared.region_bytes);
      kept_.push_back(std::move(kept));
    }
    LetGo(f);
  }
  files_.clear();
}

void SimStore::Buried() {
  for (const Kept& k : kept_)
    for (size_t i = 0; i < k.regions.size() && i < k.node->shared.regions.size(); ++i)
      std::memcpy(k.node->shared.regions[i].get(), k.regions[i].data(), k.regions[i].size());
  kept_.clear();
}

}  // namespace dvdi::sim
