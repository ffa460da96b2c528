// Counters and the audit log where the disk or the kernel refuses: counting goes on in memory, a line is in
// the log or its loss is told, and what cannot be had is named with its path.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "observe/counters.h"
#include "observe/log_file.h"
#include "sys/sys.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

class ObserveFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
    char name[] = "/tmp/dvdi-observe-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name, path_ = folder_ + "/file";
    env_.sys = Sys::Real(), env_.random = Random::Real(), env_.clock = Clock::Real();
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }
  static std::string Text(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  Env env_;
  std::string folder_, path_;
};

TEST_F(ObserveFaultsTest, CountersThatCannotBeKeptAreCountedInMemory) {
  if (!Counters::Open(env_, path_)->status().ok()) GTEST_SKIP() << "no counters on this filesystem";
  ::unlink(path_.c_str());
  struct Case {
    std::vector<CallFault> faults;
    bool made;  // the file is there already
    const char* message;
  };
  const Case kCases[] = {
      {{{{SYS_openat}, EACCES, 1}}, true, "cannot open PATH: Permission denied"},
      {{{{SYS_newfstatat}, EIO, 1}}, true, "cannot look at PATH: Input/output error"},
      {{{{SYS_fstatfs}, EIO, 1}}, true, "cannot look at the filesystem of PATH: Input/output error"},
      {{{{SYS_mmap}, ENODEV, 1}}, true, "cannot map PATH: No such device"},
      {{{{SYS_read}, EIO, 1}, {{SYS_unlinkat}, EPERM, 1}},
       true,
       "cannot remove what is no file of counters: PATH: Operation not permitted"},
      {{{{SYS_openat}, ENOSPC, 4}}, false, "cannot make PATH: No space left on device"},
      {{{{SYS_write}, ENOSPC, 1}}, false, "cannot make PATH: No space left on device"},
      {{{{SYS_linkat}, EPERM, 1}}, false, "cannot make PATH: Operation not permitted"},
      {{{{SYS_unlinkat}, EIO, 1}},
       false,
       "cannot remove the name that was used to make PATH: Input/output error"},
      {{{{SYS_openat}, ENOENT, 1}, {{SYS_openat}, ENOENT, 5}, {{SYS_openat}, ENOENT, 9}},
       true,
       "cannot make PATH: it is replaced again and again"},
  };
  for (const Case& c : kCases) {
    if (NeedsEveryMmap() && c.faults[0].calls[0] == SYS_mmap) continue;
    if (c.made) Counters::Open(env_, path_);
    std::unique_ptr<Counters> counters;
    EXPECT_TRUE(WithCallFaults(c.faults, [&] { counters = Counters::Open(env_, path_); })) << c.message;
    std::string expected = c.message;
    expected.replace(expected.find("PATH"), 4, path_);
    EXPECT_EQ(expected, counters->status().message());
    EXPECT_EQ(path_, counters->status().path());
    counters->Add("a", 3);
    EXPECT_EQ(3u, counters->Read()["a"]);
    EXPECT_TRUE(Counters::Open(env_, path_)->status().ok()) << "and the next one has its file";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
  }
  // Without memory nothing is counted, and nobody is harmed.
  if (NeedsEveryMmap()) return;
  ASSERT_TRUE(Counters::Open(env_, path_)->status().ok());
  const size_t bytes = Text(path_).size();
  std::vector<std::unique_ptr<char[]>> held(4096);
  rlimit before;
  ASSERT_EQ(0, ::getrlimit(RLIMIT_AS, &before));
  const rlimit no_more = {0, before.rlim_max};
  ASSERT_EQ(0, ::setrlimit(RLIMIT_AS, &no_more));
  for (auto& block : held) block.reset(new (std::nothrow) char[bytes]);  // what the heap has of such
  EXPECT_EQ(nullptr, held.back());
  std::unique_ptr<Counters> none = Counters::Open(env_, folder_ + "/missing/counters");
  ASSERT_EQ(0, ::setrlimit(RLIMIT_AS, &before));
  none->Add("a");
  EXPECT_TRUE(none->Read().empty());
  EXPECT_EQ(0u, none->lost());
}

TEST_F(ObserveFaultsTest, AFileThatIsNoneOfCountersIsMadeAnew) {
  if (!Counters::Open(env_, path_)->status().ok()) GTEST_SKIP() << "no counters on this filesystem";
  const std::string sound = Text(path_);
  for (size_t at : {size_t{0}, size_t{8}, size_t{12}}) {  // the magic, the slots, the size of one
    std::string other = sound;
    other[at] ^= 1;
    std::ofstream(path_, std::ios::binary) << other;
    auto counters = Counters::Open(env_, path_);
    EXPECT_TRUE(counters->status().ok()) << counters->status().message();
    EXPECT_EQ(sound.substr(0, 16), Text(path_).substr(0, 16));
  }
  std::filesystem::resize_file(path_, 100);
  EXPECT_TRUE(Counters::Open(env_, path_)->status().ok());
  EXPECT_EQ(sound.size(), Text(path_).size());
  ASSERT_EQ(0, ::chmod(path_.c_str(), 0644));
  EXPECT_TRUE(Counters::Open(env_, path_)->status().ok());
  struct stat st;
  ASSERT_EQ(0, ::stat(path_.c_str(), &st));
  EXPECT_EQ(0600u, st.st_mode & 0777) << "others could have written it";
}

// Each line is in the log, or whoever wrote it was told.
TEST_F(ObserveFaultsTest, ALineIsThereOrItsLossIsTold) {
  const std::vector<long> calls = {SYS_openat, SYS_newfstatat, SYS_write, SYS_fcntl, SYS_renameat};
  for (int err : {EIO, ENOSPC, EINTR}) {
    int nth = 1;
    for (;; ++nth) {
      std::filesystem::remove_all(folder_);
      std::filesystem::create_directory(folder_);
      Status status[4];
      bool failed = WithCallFaults({{calls, err, nth}}, [&] {
        LogFile log(env_, path_, 20, 2);
        for (int i = 0; i < 4; ++i) status[i] = log.Append("line " + std::to_string(i) + "..\n");
      });
      const std::string all = Text(path_ + ".2") + Text(path_ + ".1") + Text(path_);
      for (int i = 0; i < 4; ++i) {
        const std::string& why = status[i].message();
        bool there = all.find("line " + std::to_string(i) + "..\n") != std::string::npos;
        EXPECT_TRUE(there || !status[i].ok()) << i << ": " << all;
        if (!status[i].ok()) {
          EXPECT_NE(std::string::npos, why.find(path_)) << why;
        }
        if (!status[i].ok()) {
          EXPECT_EQ(err, status[i].error_number()) << why;
        }
      }
      if (!failed) break;
    }
    EXPECT_GE(nth, 10);
  }
}

TEST_F(ObserveFaultsTest, ALogOfOthersIsNotWritten) {
  LogFile log(env_, path_, 1 << 20, 2);
  std::filesystem::create_directory(path_);
  EXPECT_FALSE(log.Append("x\n").ok());
  std::filesystem::remove(path_);
  ASSERT_EQ(0, ::mkfifo(path_.c_str(), 0600));
  EXPECT_FALSE(log.Append("x\n").ok());
  std::filesystem::remove(path_);
  std::ofstream(path_) << "";
  ASSERT_EQ(0, ::chmod(path_.c_str(), 0600));
  if (::chown(path_.c_str(), 1234, 0) == 0) {
    Status status = log.Append("x\n");
    EXPECT_EQ(Code::kRefused, status.code());
    EXPECT_NE(std::string::npos, status.hint().find("chown root " + path_));
  }
  std::filesystem::remove(path_);
  // A lock that cannot be had: the line is written, and the file grows.
  LogFile small(env_, path_, 4, 2);
  EXPECT_TRUE(small.Append("one\n").ok());
  EXPECT_TRUE(WithCallFaults({{{SYS_fcntl}, EAGAIN, 1}}, [&] { EXPECT_TRUE(small.Append("two\n").ok()); }));
  EXPECT_EQ("one\ntwo\n", Text(path_));
}

}  // namespace
}  // namespace dvdi
