// The ledger's file on real disks: full ones, of all kinds, and beside another ledger of the same process.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "base/fd.h"
#include "base/path.h"
#include "ledger/ledger.h"
#include "mount/test_world.h"

namespace dvdi {
namespace {

class LedgerDiskTest : public MountTest {
 protected:
  static Status Write(Ledger& ledger, Commit commit, size_t bytes) {
    return ledger.Apply(commit, true, [&](LedgerTx& tx) {
      RecordRow r;
      r.operation = "o", r.body = std::string(bytes, 'x');
      return tx.PutRecord(r, {}, 10'000);
    });
  }
  static Status Look(Ledger& ledger) {
    return ledger.Read([](LedgerTx& tx) { return tx.Attachments().status(); });
  }
  // A btrfs in an image on a loop device, mounted there.
  std::string MakeBtrfs(const std::string& name) {
    std::string image = MakeFile(name + ".img", ""), path = MakeDir(name);
    EXPECT_EQ(0, ::truncate(image.c_str(), 128 << 20));
    EXPECT_EQ(0, RunProgram({"mkfs.btrfs", "-q", image}));
    EXPECT_EQ(0, RunProgram({"mount", "-t", "btrfs", "-o", "loop", image, path}));
    return path;
  }
  // Writes until nothing more fits, also once all that was written before is on the disk; why it does not.
  static int Fill(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::string bytes(64 << 10, 'x');
    int err = 0;
    for (int round = 0; round < 4; ++round) {
      for (size_t n = bytes.size(); n >= 4096; n /= 2)
        while (::write(fd.get(), bytes.data(), n) > 0) {
        }
      err = errno;
      ::syncfs(fd.get());
    }
    return err;
  }
  // Whether this process has SQLite's lock of an open file (file format, "Locking"), as another one sees it.
  static bool IsLocked(const std::string& path) {
    const pid_t other = ::fork();
    if (other == 0) {
      struct flock lock = {};
      lock.l_type = F_WRLCK, lock.l_start = 0x40000002, lock.l_len = 510;
      const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
      ::_exit(::fcntl(fd, F_GETLK, &lock) == 0 ? lock.l_type != F_UNLCK : 2);
    }
    int status = 0;
    EXPECT_EQ(other, ::waitpid(other, &status, 0));
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 1;
  }
};

// btrfs needs room for a store to a page that it has: SQLite's index would end this process by SIGBUS.
TEST_F(LedgerDiskTest, AFullDiskThatWritesElsewhereEndsNoProcess) {
  if (!HasProgram("mkfs.btrfs")) GTEST_SKIP() << "needs mkfs.btrfs";
  for (const bool quota : {false, true}) {
    SCOPED_TRACE(quota ? "quota" : "disk");
    std::string folder = MakeBtrfs(quota ? "quota" : "disk");
    if (quota) {
      folder += "/state";
      ASSERT_EQ(0, RunProgram({"btrfs", "quota", "enable", ParentOf(folder)}));
      ASSERT_EQ(0, RunProgram({"btrfs", "subvolume", "create", folder}));
      ASSERT_EQ(0, RunProgram({"btrfs", "qgroup", "limit", "8M", folder}));
    }
    Env env = TestEnv();
    Ledger ledger(env, folder + "/ledger.db");
    ASSERT_TRUE(ledger.Open().ok());
    ASSERT_TRUE(Write(ledger, Commit::recorded, 100).ok());
    ASSERT_TRUE(ledger.KeepReserve().ok());
    EXPECT_EQ(quota ? EDQUOT : ENOSPC, Fill(folder + "/filler"));
    if (uint64_t free = 0; !quota) {
      EXPECT_EQ(0, env.sys->FsFree(folder.c_str(), &free));
      EXPECT_LT(free, static_cast<uint64_t>(Reserve::kBytes)) << "it is said to be full";
    }
    EXPECT_TRUE(Look(ledger).ok());
    Status s;
    for (int i = 0; i < 1000 && s.ok(); ++i) s = Write(ledger, Commit::intent, 20'000);
    EXPECT_FALSE(s.ok());
    EXPECT_EQ("make room on the filesystem of the state folder", s.hint()) << s.message();
    EXPECT_TRUE(ledger.HasReserve()) << "it is for what ends";
    EXPECT_TRUE(Look(ledger).ok());
    for (int i = 0; i < 3; ++i) {
      s = Write(ledger, Commit::released, 100);
      EXPECT_TRUE(s.ok()) << s.message();
    }
    EXPECT_FALSE(ledger.HasReserve());
    Ledger next(env, folder + "/ledger.db");
    EXPECT_TRUE(next.Open().ok()) << "who comes to end more";
    EXPECT_TRUE(Write(next, Commit::released, 100).ok());
  }
}

// Without its lock another process takes itself for the last that closes the file, and removes the log.
TEST_F(LedgerDiskTest, ASecondLedgerOfOneProcessTakesNoLockFromTheFirst) {
  Env env = TestEnv();
  const std::string path = Path("ledger.db");
  Ledger first(env, path);
  ASSERT_TRUE(first.Open().ok());
  ASSERT_TRUE(IsLocked(path));
  Ledger second(env, path);
  ASSERT_TRUE(second.Open().ok());
  EXPECT_TRUE(IsLocked(path));
  second.Close();
  EXPECT_TRUE(IsLocked(path));
}

TEST_F(LedgerDiskTest, WhatCannotBeWrittenIsNotTakenForDamaged) {
  const std::string folder = MakeTmpfs("state");
  Env env = TestEnv();
  const std::string path = folder + "/ledger.db";
  // The one that makes it leaves no log, the next one does.
  for (int i = 0; i < 2; ++i) {
    Ledger ledger(env, path);
    ASSERT_TRUE(ledger.Open().ok());
    ledger.Close();
    ASSERT_EQ(0, RunProgram({"mount", "-o", "remount,ro", folder}));
    const Status s = ledger.Open();
    EXPECT_EQ("cannot write to the ledger " + path + ": Read-only file system", s.message());
    EXPECT_EQ("", ledger.note());
    ASSERT_EQ(0, RunProgram({"mount", "-o", "remount,rw", folder}));
  }
}

TEST_F(LedgerDiskTest, OneThatIsBegunAnewIsForItsOwnerAloneToo) {
  Env env = TestEnv();
  MakeFile("ledger.db", std::string(8192, 'x'));
  const mode_t was = ::umask(0);
  Ledger ledger(env, Path("ledger.db"));
  EXPECT_TRUE(ledger.Open().ok());
  ::umask(was);
  ASSERT_TRUE(ledger.rebuilt());
  for (const char* name : {"ledger.db", "ledger.db-wal", "ledger.db-shm"}) {
    struct stat st = {};
    ASSERT_EQ(0, ::stat(Path(name).c_str(), &st)) << name;
    EXPECT_EQ(0600u, st.st_mode & 07777) << name;
  }
}

// What is sorted, or kept for a rollback, needs no other disk than that of the state folder.
TEST_F(LedgerDiskTest, NeedsNoRoomForTemporaryFiles) {
  const std::string folder = MakeTmpfs("tmp", "size=64k");
  Fill(folder + "/filler");
  Env env = TestEnv();
  Ledger ledger(env, Path("ledger.db"));
  ASSERT_TRUE(ledger.Open().ok());
  constexpr int kScopes = 2000;
  ASSERT_TRUE(ledger
                  .Apply(Commit::rebuilt, false,
                         [&](LedgerTx& tx) {
                           OperationRow o;
                           o.owner = "agent", o.state = kCommitted, o.answer = std::string(2000, 'x');
                           for (int i = 0; i < kScopes; ++i) {
                             o.id = o.scope = std::to_string(i);
                             DVDI_RETURN_IF_ERROR(tx.PutOperation(o));
                           }
                           return Status();
                         })
                  .ok());
  sqlite3_temp_directory = const_cast<char*>(folder.c_str());
  const Status s = ledger.Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(auto rows, tx.Operations());
    EXPECT_EQ(static_cast<size_t>(kScopes), rows.size());
    return Status();
  });
  sqlite3_temp_directory = nullptr;
  EXPECT_TRUE(s.ok()) << s.message();
}

}  // namespace
}  // namespace dvdi
