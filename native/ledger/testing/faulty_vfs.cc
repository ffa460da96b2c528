#include "ledger/testing/faulty_vfs.h"

#include <new>

#include "ledger/db.h"

namespace dvdi {
namespace {

// SQLite's file: the real one lies behind it in the same memory.
struct File {
  sqlite3_file base;
  FaultyVfs* vfs;
  sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

File* Of(sqlite3_file* file) { return reinterpret_cast<File*>(file); }
const sqlite3_io_methods* Real(sqlite3_file* file) { return Of(file)->real()->pMethods; }
sqlite3_vfs* Default() { return sqlite3_vfs_find(nullptr); }

// SQLITE_OK, or what is to go wrong.
int Pass(sqlite3_file* file, FaultyVfs::Call call) { return Of(file)->vfs->Pass(call); }

const sqlite3_io_methods kMethods = {
    .iVersion = 3,
    .xClose = [](sqlite3_file* f) { return Real(f)->xClose(Of(f)->real()); },
    .xRead =
        [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
          int rc = Pass(f, FaultyVfs::kRead);
          return rc != SQLITE_OK ? rc : Real(f)->xRead(Of(f)->real(), to, n, at);
        },
    .xWrite =
        [](sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
          int rc = Pass(f, FaultyVfs::kWrite);
          if (rc == SQLITE_OK) return Real(f)->xWrite(Of(f)->real(), from, n, at);
          // As on a disk that fills up: some of it is there.
          if (!Of(f)->vfs->lost()) (void)Real(f)->xWrite(Of(f)->real(), from, n / 2, at);
          return rc;
        },
    .xTruncate =
        [](sqlite3_file* f, sqlite3_int64 size) {
          int rc = Pass(f, FaultyVfs::kTruncate);
          return rc != SQLITE_OK ? rc : Real(f)->xTruncate(Of(f)->real(), size);
        },
    .xSync =
        [](sqlite3_file* f, int flags) {
          int rc = Pass(f, FaultyVfs::kSync);
          // A power loss is not simulated: there is nothing to wait for.
          return rc != SQLITE_OK ? rc : (static_cast<void>(flags), SQLITE_OK);
        },
    .xFileSize = [](sqlite3_file* f, sqlite3_int64* size) { return Real(f)->xFileSize(Of(f)->real(), size); },
    .xLock = [](sqlite3_file* f, int kind) { return Real(f)->xLock(Of(f)->real(), kind); },
    .xUnlock = [](sqlite3_file* f, int kind) { return Real(f)->xUnlock(Of(f)->real(), kind); },
    .xCheckReservedLock = [](sqlite3_file* f,
                             int* out) { return Real(f)->xCheckReservedLock(Of(f)->real(), out); },
    .xFileControl = [](sqlite3_file* f, int op,
                       void* arg) { return Real(f)->xFileControl(Of(f)->real(), op, arg); },
    .xSectorSize = [](sqlite3_file* f) { return Real(f)->xSectorSize(Of(f)->real()); },
    .xDeviceCharacteristics = [](sqlite3_file* f) { return Real(f)->xDeviceCharacteristics(Of(f)->real()); },
    .xShmMap =
        [](sqlite3_file* f, int page, int size, int extend, void volatile** out) {
          int rc = Pass(f, FaultyVfs::kShm);
          return rc != SQLITE_OK ? rc : Real(f)->xShmMap(Of(f)->real(), page, size, extend, out);
        },
    .xShmLock = [](sqlite3_file* f, int at, int n,
                   int flags) { return Real(f)->xShmLock(Of(f)->real(), at, n, flags); },
    .xShmBarrier = [](sqlite3_file* f) { Real(f)->xShmBarrier(Of(f)->real()); },
    .xShmUnmap = [](sqlite3_file* f, int gone) { return Real(f)->xShmUnmap(Of(f)->real(), gone); },
    .xFetch = [](sqlite3_file* f, sqlite3_int64 at, int n,
                 void** out) { return Real(f)->xFetch(Of(f)->real(), at, n, out); },
    .xUnfetch = [](sqlite3_file* f, sqlite3_int64 at,
                   void* page) { return Real(f)->xUnfetch(Of(f)->real(), at, page); },
};

int Open(sqlite3_vfs* vfs, sqlite3_filename path, sqlite3_file* file, int flags, int* out) {
  auto* f = new (file) File{};
  f->vfs = static_cast<FaultyVfs*>(vfs->pAppData);
  if (int rc = f->vfs->Pass(FaultyVfs::kOpen); rc != SQLITE_OK) return rc;
  int rc = Default()->xOpen(Default(), path, f->real(), flags, out);
  if (f->real()->pMethods != nullptr) f->base.pMethods = &kMethods;
  return rc;
}

}  // namespace

FaultyVfs::FaultyVfs() {
  static int count = 0;
  name_ = "faulty-" + std::to_string(++count);
  ConfigureSqlite();
  sqlite3_initialize();
  vfs_ = *Default();
  vfs_.pNext = nullptr;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + Default()->szOsFile;
  vfs_.xOpen = &Open;
  sqlite3_vfs_register(&vfs_, 0);
}

FaultyVfs::~FaultyVfs() { sqlite3_vfs_unregister(&vfs_); }

void FaultyVfs::FailAt(Call call, int nth, bool forever, int code) {
  armed_ = call, left_ = nth, forever_ = forever, code_ = code, fired_ = false, lost_ = false;
}

void FaultyVfs::LoseAt(Call call, int nth, int code) {
  FailAt(call, nth, true, code);
  lost_ = true;
}

int FaultyVfs::Pass(Call call) {
  if (lost_ && fired_ && armed_ != kCalls && call != kOpen && call != kRead) return code_;
  if (call != armed_) return SQLITE_OK;
  if (left_ > 0) --left_;
  if (left_ > 0 || (fired_ && !forever_)) return SQLITE_OK;
  fired_ = true;
  return code_;
}

}  // namespace dvdi
