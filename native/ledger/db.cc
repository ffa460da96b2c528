#include "ledger/db.h"

#include <sqlite3.h>

#include <cerrno>

namespace dvdi {

void ConfigureSqlite() {
  static const int once = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  (void)once;  // where SQLite was in use before, it goes on as it was
}

namespace {

// More than opening a ledger takes, or any row of it.
bool MemoryIsThere() {
  void* memory = sqlite3_malloc64(64 << 20);
  sqlite3_free(memory);
  return memory != nullptr;
}

}  // namespace

Stmt::Stmt(Stmt&& other) noexcept
    : db_(other.db_), stmt_(other.stmt_), status_(std::move(other.status_)), next_(other.next_) {
  other.stmt_ = nullptr;
}

Stmt::~Stmt() {
  if (stmt_ == nullptr) return;
  sqlite3_reset(stmt_);
  sqlite3_clear_bindings(stmt_);
}

Stmt& Stmt::Bind(std::string_view text) & {
  if (!status_.ok()) return *this;
  // A null pointer would bind NULL: an empty view may hold one.
  const char* data = text.data() == nullptr ? "" : text.data();
  int rc = sqlite3_bind_text64(stmt_, next_++, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (rc != SQLITE_OK) status_ = db_->Error(rc, "bind", Db::Does::kWrite);
  return *this;
}

Stmt& Stmt::Bind(int64_t number) & {
  if (!status_.ok()) return *this;
  int rc = sqlite3_bind_int64(stmt_, next_++, number);
  if (rc != SQLITE_OK) status_ = db_->Error(rc, "bind");
  return *this;
}

bool Stmt::Step() {
  if (!status_.ok()) return false;
  int rc = sqlite3_step(stmt_);
  if (rc == SQLITE_ROW) return true;
  if (rc != SQLITE_DONE)
    status_ = db_->Error(rc, "query", sqlite3_stmt_readonly(stmt_) ? Db::Does::kRead : Db::Does::kWrite);
  return false;
}

Status Stmt::Run() {
  while (Step()) {
  }
  return status_;
}

std::string Stmt::Text(int column) const {
  auto text = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, column));
  return text == nullptr ? std::string() : std::string(text, sqlite3_column_bytes(stmt_, column));
}

int64_t Stmt::Int(int column) const { return sqlite3_column_int64(stmt_, column); }

Status Db::Open(const std::string& path, const char* vfs, bool in_place) {
  ConfigureSqlite();
  path_ = path;
  damaged_ = false, misfit_ = false, full_ = false;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
  int rc = sqlite3_open_v2(path.c_str(), &db_, flags, vfs);
  if (rc != SQLITE_OK) {
    Status s = Error(rc, "open");
    Close();
    return s;
  }
  if (!in_place) shm_.Enter(db_);
  sqlite3_busy_timeout(db_, 10'000);
  sqlite3_limit(db_, SQLITE_LIMIT_LENGTH, 64 << 20);
  // Not in files of /var/tmp: what is sorted is held in memory by who asks for it anyway, and a disk that is
  // full there has no reserve.
  return Exec("PRAGMA temp_store = MEMORY");
}

void Db::Close(bool keep_log) {
  for (auto& [sql, stmt] : kept_) sqlite3_finalize(stmt);
  kept_.clear();
  if (db_ != nullptr && keep_log) sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (db_ != nullptr) sqlite3_close_v2(db_);
  shm_.Closed();
  db_ = nullptr;
}

void Db::LimitLog(int pages) { sqlite3_wal_autocheckpoint(db_, pages); }

Stmt Db::Prepare(const char* sql) {
  auto it = kept_.find(sql);
  if (it != kept_.end()) return Stmt(this, it->second, Status());
  sqlite3_stmt* stmt = nullptr;
  int rc = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, nullptr);
  if (rc != SQLITE_OK) return Stmt(this, nullptr, Error(rc, "prepare"));
  kept_[sql] = stmt;
  return Stmt(this, stmt, Status());
}

Status Db::Exec(const char* sql) {
  int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  return rc == SQLITE_OK ? Status() : Error(rc, "execute");
}

int64_t Db::Changes() const { return sqlite3_changes64(db_); }

int64_t Db::LastRowId() const { return sqlite3_last_insert_rowid(db_); }

Status Db::Writable() {
  return sqlite3_db_readonly(db_, "main") == 1 ? Error(SQLITE_READONLY, "write to it") : Status();
}

Status Db::Error(int rc, std::string_view what, Does does) {
  int primary = rc & 0xFF;
  // Nothing that was written is so long; SQLite says both of lengths that damage has made.
  if (does == Does::kRead && (primary == SQLITE_TOOBIG || (primary == SQLITE_NOMEM && MemoryIsThere())))
    damaged_ = true;
  if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) damaged_ = true;
  if (primary == SQLITE_ERROR) misfit_ = true;
  // The file can be written to (Ledger::Open has opened it so), and SQLite gives no other reason: the format
  // that it names is one that is only read.
  if (rc == SQLITE_READONLY && sqlite3_extended_errcode(db_) >> 8 == 0) misfit_ = true;
  // Its index in shared memory is a file too, and that one's growth fails as any I/O does.
  int err = db_ != nullptr && (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN)
                ? sqlite3_system_errno(db_)
                : 0;
  bool full = primary == SQLITE_FULL || err == ENOSPC || err == EDQUOT;
  full_ |= full;
  std::string message = "ledger " + path_ + ": cannot " + std::string(what) + ": ";
  message += db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(rc);
  if (err == EMFILE || err == ENFILE) return Status::FromErrno(err, message, path_);
  Code code = primary == SQLITE_BUSY ? Code::kTimeout : Code::kSystem;
  std::string hint = full ? "make room on the filesystem of the state folder" : "";
  return Status(code, std::move(message), std::move(hint)).WithPath(path_);
}

}  // namespace dvdi
