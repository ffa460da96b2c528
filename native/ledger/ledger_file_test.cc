// The ledger's file: damaged, none of ours, newer, full of verdicts, checked and closed.
#include <sqlite3.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "ledger/schema.h"
#include "ledger/test_ledger.h"

namespace dvdi {
namespace {

TEST_F(LedgerTest, ADamagedFileIsKeptAsideAndBegunAnew) {
  {
    Ledger ledger(env_, path());
    ASSERT_TRUE(ledger.Open().ok());
    ASSERT_TRUE(
        ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) { return tx.PutAttachment(Attachment("x")); })
            .ok());
  }
  {
    std::ofstream f(path(), std::ios::binary | std::ios::trunc);
    f << std::string(8192, 'j');
  }
  std::filesystem::remove(path() + "-wal");
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  EXPECT_TRUE(ledger.rebuilt());
  EXPECT_NE(ledger.note().find(".damaged-"), std::string::npos);
  int aside = 0;
  for (auto& e : std::filesystem::directory_iterator(dir_))
    if (e.path().string().find(".damaged-") != std::string::npos) ++aside;
  EXPECT_GE(aside, 1);
  EXPECT_TRUE(
      ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) { return tx.PutAttachment(Attachment("y")); })
          .ok());
}

// All pages but the first are spoilt by somebody who is not SQLite, and no connection has them in memory any
// more: another one has written since.
void Spoil(const std::string& path) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", nullptr, nullptr, nullptr), SQLITE_OK);
  {
    std::fstream f(path, std::ios::binary | std::ios::in | std::ios::out);
    for (uintmax_t at = 4096; at < std::filesystem::file_size(path); at += 4096) {
      f.seekp(static_cast<std::streamoff>(at));
      f << std::string(4096, 'j');
    }
  }
  const std::string same = "PRAGMA user_version = " + std::to_string(SchemaVersion());
  EXPECT_EQ(sqlite3_exec(db, same.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
}

// It would be a workload that does not start, for damage that its node gets over.
TEST_F(LedgerTest, WhoIsTheFirstToMeetDamageIsRunOnceMore) {
  for (const bool writes : {false, true})
    for (const bool next_too : {false, true}) {
      SCOPED_TRACE(std::string(writes ? "writes" : "reads") +
                   (next_too ? ", and the next file is no better" : ""));
      { ASSERT_TRUE(Ledger(env_, path()).Open().ok()); }
      Ledger ledger(env_, path());
      ASSERT_TRUE(ledger.Open().ok());
      int filled = 0, runs = 0;
      ledger.OnReplaced([&]() -> Status {
        ++filled;
        DVDI_RETURN_IF_ERROR(ledger.Reopen());
        DVDI_RETURN_IF_ERROR(
            ledger.Apply(Commit::whole, false, [](LedgerTx& tx) { return tx.SetWhole(true); }));
        if (next_too) Spoil(path());
        return Status();
      });
      Spoil(path());
      auto body = [&](LedgerTx& tx) -> Status {
        ++runs;
        if (writes) return tx.PutAttachment(Attachment("x"));
        return tx.Attachments().status();
      };
      const Status s = writes ? ledger.Apply(Commit::intent, false, body) : ledger.Read(body);
      EXPECT_EQ(s.ok(), !next_too) << s.message();
      EXPECT_EQ(runs, 2);
      EXPECT_EQ(filled, 1) << "a file that is no better is no reason to put aside one after the other";
      ledger.Close();
      std::filesystem::remove_all(dir_);
      std::filesystem::create_directory(dir_);
    }
}

// Nothing says then that it is the file in which the others' users stand.
TEST_F(LedgerTest, WhoCannotLookAtItsFileGoesOnWithNone) {
  struct : Sys {
    std::string path;
    int error = 0;
    int FstatAt(int dirfd, const char* at, struct stat* st, int flags) override {
      return error != 0 && at == path ? -error : Sys::FstatAt(dirfd, at, st, flags);
    }
  } sys;
  sys.path = path();
  env_.sys = &sys;
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  ledger.OnReplaced([&] { return ledger.Reopen(); });
  const Env other_env = SystemEnv();
  for (int error : {EACCES, EIO, ENOMEM, ELOOP}) {
    SCOPED_TRACE(std::strerror(error));
    for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path() + end);
    Ledger other(other_env, path());
    ASSERT_TRUE(other.Open().ok());
    ASSERT_TRUE(other
                    .Apply(Commit::intent, false,
                           [&](LedgerTx& tx) {
                             Status s = tx.PutAttachment(Attachment("theirs"));
                             return s.ok() ? tx.SetWhole(true) : s;
                           })
                    .ok());
    sys.error = error;
    auto put = [&](LedgerTx& tx) { return tx.PutAttachment(Attachment("ours")); };
    auto look = [](LedgerTx& tx) { return tx.Attachments().status(); };
    const std::string why = "cannot look at the ledger " + path() + ": " + std::strerror(error);
    EXPECT_EQ(ledger.Apply(Commit::intent, false, put).message(), why);
    EXPECT_EQ(ledger.Read(look).message(), why);
    sys.error = 0;
    bool found = false;
    const Status s = ledger.Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto row, tx.FindAttachment("d", "theirs"));
      found = row.has_value();
      return Status();
    });
    EXPECT_TRUE(s.ok() && found) << s.message();
  }
}

// What a process that lives for one call pays at its end, and the next one at its begin.
TEST_F(LedgerTest, ASmallLogStaysALogWhenItIsClosed) {
  { ASSERT_TRUE(Ledger(env_, path()).Open().ok()); }
  EXPECT_FALSE(std::filesystem::exists(path() + "-wal")) << "a new ledger is written into its file";
  const auto before = std::filesystem::last_write_time(path());
  for (const char* id : {"x", "y"}) {
    Ledger ledger(env_, path());
    ASSERT_TRUE(ledger.Open().ok());
    ASSERT_TRUE(
        ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) { return tx.PutAttachment(Attachment(id)); })
            .ok());
  }
  EXPECT_GT(std::filesystem::file_size(path() + "-wal"), 0u);
  EXPECT_EQ(std::filesystem::last_write_time(path()), before);
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  // A large one goes into the file.
  ASSERT_TRUE(ledger
                  .Apply(Commit::intent, false,
                         [&](LedgerTx& tx) -> Status {
                           for (int i = 0; i < 2000; ++i) {
                             AttachmentRow a = Attachment(std::to_string(i));
                             a.name = a.id, a.mountpoint = std::string(500, 'm');
                             DVDI_RETURN_IF_ERROR(tx.PutAttachment(a));
                           }
                           return Status();
                         })
                  .ok());
  ledger.Close();
  EXPECT_FALSE(std::filesystem::exists(path() + "-wal"));
  EXPECT_NE(std::filesystem::last_write_time(path()), before);
}

TEST_F(LedgerTest, AFileThatNobodyHasWrittenToIsCheckedOnce) {
  // However long the first opening takes: by this clock it takes no time.
  struct StillClock : Clock {
    int64_t MonotonicMs() override { return Clock::Real()->MonotonicMs(); }
    int64_t MonotonicNs() override { return Clock::Real()->MonotonicNs(); }
    int64_t WallMs() override { return wall_ms; }
    const int64_t wall_ms = Clock::Real()->WallMs();
  } still;
  env_.clock = &still;
  { ASSERT_TRUE(Ledger(env_, path()).Open().ok()); }
  env_.clock = Clock::Real();
  const std::string mark = path() + ".checked";
  EXPECT_FALSE(std::filesystem::exists(mark)) << "its times do not tell yet";
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  { ASSERT_TRUE(Ledger(env_, path()).Open().ok()); }
  ASSERT_TRUE(std::filesystem::exists(mark));
  const auto checked = std::filesystem::last_write_time(mark);
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  { ASSERT_TRUE(Ledger(env_, path()).Open().ok()); }
  EXPECT_EQ(std::filesystem::last_write_time(mark), checked);
  // One page is spoilt, by somebody who is not SQLite.
  {
    std::fstream f(path(), std::ios::binary | std::ios::in | std::ios::out);
    f.seekp(4096 * 2);
    f << std::string(4096, 'j');
  }
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  EXPECT_TRUE(ledger.rebuilt());
  EXPECT_NE(ledger.note().find("integrity check"), std::string::npos) << ledger.note();
}

// Damage that is no damage to SQLite: it reads the file, or says that it cannot, as of a sound one.
TEST_F(LedgerTest, AFileThatIsNoLedgerIsKeptAsideToo) {
  const struct {
    size_t at;  // in the file's header
    std::string bytes;
    std::string sql;  // in their place
  } kPatches[] = {
      {44, std::string("\0\0\0\x7", 4)},         // a format of schemas that SQLite does not know
      {18, "\x79"},                              // a format that SQLite may read, not write
      {18, "\x79\x01"},                          // the same, and it has no log
      {60, std::string("\0\0\0\0", 4)},          // version 0: every table is to be made, and is there
      {60, std::string("\xff\xff\xff\xff", 4)},  // version -1
      {0, "", "ALTER TABLE effect RENAME COLUMN done TO made"},
      // Longer than all that is ever written, and than what is read.
      {0, "", "CREATE TABLE long(text TEXT DEFAULT '" + std::string(65 << 20, 'x') + "')"},
  };
  for (const auto& patch : kPatches) {
    { ASSERT_TRUE(Ledger(env_, path()).Open().ok()); }
    if (patch.bytes.empty()) {
      sqlite3* db = nullptr;
      ASSERT_EQ(sqlite3_open(path().c_str(), &db), SQLITE_OK);
      ASSERT_EQ(sqlite3_exec(db, patch.sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
      sqlite3_close(db);
    } else {
      std::fstream f(path(), std::ios::binary | std::ios::in | std::ios::out);
      f.seekp(static_cast<std::streamoff>(patch.at));
      f << patch.bytes;
    }
    Ledger ledger(env_, path());
    Status s = ledger.Open();
    const std::string which = std::to_string(patch.at) + patch.sql.substr(0, 40) + ": ";
    ASSERT_TRUE(s.ok()) << which << s.message();
    EXPECT_TRUE(ledger.rebuilt()) << which;
    EXPECT_NE(ledger.note().find(".damaged-"), std::string::npos) << which << ledger.note();
    EXPECT_EQ(ledger.note().find('\n'), std::string::npos) << which << ledger.note();
    EXPECT_TRUE(
        ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) { return tx.PutAttachment(Attachment("y")); })
            .ok());
  }
}

TEST_F(LedgerTest, AnEmptyFileOrAFolderInItsPlaceIsKeptAsideToo) {
  for (bool folder : {false, true}) {
    Ledger other(env_, path());
    ASSERT_TRUE(other.Open().ok());
    if (folder) {
      std::filesystem::remove(path());
      std::filesystem::create_directory(path());
    } else {
      std::filesystem::resize_file(path(), 0);  // under an engine that has it open
    }
    Ledger ledger(env_, path());
    Status s = ledger.Open();
    ASSERT_TRUE(s.ok()) << s.message();
    EXPECT_TRUE(ledger.rebuilt());
    EXPECT_NE(ledger.note().find(folder ? "no file" : "empty"), std::string::npos) << ledger.note();
  }
}

TEST_F(LedgerTest, SaysWhenThereAreSoManyVerdicts) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  ASSERT_TRUE(ledger
                  .Apply(Commit::recorded, false,
                         [&](LedgerTx& tx) -> Status {
                           for (int i = 1; i <= 9; ++i) {
                             VerdictRow row;
                             row.sha256 = "s", row.kind = i % 3 == 0 ? "other" : "mine", row.outcome = "same";
                             row.at_ms = i;
                             DVDI_RETURN_IF_ERROR(tx.PutVerdict(row));
                             // 1, 2, 4, 5, 7, 8 are its own; from 2 on they count.
                             auto enough = tx.HasVerdicts("s", "mine", 2, 4);
                             EXPECT_TRUE(enough.ok());
                             EXPECT_EQ(enough.ok() && *enough, i >= 7) << i;
                           }
                           return Status();
                         })
                  .ok());
}

TEST_F(LedgerTest, ItsNoteIsThereUntilSomebodyRemovesIt) {
  {
    Ledger ledger(env_, path());
    ASSERT_TRUE(ledger.Open().ok());
    EXPECT_EQ(ledger.note(), "");
    ledger.KeepNote("what\nhappened");
  }
  Ledger later(env_, path());
  ASSERT_TRUE(later.Open().ok());
  EXPECT_EQ(later.note(), "what happened");
  std::filesystem::remove(path() + ".note");
  EXPECT_EQ(later.note(), "");
}

TEST_F(LedgerTest, ANewerSchemaIsLeftAsItIs) {
  {
    Ledger ledger(env_, path());
    ASSERT_TRUE(ledger.Open().ok());
  }
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path().c_str(), &db), SQLITE_OK);
  std::string bump = "ALTER TABLE volume ADD COLUMN colour TEXT NOT NULL DEFAULT ''; PRAGMA user_version = " +
                     std::to_string(SchemaVersion() + 1);
  ASSERT_EQ(sqlite3_exec(db, bump.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  VolumeRow v;
  v.driver = "d", v.name = "n", v.state = "known";
  EXPECT_TRUE(ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) { return tx.TouchVolume(v); }).ok());
}

}  // namespace
}  // namespace dvdi
