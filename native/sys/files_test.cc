#include "sys/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

TEST(OwnFolders, WhoIsNotRootIsToldThatRootIsNeeded) {
  char folder[] = "/tmp/dvdi-files-test-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  ASSERT_EQ(::chmod(folder, 0555), 0);
  const std::string path = std::string(folder) + "/state";
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(9);
    auto says = [](const Status& s) {
      return s.message().ends_with("Permission denied") && s.hint().find("root") != std::string::npos;
    };
    const bool both =
        says(EnsureOwnFolder(Sys::Real(), path)) && says(OpenOwnFolder(Sys::Real(), path, true).status());
    ::_exit(both ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(::rmdir(folder), 0);
}

// A umask that keeps others out of files is not to keep them from what lies beside a folder of ours.
TEST(OwnFolders, ParentsThatAreMadeAreForAllWhateverTheUmask) {
  char folder[] = "/tmp/dvdi-files-test-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string above = std::string(folder) + "/a", parent = above + "/b", own = parent + "/own";
  auto mode = [](const std::string& path) {
    struct stat st = {};
    EXPECT_EQ(0, ::stat(path.c_str(), &st)) << path;
    return st.st_mode & 07777;
  };
  for (const mode_t umask : {077, 027, 0}) {
    const mode_t before = ::umask(umask);
    const Status made = EnsureOwnFolder(Sys::Real(), own);
    ::umask(before);
    ASSERT_TRUE(made.ok()) << made.message();
    EXPECT_EQ(0700U, mode(folder)) << "it was there before";
    EXPECT_EQ(0755U, mode(above));
    EXPECT_EQ(0755U, mode(parent));
    EXPECT_EQ(0700U, mode(own));
    for (const std::string& path : {own, parent, above}) EXPECT_EQ(0, ::rmdir(path.c_str()));
  }
  EXPECT_EQ(0, ::rmdir(folder));
}

class OwnFilesTest : public ::testing::Test {
 protected:
  OwnFilesTest() {
    folder_ = std::filesystem::temp_directory_path() / "dvdi-files-test-XXXXXX";
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
  }
  ~OwnFilesTest() override { std::filesystem::remove_all(folder_); }
  std::string Write(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << text;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  std::string folder_;
};

TEST_F(OwnFilesTest, WhatOthersCouldHaveWrittenIsNotOurs) {
  const std::string path = Write("file", "text");
  for (const mode_t mode : {0600, 0640, 0644, 0604}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    EXPECT_EQ(ReadOwnFile(Sys::Real(), path).value(), "text") << std::oct << mode;
  }
  for (const mode_t mode : {0620, 0602, 0660, 0606}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    EXPECT_EQ(ReadOwnFile(Sys::Real(), path).status().code(), Code::kRefused) << std::oct << mode;
  }
  for (const mode_t mode : {0770, 0707}) {
    ASSERT_EQ(::chmod(folder_.c_str(), mode), 0);
    EXPECT_EQ(OpenOwnFolder(Sys::Real(), folder_, false).status().code(), Code::kRefused) << std::oct << mode;
    EXPECT_EQ(EnsureOwnFolder(Sys::Real(), folder_).code(), Code::kRefused) << std::oct << mode;
  }
  ASSERT_EQ(::chmod(folder_.c_str(), 0700), 0);
  if (::geteuid() != 0) GTEST_SKIP() << "to give a file away needs root";
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  ASSERT_EQ(::chown(path.c_str(), 4711, 4711), 0);
  EXPECT_EQ(ReadOwnFile(Sys::Real(), path).status().code(), Code::kRefused);
}

TEST_F(OwnFilesTest, AFileThatGrowsWhileItIsReadIsNotHadInPart) {
  struct Grows : Sys {
    std::string path;
    ssize_t Read(int fd, void* buffer, size_t n) override {
      std::ofstream(path, std::ios::app) << "more";
      return Sys::Read(fd, buffer, n);
    }
  } sys;
  sys.path = Write("file", "text");
  EXPECT_EQ(ReadOwnFile(&sys, sys.path).status().code(), Code::kRefused);
}

// A loss of power finds the old content or the new one, under the name.
TEST_F(OwnFilesTest, WhatReplacesAFileIsDurableBeforeItHasTheNameAndTheNameBehindIt) {
  struct Order : Sys {
    std::vector<std::string> calls;
    int Fsync(int fd) override {
      struct stat st = {};
      EXPECT_EQ(::fstat(fd, &st), 0);
      calls.push_back(S_ISDIR(st.st_mode) ? "fsync folder" : "fsync file");
      return Sys::Fsync(fd);
    }
    int RenameAt(int olddir, const char* from, int newdir, const char* to) override {
      calls.push_back("rename");
      return Sys::RenameAt(olddir, from, newdir, to);
    }
  } sys;
  Env env = SystemEnv();
  env.sys = &sys;
  const std::string path = Write("file", "old");
  const SysFd folder = OpenOwnFolder(&sys, folder_, false).value();
  ASSERT_TRUE(ReplaceFile(env, folder.get(), "file", "new", path, true).ok());
  EXPECT_EQ(sys.calls, (std::vector<std::string>{"fsync file", "rename", "fsync folder"}));
  EXPECT_EQ(ReadOwnFile(&sys, path).value(), "new");
}

TEST_F(OwnFilesTest, WhatSomebodyWritesNowIsNotSweptAndWhatADeadOneLeftIs) {
  const std::string left = Write(".file.1.tmp", "left"), written = Write(".file.2.tmp", "half of");
  const int fd = Sys::Real()->OpenAt(AT_FDCWD, written.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  ASSERT_GE(Sys::Real()->TryLock(fd), 0);
  const SysFd folder = OpenOwnFolder(Sys::Real(), folder_, false).value();
  ASSERT_TRUE(ReplaceFile(SystemEnv(), folder.get(), "file", "new", folder_ + "/file", false).ok());
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(written));
  Sys::Real()->Close(fd);
}

}  // namespace
}  // namespace dvdi
