// The ledger's file on real disks, and beside another ledger of the same process.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "ledger/ledger.h"
#include "mount/test_world.h"

namespace dvdi {
namespace {

class LedgerDiskTest : public MountTest {
 protected:
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

}  // namespace
}  // namespace dvdi
