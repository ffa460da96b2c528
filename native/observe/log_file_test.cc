#include "observe/log_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "sys/sys.h"

namespace dvdi {
namespace {

class LogFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dvdi-log-test-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name, path_ = folder_ + "/audit.log";
    env_.sys = Sys::Real();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string Text(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  Env env_;
  std::string folder_, path_;
};

TEST_F(LogFileTest, IsMadeForRootAlone) {
  LogFile log(env_, path_, 1 << 20, 3);
  ASSERT_TRUE(log.Append("one\n").ok());
  ASSERT_TRUE(log.Append("two\nthree\n").ok());
  EXPECT_EQ(Text(path_), "one\ntwo\nthree\n");
  struct stat st = {};
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(LogFileTest, RotatesBySizeAndKeepsSoMany) {
  LogFile log(env_, path_, 20, 2);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(log.Append("line " + std::to_string(i) + "...\n").ok());
  EXPECT_EQ(Text(path_), "line 8...\nline 9...\n");
  EXPECT_EQ(Text(path_ + ".1"), "line 6...\nline 7...\n");
  EXPECT_EQ(Text(path_ + ".2"), "line 4...\nline 5...\n");
  EXPECT_FALSE(std::filesystem::exists(path_ + ".3"));
}

TEST_F(LogFileTest, ALineLargerThanTheFileIsWrittenAllTheSame) {
  LogFile log(env_, path_, 20, 2);
  ASSERT_TRUE(log.Append(std::string(100, 'x') + "\n").ok());
  ASSERT_TRUE(log.Append("after\n").ok());
  EXPECT_EQ(Text(path_), "after\n");
}

TEST_F(LogFileTest, SeveralProcessesLoseNoLineAndMixNone) {
  constexpr int kProcesses = 4, kLines = 2000;  // many: who has no lock at that moment rotates nothing
  for (int p = 0; p < kProcesses; ++p) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child != 0) continue;
    LogFile log(env_, path_, 4096, 200);
    bool ok = true;
    for (int i = 0; i < kLines; ++i)
      ok = log.Append(std::to_string(p) + ":" + std::to_string(i) + ":" + std::string(40, 'a' + p) + "\n")
               .ok() &&
           ok;
    ::_exit(ok ? 0 : 1);
  }
  for (int p = 0; p < kProcesses; ++p) {
    int status = 0;
    ASSERT_GT(::wait(&status), 0);
    EXPECT_EQ(status, 0);
  }
  std::set<std::string> lines;
  int files = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder_)) {
    if (file.path().extension() == ".lock") continue;
    ++files;
    std::ifstream in(file.path());
    for (std::string line; std::getline(in, line);) {
      EXPECT_EQ(line.substr(line.rfind(':') + 1), std::string(40, static_cast<char>('a' + line[0] - '0')))
          << line;
      EXPECT_TRUE(lines.insert(line).second) << line;
    }
  }
  EXPECT_EQ(lines.size(), static_cast<size_t>(kProcesses * kLines));
  EXPECT_GT(files, 10);
}

TEST_F(LogFileTest, AFileThatOthersCanReadOrThatIsASymlinkIsRefused) {
  std::ofstream(path_) << "old\n";
  ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
  LogFile log(env_, path_, 1 << 20, 3);
  Status s = log.Append("new\n");
  EXPECT_EQ(s.code(), Code::kRefused);
  EXPECT_NE(s.hint().find("chmod 0600"), std::string::npos) << s.hint();
  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  EXPECT_TRUE(log.Append("new\n").ok());  // at once, without being opened anew
  EXPECT_EQ(Text(path_), "old\nnew\n");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(path_.c_str(), 1234, 0), 0);
    EXPECT_EQ(LogFile(env_, path_, 1 << 20, 3).Append("told to 1234\n").code(), Code::kRefused);
    ASSERT_EQ(::chown(path_.c_str(), 0, 0), 0);
  }
  std::filesystem::rename(path_, folder_ + "/elsewhere");
  std::filesystem::create_symlink(folder_ + "/elsewhere", path_);
  EXPECT_FALSE(log.Append("through\n").ok());
  EXPECT_EQ(Text(folder_ + "/elsewhere"), "old\nnew\n");
}

TEST_F(LogFileTest, AFileThatWasMovedAwayIsMadeAnew) {
  LogFile log(env_, path_, 1 << 20, 3);
  ASSERT_TRUE(log.Append("one\n").ok());
  std::filesystem::rename(path_, folder_ + "/moved");
  ASSERT_TRUE(log.Append("two\n").ok());
  EXPECT_EQ(Text(path_), "two\n");
  EXPECT_EQ(Text(folder_ + "/moved"), "one\n");
}

// Writes so much and then half of what it is asked for, as a disk does that fills up.
class FullSys : public Sys {
 public:
  ssize_t Write(int fd, const void* data, size_t n) override {
    return Sys::Write(fd, data, std::exchange(short_, false) ? n / 2 : n);
  }
  bool short_ = false;
};

TEST_F(LogFileTest, ALineThatWasCutDoesNotSpoilTheNext) {
  FullSys sys;
  env_.sys = &sys;
  LogFile log(env_, path_, 1 << 20, 3);
  sys.short_ = true;
  EXPECT_FALSE(log.Append("abcdefg\n").ok());
  EXPECT_TRUE(log.Append("next\n").ok());
  EXPECT_EQ(Text(path_), "abcd\nnext\n");
}

}  // namespace
}  // namespace dvdi
