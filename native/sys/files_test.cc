#include "sys/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

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

}  // namespace
}  // namespace dvdi
