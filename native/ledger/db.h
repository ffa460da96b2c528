// A thin layer over SQLite: a connection, prepared statements that are kept, errors as Status.
#ifndef DVDI_LEDGER_DB_H_
#define DVDI_LEDGER_DB_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"
#include "ledger/shm.h"

struct sqlite3;
struct sqlite3_stmt;

namespace dvdi {

class Db;

// SQLite without statistics of its memory, for which each of its allocations would take a lock, and which
// nobody reads (sqlite3_config(3), SQLITE_CONFIG_MEMSTATUS). In force where it comes before all else that a
// process asks of SQLite; whoever registers a VFS calls it first. Any thread.
void ConfigureSqlite();

// One run of a prepared statement: bind in order, step, read columns in order. Reset by the
// destructor. An error sticks: check status() (or the result of Step) at the end.
class Stmt {
 public:
  Stmt(Db* db, sqlite3_stmt* stmt, Status status) : db_(db), stmt_(stmt), status_(std::move(status)) {}
  Stmt(Stmt&& other) noexcept;
  Stmt(const Stmt&) = delete;
  Stmt& operator=(const Stmt&) = delete;
  ~Stmt();

  Stmt& Bind(std::string_view text) &;
  Stmt& Bind(int64_t number) &;
  template <class... Args>
  Stmt& BindAll(const Args&... args) & {
    (BindOne(args), ...);
    return *this;
  }
  // True where a row is there; false at the end or on an error.
  bool Step();
  // Runs a statement without rows to its end.
  Status Run();
  std::string Text(int column) const;
  int64_t Int(int column) const;
  const Status& status() const { return status_; }

 private:
  void BindOne(std::string_view text) { Bind(text); }
  void BindOne(const std::string& text) { Bind(std::string_view(text)); }
  void BindOne(const char* text) { Bind(std::string_view(text)); }
  void BindOne(int64_t n) { Bind(n); }
  void BindOne(uint64_t n) { Bind(static_cast<int64_t>(n)); }
  void BindOne(int n) { Bind(int64_t{n}); }
  void BindOne(bool b) { Bind(int64_t{b}); }

  Db* db_;
  sqlite3_stmt* stmt_;
  Status status_;
  int next_ = 1;
};

// Not thread-safe: callers hold a lock.
class Db {
 public:
  Db() = default;
  ~Db() { Close(); }
  Db(const Db&) = delete;
  Db& operator=(const Db&) = delete;

  // `in_place`: the filesystem finds room for what is written anew where it was before (sys/files.h).
  Status Open(const std::string& path, const char* vfs, bool in_place = true);
  // `keep_log`: what the log holds stays in it. Else the last connection of all processes writes it into the
  // file, which takes two fsyncs.
  void Close(bool keep_log = false);
  // The commit that makes the log longer writes it into the file.
  void LimitLog(int pages);
  bool is_open() const { return db_ != nullptr; }
  // `sql` must be a string that lives for ever (a literal): it is the key of the kept statement.
  Stmt Prepare(const char* sql);
  Status Exec(const char* sql);
  // Once something was read: an error (misfit) where the file's format is one that can only be read.
  Status Writable();
  int64_t Changes() const;
  // The rowid of the last insertion on this connection.
  int64_t LastRowId() const;
  // kInternal-free mapping of a SQLite error; remembers that the file is damaged. `does`: what failed brought
  // something of its caller's, and may have failed for that.
  enum class Does { kRead, kWrite };
  Status Error(int rc, std::string_view what, Does does = Does::kRead);
  bool damaged() const { return damaged_; }
  // Whether SQL did not fit the file since Open: tables that are not as they should be, or a format that this
  // SQLite does not know. All SQL is ours, so that it is the file that is wrong.
  bool misfit() const { return misfit_; }
  // Whether the disk was found to be full since ForgetFull or Open.
  bool full() const { return full_; }
  void ForgetFull() { full_ = false; }

 private:
  sqlite3* db_ = nullptr;
  std::string path_;
  std::map<const char*, sqlite3_stmt*> kept_;
  bool damaged_ = false, misfit_ = false, full_ = false;
  ShmRoom shm_;
};

}  // namespace dvdi

#endif  // DVDI_LEDGER_DB_H_
