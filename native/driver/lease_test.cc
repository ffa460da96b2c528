#include "driver/lease.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "driver/files.h"
#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::Names;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

class LeaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto fd = OpenFolder(AT_FDCWD, dir_.path());
    ASSERT_TRUE(fd.ok());
    fd_ = std::move(*fd);
    a_ = Node("A");
    b_ = Node("B");
  }
  static Holder Node(const std::string& name) {
    auto h = Holder::Self(name);
    EXPECT_TRUE(h.ok());
    if (h->machine.empty()) h->machine = "m1";
    return *h;
  }
  std::vector<std::string> Files() {
    auto names = Names(dir_.path());
    std::sort(names.begin(), names.end());
    return names;
  }
  LeaseFile File() { return LeaseFile(fd_.get(), "v", dir_.path(), "A"); }

  TempDir dir_;
  UniqueFd fd_;
  Holder a_, b_;
};

TEST_F(LeaseTest, OneNodeAtATimeAndTheRefusalNamesIt) {
  auto lease = File().Acquire(a_);
  ASSERT_TRUE(lease.ok()) << lease.status().message();
  EXPECT_EQ(lease->generation, 1u);
  auto refused = File().Acquire(b_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kRefused);
  EXPECT_NE(refused.status().hint().find("dvdi fence DRIVER/v"), std::string::npos);
  EXPECT_NE(refused.status().message().find("volume v is in use on node A since " + lease->since),
            std::string::npos)
      << refused.status().message();
  ASSERT_TRUE(File().Release(*lease, true).ok());
  EXPECT_TRUE(File().Acquire(b_).ok());
}

TEST_F(LeaseTest, TheGenerationOnlyRises) {
  for (uint64_t i = 1; i <= 5; ++i) {
    auto lease = File().Acquire(i % 2 == 0 ? a_ : b_);
    ASSERT_TRUE(lease.ok());
    EXPECT_EQ(lease->generation, i);
    if (i == 3) {
      // By an operator's hand.
      WriteFile(dir_ / "released.3", "{\"clean\":false}");
      EXPECT_FALSE(File().ReadGeneration()->clean);
    } else {
      ASSERT_TRUE(File().Release(*lease, true).ok());
    }
  }
  EXPECT_EQ(Files(), (std::vector<std::string>{"lease.5", "released.5"}));
}

TEST_F(LeaseTest, CleanTellsHowTheLastHolderWent) {
  auto lease = File().Acquire(a_);
  ASSERT_TRUE(lease.ok());
  EXPECT_FALSE(File().ReadGeneration()->clean);
  ASSERT_TRUE(File().Release(*lease, true).ok());
  EXPECT_TRUE(File().ReadGeneration()->clean);
  lease = File().Acquire(a_);
  ASSERT_TRUE(File().Release(*lease, false).ok());
  EXPECT_FALSE(File().ReadGeneration()->clean);
}

TEST_F(LeaseTest, ADamagedLeaseCountsAsHeld) {
  for (const char* text :
       {"", "{", "null", "[]", "{}", "{\"format\":1,\"node\":\"A\"}",
        "{\"format\":2,\"node\":\"A\",\"generation\":4,\"since\":\"x\",\"boot_id\":\"b\",\"pid\":1,"
        "\"start_time\":1,\"lease_ms\":0}",
        // Of another number; with a session that leads out of its folder.
        "{\"format\":1,\"node\":\"A\",\"generation\":3,\"since\":\"x\",\"boot_id\":\"b\",\"pid\":1,"
        "\"start_time\":1,\"lease_ms\":0}",
        "{\"format\":1,\"node\":\"A\",\"generation\":4,\"since\":\"x\",\"boot_id\":\"b\",\"pid\":1,"
        "\"start_time\":1,\"lease_ms\":0,\"session\":\"../../etc/passwd\"}"}) {
    WriteFile(dir_ / "lease.4", text);
    auto r = File().Acquire(a_);
    ASSERT_FALSE(r.ok()) << text;
    EXPECT_EQ(r.status().code(), Code::kRefused);
    EXPECT_NE(r.status().hint().find(dir_ / "released.4"), std::string::npos);
    EXPECT_EQ(ReadFile(dir_ / "lease.4"), text);
  }
  // What the hint says helps.
  WriteFile(dir_ / "released.4", "{\"clean\":false}");
  auto lease = File().Acquire(a_);
  ASSERT_TRUE(lease.ok()) << lease.status().message();
  EXPECT_EQ(lease->generation, 5u);
}

TEST_F(LeaseTest, TheNextNumberIsTakenOnceWhoeverHasThisOne) {
  auto old = File().Acquire(a_);
  ASSERT_TRUE(old.ok());
  auto next = File().TakeNext(old->generation, b_, true);
  ASSERT_TRUE(next.ok()) << next.status().message();
  EXPECT_TRUE((*File().Read())->fencing);
  EXPECT_FALSE(File().TakeNext(old->generation, Node("C")).ok());
  // What the old holder does late changes nothing.
  EXPECT_EQ(File().Release(*old, true).code(), Code::kRefused);
  WriteFile(dir_ / "lease.1", "late");
  WriteFile(dir_ / "released.1", "late");
  EXPECT_EQ((*File().Read())->holder.node, "B");
  EXPECT_FALSE(File().Acquire(Node("C")).ok());
  ASSERT_TRUE(File().Release(*next, false).ok());
  EXPECT_FALSE(File().ReadGeneration()->clean);
  EXPECT_TRUE(File().Acquire(Node("C")).ok());
}

// A listing from a network filesystem's cache may be old: a number that was swept away is not taken again.
TEST_F(LeaseTest, ANumberThatWasSweptAwayIsNotTakenAgain) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(File().Release(*File().Acquire(a_), true).ok());
  ASSERT_FALSE(Exists(dir_ / "lease.2"));
  auto stale = File().TakeNext(1, b_);
  ASSERT_FALSE(stale.ok());
  EXPECT_EQ(Files(), (std::vector<std::string>{"lease.3", "released.3"}));
}

TEST_F(LeaseTest, AnEarlierBootOfTheNodeIsTakenOver) {
  Holder before = a_;
  before.boot_id = "00000000-0000-0000-0000-000000000000";
  auto old = File().Acquire(before);
  ASSERT_TRUE(old.ok());
  auto now = File().Acquire(a_);
  ASSERT_TRUE(now.ok()) << now.status().message();
  EXPECT_TRUE(now->taken_over);
  EXPECT_EQ(now->generation, old->generation + 1);
  EXPECT_EQ((*File().Read())->holder.boot_id, a_.boot_id);
}

// What an earlier version has written where a container has a boot id of its own.
TEST_F(LeaseTest, ThisBootUnderTheIdThatIsMountedOverItIsNoEarlierOne) {
  Holder before = a_, other = a_;
  before.boot_id = "container's";
  before.pid = ::getppid();
  ASSERT_EQ(Sys::Real()->ProcessStart(before.pid, &before.start_time), 0);
  ASSERT_TRUE(File().Acquire(before).ok());
  a_.boot_id.also = "container's";
  EXPECT_EQ(File().Acquire(a_).status().code(), Code::kRefused) << "its process lives";
  EXPECT_TRUE(File().Acquire(other).ok());
}

TEST_F(LeaseTest, ADeadProcessOfTheNodeIsTakenOverALiveOneIsNot) {
  Holder other = a_;
  other.pid = ::getppid();
  ASSERT_EQ(Sys::Real()->ProcessStart(other.pid, &other.start_time), 0);
  ASSERT_TRUE(File().Acquire(other).ok());
  auto refused = File().Acquire(a_);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("same node id"), std::string::npos);
  // The same pid, of a process that started at another time, is not the holder.
  other.start_time += 1;
  WriteFile(dir_ / "released.1", "{}");
  ASSERT_TRUE(File().Acquire(other).ok());
  EXPECT_TRUE(File().Acquire(a_).ok());
}

// Its number means another process here, or none.
TEST_F(LeaseTest, AProcessOfAnotherPidNamespaceIsTakenOverOnlyWithItsMountRoot) {
  a_.lock = "8:1 5";
  Holder other = a_;
  other.pid = 0x7ffffff0, other.pid_namespace = a_.pid_namespace + 1, other.lock = "8:1 6";
  ASSERT_TRUE(File().Acquire(other).ok());
  auto refused = File().Acquire(a_);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("another PID namespace"), std::string::npos);
  EXPECT_NE(refused.status().hint().find("released.1 with"), std::string::npos) << refused.status().hint();
  EXPECT_EQ((*File().Read())->holder.lock, "8:1 6");
  other.lock = "";
  WriteFile(dir_ / "released.1", "{}");
  ASSERT_TRUE(File().Acquire(other).ok());
  EXPECT_FALSE(File().Acquire(a_).ok());
  // It is gone: its lock is ours. In a container that starts anew it may have had our own number, too.
  other.lock = a_.lock, other.pid = a_.pid, other.start_time = a_.start_time;
  WriteFile(dir_ / "released.2", "{}");
  ASSERT_TRUE(File().Acquire(other).ok());
  EXPECT_TRUE(File().Acquire(a_).ok());
  // As an earlier driver wrote it: then its number is all that there is.
  other = a_;
  other.pid = 0x7ffffff0, other.pid_namespace = 0;
  WriteFile(dir_ / "released.4", "{}");
  ASSERT_TRUE(File().Acquire(other).ok());
  EXPECT_TRUE(File().Acquire(a_).ok());
}

// A node that has another name since its driver was started anew has what it had under the old one.
TEST_F(LeaseTest, WhoHadOurMountRootIsTakenOverWhateverItsNodeWasCalled) {
  a_.lock = "8:1 5", a_.machine = "m";
  Holder named = a_;
  named.node = "earlier", named.pid = 0x7ffffff0;
  ASSERT_TRUE(File().Acquire(named).ok());
  auto taken = File().Acquire(a_);
  ASSERT_TRUE(taken.ok()) << taken.status().message();
  EXPECT_TRUE(taken->taken_over);
  // Of another mount root, boot or machine the name is all that tells. And who lives may be at work still.
  for (const char* what : {"lock", "boot", "machine"}) {
    auto last = File().Read();
    ASSERT_TRUE(last.ok() && last->has_value());
    ASSERT_OK(File().Release(**last, true));
    Holder other = named;
    (*what == 'l' ? other.lock : *what == 'm' ? other.machine : other.boot_id.id) = "another";
    ASSERT_TRUE(File().Acquire(other).ok());
    EXPECT_FALSE(File().Acquire(a_).ok()) << what;
  }
  auto last = File().Read();
  ASSERT_TRUE(last.ok() && last->has_value());
  ASSERT_OK(File().Release(**last, true));
  named.pid = 1;
  ASSERT_EQ(Sys::Real()->ProcessStart(1, &named.start_time), 0);
  ASSERT_TRUE(File().Acquire(named).ok());
  EXPECT_FALSE(File().Acquire(a_).ok());
}

TEST_F(LeaseTest, AZombieIsDead) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  Holder other = a_;
  other.pid = child;
  ASSERT_EQ(Sys::Real()->ProcessStart(child, &other.start_time), 0);
  ASSERT_TRUE(File().Acquire(other).ok());
  EXPECT_TRUE(File().Acquire(a_).ok());
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
}

TEST_F(LeaseTest, AnotherMachineWithTheSameIdIsNotTakenOver) {
  Holder twin = a_;
  twin.machine = "another";
  twin.boot_id = "00000000-0000-0000-0000-000000000000";
  ASSERT_TRUE(File().Acquire(twin).ok());
  auto refused = File().Acquire(a_);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("another machine"), std::string::npos);
}

TEST_F(LeaseTest, ALostLeaseIsNotReleased) {
  auto mine = File().Acquire(a_);
  ASSERT_TRUE(mine.ok());
  WriteFile(dir_ / "released.1", "{}");
  ASSERT_TRUE(File().Acquire(b_).ok());
  Status s = File().Release(*mine, true);
  EXPECT_EQ(s.code(), Code::kRefused);
  EXPECT_NE(s.message().find("lost to node B"), std::string::npos);
  EXPECT_EQ((*File().Read())->holder.node, "B");
}

TEST_F(LeaseTest, OfManyAtOnceOneGetsItAndNumbersAreNeverUsedTwice) {
  constexpr int kNodes = 8, kRounds = 40;
  std::atomic<int> holders{0};
  std::atomic<bool> overlap{false};
  std::vector<std::vector<uint64_t>> numbers(kNodes);
  std::vector<std::thread> threads;
  for (int n = 0; n < kNodes; ++n)
    threads.emplace_back([&, n] {
      Holder self = Node("N" + std::to_string(n));
      for (int round = 0; round < kRounds; ++round) {
        auto lease = File().Acquire(self);
        if (!lease.ok()) continue;
        if (++holders != 1) overlap = true;
        numbers[n].push_back(lease->generation);
        --holders;
        if (!File().Release(*lease, true).ok()) overlap = true;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_FALSE(overlap);
  std::vector<uint64_t> all;
  for (auto& list : numbers) all.insert(all.end(), list.begin(), list.end());
  std::sort(all.begin(), all.end());
  EXPECT_FALSE(all.empty());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_EQ(Files().size(), 2u);
}

}  // namespace
}  // namespace dvdi
