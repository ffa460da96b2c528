// What the kernel refuses, seen through the seam: each call answers with its errno, and half an answer is
// none.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "base/fd.h"
#include "sys/env.h"
#include "sys/files.h"
#include "sys/sys.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

class SysFaultsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  }
  // Whether the call was made and failed; what `call` answered meanwhile in *answer.
  static bool Failing(long number, int err, const std::function<void()>& call) {
    return WithCallFaults({{{number}, err, 1}}, call);
  }
  Sys* sys_ = Sys::Real();
};

TEST_F(SysFaultsTest, EachCallAnswersWithItsErrno) {
  int root = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  UniqueFd folder(root), memory(::memfd_create("room", MFD_CLOEXEC));
  std::vector<std::string> names;
  uint64_t number = 0;
  int64_t type = 0;
  bool is_root = false;
  struct Case {
    const char* name;
    long number;
    int err, answer;
    std::function<int()> call;
  };
  const Case kCases[] = {
      {"list: open", SYS_openat, EMFILE, -EMFILE, [&] { return sys_->ListDir(AT_FDCWD, "/", &names); }},
      {"list: no memory", SYS_fcntl, ENOMEM, -ENOMEM, [&] { return sys_->ListDir(AT_FDCWD, "/", &names); }},
      {"list: read", SYS_getdents64, EIO, -EIO, [&] { return sys_->ListDir(AT_FDCWD, "/", &names); }},
      {"filesystem", SYS_fstatfs, EIO, -EIO, [&] { return sys_->FsType(root, &type); }},
      {"room", SYS_statfs, EIO, -EIO, [&] { return sys_->FsFree("/", &number); }},
      {"no allocation", SYS_fallocate, EOPNOTSUPP, -EOPNOTSUPP,
       [&] { return sys_->Allocate(memory.get(), 1); }},
      {"lock held", SYS_fcntl, EACCES, -EAGAIN, [&] { return sys_->TryLock(root); }},
      {"old kernel", SYS_statx, ENOSYS, -EOPNOTSUPP, [&] { return sys_->IsMountRoot("/", &is_root); }},
      {"kernel before 5.8", SYS_statx, 0, -EOPNOTSUPP, [&] { return sys_->IsMountRoot("/", &is_root); }},
      {"mount root", SYS_statx, EIO, -EIO, [&] { return sys_->IsMountRoot("/", &is_root); }},
      {"old kernel: mount", SYS_statx, ENOSYS, -EOPNOTSUPP,
       [&] { return sys_->MountId(AT_FDCWD, "/", &number); }},
      {"mount before 5.8", SYS_statx, 0, -EOPNOTSUPP, [&] { return sys_->MountId(AT_FDCWD, "/", &number); }},
      {"mount", SYS_statx, EIO, -EIO, [&] { return sys_->MountId(AT_FDCWD, "/", &number); }},
      {"namespace: open", SYS_openat, EACCES, -EACCES, [&] { return sys_->MountNamespace(0, &number); }},
      {"namespace: ask", SYS_ioctl, EIO, -EIO, [&] { return sys_->MountNamespace(0, &number); }},
      {"start: gone meanwhile", SYS_read, ESRCH, -ESRCH, [&] { return sys_->ProcessStart(1, &number); }},
      {"start: open", SYS_openat, EMFILE, -EMFILE, [&] { return sys_->ProcessStart(1, &number); }},
      {"start: nothing there", SYS_read, 0, -EIO, [&] { return sys_->ProcessStart(1, &number); }},
  };
  for (const Case& c : kCases) {
    int answer = 1;
    EXPECT_TRUE(Failing(c.number, c.err, [&] { answer = c.call(); })) << c.name;
    EXPECT_EQ(c.answer, answer) << c.name;
    EXPECT_EQ(0, c.call() < 0 && c.number != SYS_fcntl) << c.name << ": it works again";
  }
}

TEST_F(SysFaultsTest, BeforeLinux611AMountNamespaceIsItsInode) {
  uint64_t number = 0;
  int answer = -1;
  struct stat st;
  ASSERT_EQ(0, ::stat("/proc/self/ns/mnt", &st));
  EXPECT_TRUE(Failing(SYS_ioctl, ENOTTY, [&] { answer = sys_->MountNamespace(0, &number); }));
  EXPECT_EQ(0, answer);
  EXPECT_EQ(st.st_ino, number);
  EXPECT_TRUE(WithCallFaults({{{SYS_ioctl}, ENOTTY, 1}, {{SYS_newfstatat, SYS_fstat}, EIO, 1}},
                             [&] { answer = sys_->MountNamespace(0, &number); }));
  EXPECT_EQ(-EIO, answer);
}

TEST_F(SysFaultsTest, ATextIsWholeOrNotThere) {
  // By another thread, whose calls are made. Mounts of others come and go: what is read is compared where
  // none did so meanwhile.
  auto whole = [&] {
    Result<std::string> text = Status(Code::kInternal, "not called");
    std::thread([&] { text = sys_->Mountinfo(); }).join();
    EXPECT_TRUE(text.ok()) << text.status().message();
    return text.ok() ? *text : "";
  };
  int compared = 0;
  Result<std::string> read = Status(Code::kInternal, "not called");
  auto ask = [&] {
    const std::string before = whole();
    read = sys_->Mountinfo();
    if (!read.ok() || whole() != before) return;
    EXPECT_EQ(before, *read);
    ++compared;
  };
  EXPECT_GE(FailEachCall({SYS_read}, EINTR,
                         [&] {
                           ask();
                           EXPECT_TRUE(read.ok()) << read.status().message();
                         }),
            2);
  EXPECT_GE(compared, 1);
  EXPECT_GE(FailEachCall({SYS_read, SYS_openat}, EIO,
                         [&] {
                           ask();
                           if (!read.ok()) {
                             EXPECT_EQ(EIO, read.status().error_number());
                           }
                         }),
            3);
  Result<Boot> boot = Boot();
  EXPECT_TRUE(Failing(SYS_openat, EMFILE, [&] { boot = sys_->BootId(); }));
  EXPECT_EQ("cannot open /proc/sys/kernel/random/boot_id: Too many open files", boot.status().message());
  Result<std::vector<pid_t>> living = std::vector<pid_t>();
  EXPECT_TRUE(Failing(SYS_openat, EMFILE, [&] { living = sys_->ProcessesIn(1); }));
  EXPECT_EQ("cannot list /proc: Too many open files", living.status().message());
  // One that cannot be looked at may live there.
  int told = 0;
  EXPECT_GE(FailEachCall({SYS_openat}, EMFILE,
                         [&] {
                           living = sys_->ProcessesIn(1);
                           told += living.ok() ? 0 : 1;
                         }),
            2);
  EXPECT_GE(told, 2);
}

TEST_F(SysFaultsTest, AThreadThatCannotBeStartedIsToldWithWhatToDo) {
  Status status;
  EXPECT_TRUE(Failing(SYS_clone3, EAGAIN, [&] { status = Scheduler::Real()->Spawn([] {}, "none", 64); }));
  EXPECT_EQ("cannot start a thread: Resource temporarily unavailable", status.message());
  EXPECT_NE(std::string::npos, status.hint().find("pids.max")) << status.hint();
}

// A file of ours is replaced or as it was, whatever call fails; nothing stays beside it.
TEST_F(SysFaultsTest, AReplacedFileIsTheOldOrTheNewOne) {
  char path[] = "/tmp/dvdi-files-XXXXXX";
  ASSERT_NE(nullptr, ::mkdtemp(path));
  const std::string folder = path, file = folder + "/f";
  Env env;
  env.sys = sys_;
  env.random = Random::Real();
  const std::vector<long> calls = {SYS_openat, SYS_write, SYS_fsync, SYS_renameat, SYS_renameat2, SYS_rename};
  for (int err : {EIO, ENOSPC, EINTR}) {
    int failed = FailEachCall(calls, err, [&] {
      auto at = OpenOwnFolder(sys_, folder, true);
      if (!at.ok()) return;
      bool first = ReplaceFile(env, at->get(), "f", "old", file, true).ok();
      Status second = ReplaceFile(env, at->get(), "f", "new", file, true);
      auto now = ReadOwnFile(sys_, file);
      if (now.ok()) {
        EXPECT_TRUE(*now == "new" || (*now == "old" && !second.ok())) << *now;
      }
      if (!second.ok()) {
        EXPECT_NE(std::string::npos, second.message().find(folder)) << second.message();
      }
      EXPECT_TRUE(first || second.ok()) << "one call failed, not two";
    });
    EXPECT_GE(failed, 10);
    std::vector<std::string> names;
    ASSERT_EQ(0, sys_->ListDir(AT_FDCWD, path, &names));
    EXPECT_EQ(std::vector<std::string>{"f"}, names);
    ASSERT_EQ(0, ::unlink(file.c_str()));
  }
  ASSERT_EQ(0, ::rmdir(path));
}

TEST_F(SysFaultsTest, AFileOrFolderOfOursSaysWhatFailed) {
  char path[] = "/tmp/dvdi-files-XXXXXX";
  ASSERT_NE(nullptr, ::mkdtemp(path));
  const std::string folder = path, file = folder + "/f", below = folder + "/a/b";
  UniqueFd made(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(4, ::write(made.get(), "text", 4));
  struct Case {
    const char* message;
    long number;
    int nth, err;
    std::function<Status()> call;
  };
  auto read = [&] { return ReadOwnFile(sys_, file).status(); };
  auto open = [&] { return OpenOwnFolder(sys_, folder + "/new", true).status(); };
  auto ensure = [&] { return EnsureOwnFolder(sys_, below); };
  const Case kCases[] = {
      {"cannot open FILE: Input/output error", SYS_openat, 1, EIO, read},
      {"cannot look at FILE: Input/output error", SYS_newfstatat, 1, EIO, read},
      {"cannot read FILE: Input/output error", SYS_read, 1, EIO, read},
      {"", SYS_read, 1, EINTR, read},
      {"cannot make folder FOLDER/new: No space left on device", SYS_mkdirat, 1, ENOSPC, open},
      {"cannot open folder FOLDER/new: Too many open files", SYS_openat, 2, EMFILE, open},
      {"cannot look at FOLDER/new: Input/output error", SYS_newfstatat, 1, EIO, open},
      {"cannot make folder FOLDER/a: No space left on device", SYS_mkdirat, 3, ENOSPC, ensure},
      {"cannot set the mode of folder FOLDER/a: Input/output error", SYS_fchmod, 1, EIO, ensure},
      {"cannot look at folder FOLDER/a/b: Input/output error", SYS_newfstatat, 1, EIO, ensure},
      {"", SYS_mkdirat, 3, EEXIST, ensure},
  };
  for (const Case& c : kCases) {
    std::string expected = c.message;
    if (size_t at = expected.find("FILE"); at != std::string::npos) expected.replace(at, 4, file);
    if (size_t at = expected.find("FOLDER"); at != std::string::npos) expected.replace(at, 6, folder);
    Status status;
    EXPECT_TRUE(WithCallFaults({{{c.number}, c.err, c.nth}}, [&] { status = c.call(); })) << expected;
    EXPECT_EQ(expected, status.message());
  }
  EXPECT_EQ(Code::kInvalid, EnsureOwnFolder(sys_, "").code());
  EXPECT_EQ(Code::kInvalid, EnsureOwnFolder(sys_, "a/b").code());
  EXPECT_EQ(Code::kInvalid, EnsureOwnFolder(sys_, file).code()) << "a file is in the folder's place";
  for (const char* name : {"/a/b", "/a", "/new"}) ::rmdir((folder + name).c_str());
  ::unlink(file.c_str());
  EXPECT_EQ(0, ::rmdir(path));
}

}  // namespace
}  // namespace dvdi
