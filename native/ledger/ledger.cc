#include "ledger/ledger.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include <utility>

#include "base/caught.h"
#include "base/fd.h"
#include "base/text.h"
#include "ledger/schema.h"
#include "sys/files.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

// A whole check costs time in proportion to the file: large files are checked as they are read.
constexpr int64_t kCheckWholeBelow = 4 << 20;
// A log so small stays a log when the ledger is closed: a process that is started for one call pays for no
// checkpoint, and the next one reads a log no longer than this.
constexpr int64_t kKeepLogBelow = 512 << 10;
constexpr size_t kLongestNote = 4096;  // bytes

// So often a file that is replaced is opened anew for one transaction.
constexpr int kMostRefills = 3;

Status Closed() { return Status(Code::kInternal, "the ledger is closed"); }

Status CheckIntegrity(Db* db) {
  Stmt check = db->Prepare("PRAGMA quick_check(1)");
  if (check.Step() && check.Text(0) != "ok")
    return Status(Code::kSystem, "integrity check: " + check.Text(0));
  return check.status();
}

}  // namespace

Status Ledger::MakeFile() {
  // As a path alone where it is there: with a descriptor that is closed all locks of the process on the file
  // end (fcntl(2)), also those that SQLite has for another ledger of this process.
  int fd = env_.sys->OpenAt(AT_FDCWD, path_.c_str(), O_PATH | O_NOFOLLOW);
  // Made here, so that nobody else can read it whatever the umask is; SQLite's -wal and -shm follow its mode.
  if (fd == -ENOENT)
    fd = env_.sys->OpenAt(AT_FDCWD, path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (fd < 0) return Status::FromErrno(-fd, "cannot make the ledger " + path_, path_);
  int64_t type = 0;
  in_place_ = env_.sys->FsType(fd, &type) >= 0 && MappedWritesInPlace(type);
  env_.sys->Close(fd);
  return Status();
}

Status Ledger::OpenFiles() {
  int found = 0;
  DVDI_RETURN_IF_ERROR(MakeFile());
  DVDI_RETURN_IF_ERROR(writer_.Open(path_, env_.store->VfsName(), in_place_));
  // Before anything was read: the system let SQLite open it for reading alone. That is no damage, as a format
  // is that is only read.
  if (!writer_.Writable().ok()) {
    writer_.Close();
    const int fd = env_.sys->OpenAt(AT_FDCWD, path_.c_str(), O_RDWR | O_NOFOLLOW);
    if (fd < 0) return Status::FromErrno(-fd, "cannot write to the ledger " + path_, path_);
    env_.sys->Close(fd);  // it could not be for a moment
    DVDI_RETURN_IF_ERROR(writer_.Open(path_, env_.store->VfsName(), in_place_));
  }
  DVDI_RETURN_IF_ERROR(writer_.Exec("PRAGMA journal_mode = WAL"));
  DVDI_RETURN_IF_ERROR(writer_.Exec("PRAGMA synchronous = NORMAL"));
  writer_.LimitLog(env_.store->LogPages());
  full_sync_ = false;
  DVDI_RETURN_IF_ERROR(MigrateSchema(&writer_, &found));
  is_new_ = found == 0;
  // New, or all that it held was in a log that is lost; or whoever was to fill it has not come to the end.
  bool whole = false;
  DVDI_RETURN_IF_ERROR(ReadWhole(&writer_, &whole));
  if (!whole) rebuilt_ = true;
  DVDI_RETURN_IF_ERROR(writer_.Writable());
  struct stat st;
  int r = env_.sys->FstatAt(AT_FDCWD, path_.c_str(), &st, 0);
  if (r < 0) return Status::FromErrno(-r, "cannot look at the ledger " + path_, path_);
  device_ = st.st_dev, inode_ = st.st_ino;
  if (!checked_.Holds(st)) {
    DVDI_RETURN_IF_ERROR(CheckSchema(&writer_));
    if (st.st_size <= kCheckWholeBelow) {
      DVDI_RETURN_IF_ERROR(CheckIntegrity(&writer_));
      checked_.Set(st);
    }
  }
  may_read_ = wanted_ = true;
  return Status();
}

Status Ledger::Open() {
  rebuilt_ = false;
  struct stat st;
  int r = env_.sys->FstatAt(AT_FDCWD, path_.c_str(), &st, AT_SYMLINK_NOFOLLOW);
  if (r == -ENOENT) {
    rebuilt_ = true;
    {
      std::lock_guard lock(note_mu_);
      note_.clear();
    }
    // A log without its file would be taken for the new one's.
    std::string kept;
    DVDI_RETURN_IF_ERROR(MoveAway(&kept));
  } else if (r < 0) {
    return Status::FromErrno(-r, "cannot look at the ledger " + path_, path_);
  } else if (!S_ISREG(st.st_mode)) {
    DVDI_RETURN_IF_ERROR(PutAside("it is no file"));
  } else if (st.st_size == 0) {
    // SQLite takes an empty file for a new one, and would wait for engines that had another one open.
    DVDI_RETURN_IF_ERROR(PutAside("it is empty"));
  }
  Status s = OpenFiles();
  if (!s.ok() && writer_.full()) {
    // On a full disk what is to be undone must be found all the same.
    CloseFiles();
    (void)reserve_.Spend();  // or somebody else has, meanwhile
    s = OpenFiles();
  }
  if (s.ok()) return s;
  bool bad = writer_.damaged() || reader_.damaged() || writer_.misfit() || reader_.misfit() ||
             s.message().starts_with("integrity check");
  // What the system refuses is no damage.
  if (!bad || s.error_number() != 0) return s;
  DVDI_RETURN_IF_ERROR(PutAside(s.message()));
  return OpenFiles();
}

void Ledger::CloseFiles() {
  writer_.Close();
  reader_.Close();
  may_read_ = false;
}

Status Ledger::MoveAway(std::string* kept) {
  CloseFiles();
  *kept = path_ + ".damaged-" + std::to_string(env_.clock->WallMs());
  for (const char* suffix : {"", "-wal", "-shm"}) {
    int r = env_.sys->RenameAt(AT_FDCWD, (path_ + suffix).c_str(), AT_FDCWD, (*kept + suffix).c_str());
    if (r < 0 && r != -ENOENT)
      return Status::FromErrno(-r, "cannot put the damaged ledger aside as " + *kept, path_);
  }
  return Status();
}

Status Ledger::BeginAnew(const std::string& why) {
  std::lock_guard write(write_mu_);
  std::lock_guard read(read_mu_);
  DVDI_RETURN_IF_ERROR(PutAside(why));
  return OpenFiles();
}

Status Ledger::PutAside(const std::string& why) {
  std::string aside;
  DVDI_RETURN_IF_ERROR(MoveAway(&aside));
  rebuilt_ = true;
  KeepNote("the ledger was damaged (" + why + "); it is kept as " + aside +
           " and was rebuilt from the stage folder");
  return Status();
}

void Ledger::KeepNote(const std::string& note) {
  const std::string line =
      OneLine(note, kLongestNote);  // SQLite says in several lines what is wrong with a file
  {
    std::lock_guard lock(note_mu_);
    note_ = line;
  }
  int fd = env_.sys->OpenAt(AT_FDCWD, NotePath().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  (void)env_.sys->Write(fd, line.data(), line.size());
  env_.sys->Close(fd);
}

void Ledger::Close() {
  std::lock_guard write(write_mu_);
  std::lock_guard read(read_mu_);
  wanted_ = false;
  if (!writer_.is_open()) return;
  // A new file is written at once: a lost log must not take all of a ledger with it.
  const bool keep_log = !is_new_ && LogIsSmall();
  writer_.Close(keep_log);
  reader_.Close(keep_log);
  may_read_ = false;
}

bool Ledger::LogIsSmall() const {
  struct stat st;
  return env_.sys->FstatAt(AT_FDCWD, (path_ + "-wal").c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         st.st_size <= kKeepLogBelow;
}

std::string Ledger::note() const {
  {
    std::lock_guard lock(note_mu_);
    if (!note_.empty()) return note_;
  }
  int fd = env_.sys->OpenAt(AT_FDCWD, NotePath().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return "";
  char text[kLongestNote];
  ssize_t n = env_.sys->Read(fd, text, sizeof text);
  env_.sys->Close(fd);
  return n <= 0 ? "" : OneLine(std::string_view(text, static_cast<size_t>(n)), sizeof text);
}

bool Ledger::damaged() const { return writer_.damaged() || reader_.damaged(); }

Result<bool> Ledger::Moved() const {
  struct stat st;
  const int r = env_.sys->FstatAt(AT_FDCWD, path_.c_str(), &st, AT_SYMLINK_NOFOLLOW);
  if (r == -ENOENT) return true;
  if (r < 0) return Status::FromErrno(-r, "cannot look at the ledger " + path_, path_);
  return st.st_dev != device_ || st.st_ino != inode_;
}

Status Ledger::MustWait(const Db& db, bool refills, bool* wait) const {
  *wait = false;
  if (refill_ == nullptr || refills || !wanted_) return Status();
  *wait = refilling_ || unfilled_ || !may_read_ || db.damaged();
  if (*wait) return Status();
  Status looked;
  (void)Caught([&] {
    auto moved = Moved();
    looked = moved.status();
    *wait = moved.ok() && *moved;
  });
  return looked;
}

Status Ledger::Reopen() {
  std::lock_guard write(write_mu_);
  std::lock_guard read(read_mu_);
  if (!wanted_) return Closed();
  bool bad = damaged();
  if (bad) {
    DVDI_ASSIGN_OR_RETURN(const bool moved, Moved());
    bad = !moved;
  }
  CloseFiles();
  if (bad) DVDI_RETURN_IF_ERROR(PutAside("damage was met while it was used"));
  return Open();
}

Status Ledger::Refill() {
  std::unique_lock lock(queue_mu_);
  if (refilling_) {
    while (refilling_) env_.scheduler->Wait(lock, queue_cv_, INT64_MAX / 2'000'000);
    return Status();
  }
  refilling_ = true;
  refiller_ = std::this_thread::get_id();
  lock.unlock();
  Status s = Caught([&] { return refill_(); });
  lock.lock();
  refilling_ = false;
  unfilled_ = !s.ok();
  refiller_ = std::thread::id();
  queue_cv_.notify_all();
  return s;
}

Status Ledger::OnTheFile(const std::function<Status(Tried*)>& once) {
  const bool refills = refill_ == nullptr || Refilling();
  bool repeated = false;
  for (int round = 0;; ++round) {
    Tried tried;
    Status s = once(&tried);
    // Once: what the next file does not take either is no fault of a file.
    const bool repeat = tried.met_damage && !refills && !std::exchange(repeated, true);
    if (!tried.put_off && !repeat) return s;
    if (round == kMostRefills)
      return Status(Code::kUnavailable, "the ledger is replaced again and again",
                    "see what removes its file");
    DVDI_RETURN_IF_ERROR(Refill());
  }
}

Status Ledger::Apply(Commit commit, bool durable, const Body& body) {
  return OnTheFile([&](Tried* tried) {
    Waiting mine{&body, commit, durable, Refilling()};
    Status s = ApplyOnce(&mine);
    *tried = mine.tried;
    return s;
  });
}

Status Ledger::ApplyOnce(Waiting* mine) {
  std::unique_lock lock(queue_mu_);
  queue_.push_back(mine);
  while (!mine->done && leading_) env_.scheduler->Wait(lock, queue_cv_, INT64_MAX / 2'000'000);
  if (mine->done) return mine->status;
  leading_ = true;
  std::vector<Waiting*> batch;
  batch.swap(queue_);
  lock.unlock();
  RunBatch(batch);
  lock.lock();
  for (Waiting* w : batch) w->done = true;
  leading_ = false;
  queue_cv_.notify_all();
  return mine->status;
}

void Ledger::RunBatch(const std::vector<Waiting*>& all) {
  std::lock_guard write(write_mu_);
  std::vector<Waiting*> batch;
  bool wait = false;
  const Status looked = MustWait(writer_, false, &wait);
  for (Waiting* w : all) {
    w->tried.put_off = wait && !w->refills;
    if (!w->refills) w->status = looked;
    if (!w->tried.put_off && w->status.ok()) batch.push_back(w);
  }
  if (batch.empty()) return;
  Status s = Caught([&] { RunHeld(batch); });
  if (!s.ok()) {
    (void)writer_.Exec("ROLLBACK");
    for (Waiting* w : batch)
      if (w->status.ok()) w->status = s;
  }
  for (Waiting* w : batch) w->tried.met_damage = writer_.damaged() && !w->status.ok();
}

void Ledger::RunHeld(const std::vector<Waiting*>& batch) {
  writer_.ForgetFull();
  TryBatch(batch);
  if (!writer_.full()) return;
  // What ends something must not wait until somebody has made room.
  std::vector<Waiting*> ending;
  for (Waiting* w : batch)
    if (!w->status.ok() && CommitEnds(w->commit)) ending.push_back(w);
  if (ending.empty()) return;
  (void)reserve_.Spend();  // or somebody else has, meanwhile
  for (Waiting* w : ending) w->status = Status();
  TryBatch(ending);
}

void Ledger::TryBatch(const std::vector<Waiting*>& batch) {
  auto fail_all = [&](const Status& s) {
    for (Waiting* w : batch)
      if (w->status.ok()) w->status = s;
  };
  auto tell = [&](CommitMoment moment) {
    for (Waiting* w : batch)
      if (w->status.ok()) CommitPoint(w->commit, moment);
  };
  if (!writer_.is_open()) return fail_all(Closed());
  bool durable = false;
  for (Waiting* w : batch) durable |= w->durable;
  if (durable != full_sync_) {
    Status s = writer_.Exec(durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    if (!s.ok()) return fail_all(s);
    full_sync_ = durable;
  }
  tell(CommitMoment::kBefore);
  Status s = writer_.Prepare("BEGIN IMMEDIATE").Run();
  if (!s.ok()) return fail_all(s);
  LedgerTx tx(&writer_);
  bool alone = batch.size() == 1;
  for (Waiting* w : batch) {
    if (!alone) s = writer_.Prepare("SAVEPOINT one").Run();
    if (!s.ok()) break;
    w->status = Caught([&] { return (*w->body)(tx); });
    if (alone) {
      s = w->status;
    } else {
      if (!w->status.ok()) s = writer_.Prepare("ROLLBACK TO one").Run();
      if (s.ok()) s = writer_.Prepare("RELEASE one").Run();
    }
    if (!s.ok()) break;
  }
  if (s.ok()) tell(CommitMoment::kWritten);
  if (s.ok()) s = writer_.Prepare("COMMIT").Run();
  if (!s.ok()) {
    (void)writer_.Exec("ROLLBACK");
    return fail_all(s);
  }
  tell(CommitMoment::kDone);
}

Status Ledger::Read(const Body& body) {
  return OnTheFile([&](Tried* tried) { return ReadOnce(body, tried); });
}

Status Ledger::ReadOnce(const Body& body, Tried* tried) {
  // Where nobody writes, with the writer's connection: another one would read the schema and prepare all
  // statements once more, and most engines that are opened do not read and write at the same time.
  if (std::unique_lock write(write_mu_, std::try_to_lock); write.owns_lock())
    return TryReadBy(&writer_, body, tried);
  std::lock_guard read(read_mu_);
  return TryReadBy(&reader_, body, tried);
}

Status Ledger::TryReadBy(Db* db, const Body& body, Tried* tried) {
  DVDI_RETURN_IF_ERROR(MustWait(*db, Refilling(), &tried->put_off));
  if (tried->put_off) return Status();
  Status s;
  if (db == &reader_ && !db->is_open() && may_read_) s = db->Open(path_, env_.store->VfsName(), in_place_);
  if (s.ok()) s = ReadBy(db, body);
  tried->met_damage = db->damaged() && !s.ok();
  return s;
}

Status Ledger::ReadBy(Db* db, const Body& body) {
  if (!db->is_open()) return Closed();
  DVDI_RETURN_IF_ERROR(db->Prepare("BEGIN").Run());
  LedgerTx tx(db);
  Status s = Caught([&] { return body(tx); });
  Status end = db->Prepare("COMMIT").Run();
  if (!end.ok()) (void)db->Exec("ROLLBACK");
  return s.ok() ? end : s;
}

}  // namespace dvdi
