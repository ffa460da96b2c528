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

}  // namespace
}  // namespace dvdi
