#include "ledger/ledger.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "ledger/schema.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

class LedgerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dvdi-ledger-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
    env_ = SystemEnv();
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string path() const { return dir_ + "/ledger.db"; }

  AttachmentRow Attachment(const std::string& name) {
    AttachmentRow a;
    a.id = "id-" + name, a.driver = "d", a.name = name, a.state = kIntent, a.boot_id = "boot";
    return a;
  }
  Status Begin(LedgerTx& tx, const std::string& op, const std::string& attachment, const std::string& boot) {
    OperationRow o;
    o.id = op, o.owner = "run", o.scope = "scope-" + op, o.instance = "i", o.boot_id = boot,
    o.state = kRunning;
    DVDI_RETURN_IF_ERROR(tx.PutOperation(o));
    EffectRow e;
    e.operation = op, e.seq = 1, e.kind = kAttach, e.attachment = attachment, e.target = "/data",
    e.mode = "rw";
    DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
    e.seq = 2, e.kind = kStage, e.path = "/stage/" + op;
    return tx.PutEffect(e);
  }

  std::string dir_;
  Env env_;
};

TEST_F(LedgerTest, SqliteCountsNoMemory) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  EXPECT_EQ(sqlite3_memory_used(), 0) << "each of its allocations takes a lock for that";
}

TEST_F(LedgerTest, RemembersAcrossOpenings) {
  {
    Ledger ledger(env_, path());
    ASSERT_TRUE(ledger.Open().ok());
    EXPECT_TRUE(ledger.rebuilt()) << "a missing file is to be filled from the stage folder";
    EXPECT_EQ(ledger.note(), "");
    ASSERT_TRUE(ledger
                    .Apply(Commit::intent, true,
                           [&](LedgerTx& tx) -> Status {
                             DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("x")));
                             return Begin(tx, "op", "id-x", "boot");
                           })
                    .ok());
  }
  {
    Ledger ledger(env_, path());
    ASSERT_TRUE(ledger.Open().ok());
    EXPECT_TRUE(ledger.rebuilt()) << "whoever was to fill it has not said that it is whole";
    ASSERT_TRUE(ledger.Apply(Commit::whole, false, [](LedgerTx& tx) { return tx.SetWhole(); }).ok());
  }
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  EXPECT_FALSE(ledger.rebuilt());
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    auto a = tx.FindAttachment("d", "x");
                    EXPECT_TRUE(a.ok() && a->has_value());
                    if (a.ok() && a->has_value()) EXPECT_EQ((*a)->id, "id-x");
                    auto users = tx.Users("id-x", "boot");
                    EXPECT_TRUE(users.ok());
                    EXPECT_EQ(users->size(), 1u);
                    if (users->size() == 1) {
                      EXPECT_EQ(users->at(0).target, "/data");
                      EXPECT_EQ(users->at(0).stage, "/stage/op");
                    }
                    return Status();
                  })
                  .ok());
  struct stat st;
  ASSERT_EQ(::stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(LedgerTest, UsersOfAnEarlierBootAreNone) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  ASSERT_TRUE(ledger
                  .Apply(Commit::intent, false,
                         [&](LedgerTx& tx) -> Status {
                           DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("x")));
                           return Begin(tx, "op", "id-x", "old boot");
                         })
                  .ok());
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    EXPECT_EQ(tx.Users("id-x", "new boot")->size(), 0u);
                    EXPECT_EQ(tx.Users("id-x", "old boot")->size(), 1u);
                    return Status();
                  })
                  .ok());
}

TEST_F(LedgerTest, AFailedBodyLeavesNothing) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  Status s = ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) -> Status {
    DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("x")));
    return Status(Code::kRefused, "no");
  });
  EXPECT_EQ(s.code(), Code::kRefused);
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    EXPECT_FALSE(tx.FindAttachment("d", "x")->has_value());
                    return Status();
                  })
                  .ok());
}

// The connections to the file that this process has open.
int Connections(const std::string& path) {
  int found = 0;
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the iterator's own
    found += std::filesystem::read_symlink(fd.path(), gone) == path ? 1 : 0;
  }
  return found;
}

TEST_F(LedgerTest, AReadDoesNotWaitForAWriteAndSeesNothingOfIt) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  auto count = [&](size_t* seen) {
    return ledger.Read([seen](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto all, tx.Attachments());
      *seen = all.size();
      return Status();
    });
  };
  size_t before = 9, meanwhile = 9, after = 9;
  EXPECT_TRUE(count(&before).ok());
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(Connections(path()), 1) << "a second one takes time, and nobody writes";
  Status s = ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) -> Status {
    DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("a")));
    Status read;
    std::thread([&] { read = count(&meanwhile); }).join();
    return read;
  });
  ASSERT_TRUE(s.ok()) << s.message();
  EXPECT_EQ(meanwhile, 0u);
  EXPECT_TRUE(count(&after).ok());
  EXPECT_EQ(after, 1u);
}

TEST_F(LedgerTest, ItsLogGrowsAsFarAsItsStoreSays) {
  struct ShortLog : Store {
    int LogPages() override { return 8; }
  } shortly;
  auto log_bytes = [&](Store* store, const std::string& at) {
    env_.store = store;
    Ledger ledger(env_, at);
    EXPECT_TRUE(ledger.Open().ok());
    for (int i = 0; i < 60; ++i) {
      Status s = ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) -> Status {
        return tx.PutAttachment(Attachment(std::to_string(i)));
      });
      EXPECT_TRUE(s.ok()) << s.message();
    }
    return std::filesystem::file_size(at + "-wal");
  };
  const auto usual = log_bytes(Store::Real(), path()), small = log_bytes(&shortly, dir_ + "/short.db");
  EXPECT_GT(usual, 3 * small) << small;
}

TEST_F(LedgerTest, AReadThatFailsIsInNobodysWay) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  Status read = ledger.Read([](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(int64_t count, tx.Count("SELECT count(*) FROM nothing_of_the_kind"));
    return count == 0 ? Status() : Status(Code::kInternal, "there is something");
  });
  EXPECT_FALSE(read.ok());
  Status s = ledger.Apply(Commit::intent, false,
                          [&](LedgerTx& tx) -> Status { return tx.PutAttachment(Attachment("a")); });
  EXPECT_TRUE(s.ok()) << s.message();
}

TEST_F(LedgerTest, ConcurrentCommitsAreEachWholeAndFailAlone) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k) {
        std::string name = std::to_string(i) + "-" + std::to_string(k);
        Status s = ledger.Apply(Commit::intent, k % 2 == 0, [&](LedgerTx& tx) -> Status {
          DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment(name)));
          if (k % 10 == 4) return Status(Code::kRefused, "no");
          if (k % 10 == 9) throw std::runtime_error("no");
          return Status();
        });
        if (!s.ok()) ++failed;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(failed, 8 * 4);
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    EXPECT_EQ(tx.Attachments()->size(), 8u * 16u);
                    return Status();
                  })
                  .ok());
}

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

TEST_F(LedgerTest, RecordsAreBoundedAndFoundByVolumeAndScope) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  for (int i = 0; i < 30; ++i) {
    RecordRow r;
    r.operation = "op" + std::to_string(i), r.kind = "prepare", r.owner = "run",
    r.scope = "s" + std::to_string(i);
    r.outcome = "ok", r.body = "{}";
    ASSERT_TRUE(ledger
                    .Apply(Commit::intent, false,
                           [&](LedgerTx& tx) {
                             return tx.PutRecord(r, {{"d", i % 2 == 0 ? "even" : "odd"}}, 10);
                           })
                    .ok());
  }
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    EXPECT_EQ(tx.Records("", "", "", "", 100)->size(), 10u);
                    EXPECT_EQ(tx.Records("", "", "d", "odd", 100)->size(), 5u);
                    EXPECT_EQ(tx.Records("", "", "", "even", 1)->at(0).operation, "op28");
                    EXPECT_EQ(tx.Records("", "s29", "", "", 5)->size(), 1u);
                    EXPECT_EQ(tx.Records("op3", "", "", "", 5)->size(), 0u) << "older than the bound";
                    EXPECT_EQ(tx.Records("", "", "", "ven", 5)->size(), 0u) << "no part of a name";
                    int64_t seq = tx.Records("", "", "d", "odd", 1)->at(0).seq;
                    EXPECT_EQ(tx.Records("", "", "d", "odd", 1, {-1, 1})->at(0).operation, "op27");
                    auto rest = tx.Records("", "", "", "", 100, {seq - 3});
                    EXPECT_EQ(rest->size(), 3u);
                    EXPECT_EQ(rest->at(0).operation, "op27") << "oldest first";
                    EXPECT_EQ(tx.Records("", "", "", "", 1, {0, 9})->at(0).operation, "op29");
                    EXPECT_EQ(tx.Records("", "", "d", "odd", 9, {seq - 3})->size(), 2u);
                    EXPECT_EQ(tx.Records("op28", "", "", "", 1, {seq})->size(), 0u);
                    EXPECT_EQ(tx.Records("", "s28", "", "", 1, {0})->size(), 1u);
                    return Status();
                  })
                  .ok());
}

TEST_F(LedgerTest, AnEffectThatWasPassedOnIsNotDeletedForOneThatHadItsPlace) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  auto folder = [](const char* operation, int64_t seq, const char* path) {
    EffectRow e;
    e.operation = operation, e.seq = seq, e.kind = kFolder, e.path = path;
    return e;
  };
  ASSERT_TRUE(ledger
                  .Apply(Commit::intent, false,
                         [&](LedgerTx& tx) -> Status {
                           for (const char* id : {"one", "two"}) {
                             OperationRow o;
                             o.id = id, o.owner = "run", o.scope = id, o.state = kUndoing;
                             DVDI_RETURN_IF_ERROR(tx.PutOperation(o));
                           }
                           EffectRow had = folder("one", 1, "/srv/a");
                           DVDI_RETURN_IF_ERROR(tx.PutEffect(had));
                           DVDI_RETURN_IF_ERROR(tx.PutEffect(folder("two", 1, "/srv/b")));
                           // `one` passes its last effect on, and is passed another one.
                           DVDI_RETURN_IF_ERROR(tx.PassEffect("one", 1, "two"));
                           DVDI_RETURN_IF_ERROR(tx.PassEffect("two", 1, "one"));
                           return tx.DeleteEffect(had);
                         })
                  .ok());
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    auto left = tx.Effects("one");
                    EXPECT_EQ(left->size(), 1u);
                    if (left->size() == 1) {
                      EXPECT_EQ(left->at(0).path, "/srv/b");
                      EXPECT_EQ(left->at(0).seq, 1) << "the same place, which is what this is about";
                    }
                    return Status();
                  })
                  .ok());
}

TEST_F(LedgerTest, WhatIsThrownInABodyEndsThatOneAlone) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  Status s = ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) -> Status {
    DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("x")));
    throw std::runtime_error("no luck");
  });
  EXPECT_EQ(s.code(), Code::kInternal);
  EXPECT_NE(s.message().find("no luck"), std::string::npos) << s.message();
  s = ledger.Read([](LedgerTx&) -> Status { throw std::runtime_error("no luck"); });
  EXPECT_EQ(s.code(), Code::kInternal);
  EXPECT_TRUE(
      ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) { return tx.PutAttachment(Attachment("y")); })
          .ok());
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    auto all = tx.Attachments();
                    EXPECT_EQ(all->size(), 1u) << "nothing of what threw is written";
                    if (all->size() == 1) EXPECT_EQ(all->at(0).name, "y");
                    return Status();
                  })
                  .ok());
}

}  // namespace
}  // namespace dvdi
