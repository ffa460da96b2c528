#include "ledger/reserve.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "ledger/ledger.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

class WithoutRoom : public Sys {
 public:
  explicit WithoutRoom(int err) : err_(err) {}
  int Allocate(int, int64_t) override { return -err_; }

 private:
  const int err_;
};

class ReserveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dvdi-reserve-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string path() const { return dir_ + "/reserve"; }
  std::string dir_;
  Env env_ = SystemEnv();
};

struct stat Look(const std::string& path) {
  struct stat st = {};
  EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
  return st;
}

TEST_F(ReserveTest, HasRoomOnTheDiskUntilItIsSpent) {
  Reserve reserve(env_, path());
  ASSERT_TRUE(reserve.Keep().ok());
  const struct stat st = Look(path());
  EXPECT_EQ(st.st_size, Reserve::kBytes);
  EXPECT_GE(st.st_blocks * 512, Reserve::kBytes) << "a size alone keeps no room";
  EXPECT_EQ(st.st_mode & 07777, 0600);
  ASSERT_TRUE(reserve.Keep().ok());
  EXPECT_EQ(Look(path()).st_ino, st.st_ino) << "what is whole is left alone";
  EXPECT_TRUE(reserve.Spend());
  EXPECT_FALSE(std::filesystem::exists(path()));
  EXPECT_FALSE(reserve.Spend());
}

TEST_F(ReserveTest, IsWrittenWhereTheFilesystemCannotAllocate) {
  for (const int err : {EOPNOTSUPP, ENOSYS}) {
    WithoutRoom sys(err);
    env_.sys = &sys;
    Reserve reserve(env_, path());
    ASSERT_TRUE(reserve.Keep().ok()) << err;
    EXPECT_EQ(Look(path()).st_size, Reserve::kBytes);
    EXPECT_TRUE(reserve.Spend());
  }
}

TEST_F(ReserveTest, ASignalDoesNotKeepItFromBeingWhole) {
  class Interrupted : public Sys {
   public:
    int Allocate(int fd, int64_t bytes) override { return ++calls < 3 ? -EINTR : Sys::Allocate(fd, bytes); }
    int calls = 0;
  } sys;
  env_.sys = &sys;
  EXPECT_TRUE(Reserve(env_, path()).Keep().ok());
  EXPECT_EQ(Look(path()).st_size, Reserve::kBytes);
}

TEST_F(ReserveTest, SaysThatThereIsNoRoomAndLeavesNoPart) {
  WithoutRoom sys(ENOSPC);
  env_.sys = &sys;
  Reserve reserve(env_, path());
  const Status s = reserve.Keep();
  EXPECT_EQ(s.code(), Code::kSystem);
  EXPECT_NE(s.message().find("No space left on device"), std::string::npos) << s.message();
  EXPECT_EQ(s.path(), path());
  EXPECT_TRUE(std::filesystem::is_empty(dir_));
}

// A ledger on a disk of its own that is full, again and again, with its reserve set aside.
class FullDiskTest : public ReserveTest {
 protected:
  // Calls `body` with a ledger that is open, on each full disk.
  void OnFullDisks(const std::function<void(Ledger& ledger)>& body) {
    std::thread(
        [&] {  // the mount is in a namespace of this thread and its children alone, and gone with them
          ASSERT_EQ(::unshare(CLONE_FS | CLONE_NEWNS), 0);
          ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
          ASSERT_EQ(::mount("small", dir_.c_str(), "tmpfs", 0, "size=8m"), 0);
          Ledger ledger(env_, ledger_path());
          ASSERT_TRUE(ledger.Open().ok());
          for (int round = 0; round < 30 && !HasFailure(); ++round) {
            std::filesystem::remove(dir_ + "/filler");
            ASSERT_TRUE(ledger.KeepReserve().ok());
            std::ofstream filler(dir_ + "/filler");
            for (const std::string bytes(4096, 'x'); filler.flush().good();) filler << bytes;
            ASSERT_FALSE(Write(ledger, Commit::intent).ok()) << "the disk is full";
            body(ledger);
          }
        })
        .join();
  }
  static Status Write(Ledger& ledger, Commit commit) {
    AttachmentRow a;
    a.id = "id", a.driver = "d", a.name = "x", a.state = kReleasing;
    return ledger.Apply(commit, false, [&](LedgerTx& tx) { return tx.PutAttachment(a); });
  }
  std::string ledger_path() const { return dir_ + "/ledger.db"; }
};

// One process may look whether the reserve can be kept anew while another one ends something in the room that
// it has made.
TEST_F(FullDiskTest, WhoLooksWhetherItCanBeKeptTakesNothingFromWhatEnds) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting a filesystem needs root";
  OnFullDisks([&](Ledger& ledger) {
    std::atomic<bool> over = false;
    std::thread looks([&] {
      Reserve reserve(env_, ledger_path() + ".reserve");
      while (!over) (void)reserve.Keep();
    });
    for (int i = 0; i < 10; ++i) {
      const Status s = Write(ledger, Commit::released);
      EXPECT_TRUE(s.ok()) << i << ": " << s.message();
    }
    over = true;
    looks.join();
  });
}

TEST_F(FullDiskTest, SeveralThatEndAtOnceAllHaveItsRoom) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting a filesystem needs root";
  OnFullDisks([&](Ledger&) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&] {
        Ledger other(env_, ledger_path());
        Status s = other.Open();
        EXPECT_TRUE(s.ok()) << "to open it: " << s.message();
        if (s.ok()) s = Write(other, Commit::released);
        EXPECT_TRUE(s.ok()) << s.message();
      });
    }
    for (auto& t : threads) t.join();
  });
}

}  // namespace
}  // namespace dvdi
