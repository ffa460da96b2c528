// SQLite's index of the log lies in shared memory: a mapped file, PATH-shm.
#ifndef DVDI_LEDGER_SHM_H_
#define DVDI_LEDGER_SHM_H_

#include <sqlite3.h>

#include <vector>

namespace dvdi {

// A filesystem that writes elsewhere what is written anew (btrfs and its like) needs room for a store to a
// page that it has on its disk already. Where there is none the store ends the process by SIGBUS, with the
// agent that we live in. This asks for that room before SQLite stores: what needs it fails with SQLITE_FULL,
// as a write(2) would. Who only reads goes on. Between that and the store the kernel may write the page out
// once more; a transaction takes too little time for that to be met.
class ShmRoom {
 public:
  ShmRoom() = default;
  ShmRoom(const ShmRoom&) = delete;
  ShmRoom& operator=(const ShmRoom&) = delete;

  // Stands between SQLite and the main file of `db` from now on, and must be there until that is closed,
  // which may store too.
  void Enter(sqlite3* db);
  void Closed() { regions_.clear(); }

 private:
  static ShmRoom* Of(sqlite3_file* file);
  static int Map(sqlite3_file* file, int page, int size, int extend, void volatile** out);
  static int Lock(sqlite3_file* file, int at, int n, int flags);
  static int Unmap(sqlite3_file* file, int gone);
  bool HasRoom() const;

  sqlite3_io_methods methods_ = {};  // the first member: SQLite's file points here
  const sqlite3_io_methods* real_ = nullptr;
  struct Region {
    char* start;
    int size;
  };
  std::vector<Region> regions_;
};

}  // namespace dvdi

#endif  // DVDI_LEDGER_SHM_H_
