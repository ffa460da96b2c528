// Folders, stages and mount points where the kernel refuses a call: what was there stays, what was half made
// is gone, and the answer names the path.
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>

#include "mount/paths.h"
#include "mount/stage.h"
#include "mount/test_world.h"
#include "mount/volume_folder.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

class MountFaultsTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped() && !WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  }
  // What `call` answers while the nth of those calls fails; nth 0: each.
  static Status Failing(long number, int nth, int err, const std::function<Status()>& call) {
    Status status;
    EXPECT_TRUE(WithCallFaults({{{number}, err, nth}}, [&] { status = call(); })) << number << ", " << nth;
    return status;
  }
  void ExpectNames(const Status& status, const std::string& path) {
    EXPECT_NE(std::string::npos, status.message().find(path)) << status.message();
    EXPECT_EQ(std::string::npos, status.message().find('\n')) << status.message();
  }
  Env env_ = TestEnv();
};

TEST_F(MountFaultsTest, AFolderIsMadeWholeOrNotAtAll) {
  const std::string path = Path("made");
  const std::vector<long> calls = {SYS_openat2, SYS_mkdirat, SYS_openat, SYS_newfstatat, SYS_fchmod};
  const mode_t was = ::umask(077);
  int nth = 1;
  for (Status s; WithCallFaults({{calls, EIO, nth}}, [&] { s = MakeFolder(env_, path); }); ++nth) {
    EXPECT_FALSE(s.ok());
    ExpectNames(s, path);
    EXPECT_FALSE(std::filesystem::exists(path)) << nth;
  }
  ::umask(was);
  EXPECT_GE(nth, 6);
  struct stat st;
  ASSERT_EQ(0, ::stat(path.c_str(), &st));
  EXPECT_EQ(0755u, st.st_mode & 07777) << "whatever the umask";
  EXPECT_EQ(Code::kRefused, MakeFolder(env_, path).code()) << "it exists";
  for (const char* wrong : {"", "/", "made", "/a/../b"}) {
    EXPECT_EQ(Code::kInvalid, MakeFolder(env_, wrong).code()) << wrong;
    EXPECT_EQ(Code::kInvalid, RemoveFolder(env_, wrong).code()) << wrong;
  }
}

TEST_F(MountFaultsTest, AFolderThatCannotBeRemovedIsStillThere) {
  const std::string path = MakeDir("old");
  struct Case {
    long call;
    int err;
    const char* message;
  };
  const Case kCases[] = {{SYS_openat2, EACCES, "cannot remove the folder PATH: Permission denied"},
                         {SYS_openat2, ELOOP, "cannot remove the folder PATH: "},
                         {SYS_openat2, ENOTDIR, "cannot remove the folder PATH: "},
                         {SYS_newfstatat, EIO, "cannot remove the folder PATH: Input/output error"},
                         {SYS_ioctl, EIO, "cannot tell our own mount namespace: Input/output error"},
                         {SYS_getdents64, EIO, "cannot list /proc: Input/output error"},
                         {SYS_unlinkat, EROFS, "cannot remove the folder PATH: Read-only file system"}};
  for (const Case& c : kCases) {
    Status status = Failing(c.call, 1, c.err, [&] { return RemoveFolder(env_, path); });
    std::string expected = c.message;
    if (size_t at = expected.find("PATH"); at != std::string::npos) expected.replace(at, 4, path);
    EXPECT_EQ(0u, status.message().find(expected)) << status.message();
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  // Somebody uses it, or has been faster: it is not ours to remove.
  for (int err : {ENOENT, ENOTEMPTY, EEXIST, EBUSY})
    EXPECT_TRUE(Failing(SYS_unlinkat, 1, err, [&] { return RemoveFolder(env_, path); }).ok()) << err;
  EXPECT_TRUE(Failing(SYS_newfstatat, 1, ENOENT, [&] { return RemoveFolder(env_, path); }).ok());
  EXPECT_TRUE(Failing(SYS_openat2, 1, ENOENT, [&] { return RemoveFolder(env_, path); }).ok());
  EXPECT_TRUE(std::filesystem::exists(path));
  // A mount elsewhere keeps it, also where one of its processes cannot be looked at.
  {
    OtherNamespace other(MS_PRIVATE, [&] { ::mount("t", path.c_str(), "tmpfs", 0, ""); });
    EXPECT_TRUE(RemoveFolder(env_, path).ok());
    EXPECT_TRUE(std::filesystem::exists(path)) << "it is mounted on over there";
  }
  EXPECT_TRUE(RemoveFolder(env_, path).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
}

// Whether a process has a mount on the folder cannot be told for want of a descriptor or of memory: rmdir(2)
// would take that mount away.
TEST_F(MountFaultsTest, AFolderStaysWhereAProcessCannotBeLookedAt) {
  struct Blind : Sys {
    pid_t pid = 0;
    int space = 0, table = 0;  // errnos
    int MountNamespace(pid_t of, uint64_t* number) override {
      return of == pid && space != 0 ? -space : Sys::MountNamespace(of, number);
    }
    Result<std::string> Mountinfo(pid_t of) override {
      if (of == pid && table != 0) return Status::FromErrno(table, "cannot read mountinfo");
      return Sys::Mountinfo(of);
    }
  } sys;
  Env env = env_;
  env.sys = &sys;
  const std::string path = MakeDir("old");
  {
    OtherNamespace other(MS_PRIVATE, [&] { ::mount("t", path.c_str(), "tmpfs", 0, ""); });
    sys.pid = other.pid();
    for (int err : {EMFILE, ENFILE, ENOMEM, EIO}) {
      for (int* call : {&sys.space, &sys.table}) {
        *call = err;
        Status status = RemoveFolder(env, path);
        *call = 0;
        EXPECT_EQ(err, status.error_number()) << status.message();
        ExpectNames(status, path);
        ASSERT_TRUE(std::filesystem::exists(path)) << "it is mounted on over there";
      }
    }
    // One that has ended meanwhile has none. Its namespace may have others.
    for (int err : {ENOENT, ESRCH, EINVAL}) {
      sys.table = err;
      const std::string free = MakeDir("free");
      EXPECT_TRUE(RemoveFolder(env, free).ok()) << err;
      EXPECT_FALSE(std::filesystem::exists(free)) << err;
      sys.table = 0;
    }
  }
  EXPECT_TRUE(RemoveFolder(env, path).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(MountFaultsTest, ATargetThatCannotBeWalkedToSaysWhere) {
  const std::string target = Path("a/b");
  auto missing = [&] { return MissingFolders(env_, target).status(); };
  ExpectNames(Failing(SYS_openat2, 1, EACCES, missing), target);
  ExpectNames(Failing(SYS_openat2, 0, ENOENT, missing), target);
  // The link that was met is gone when it is looked for: then the path is named.
  Status status = Failing(SYS_openat2, 1, ELOOP, missing);
  EXPECT_EQ(Code::kRefused, status.code());
  ExpectNames(status, target + " is a symbolic link");
  MakeDir("a");
  MakeDir("a/b");
  ExpectNames(Failing(SYS_openat2, 1, ELOOP, missing), target + " is a symbolic link");
  TargetRules rules;
  rules.roots = {"no path", dir_, "/nowhere"};
  EXPECT_TRUE(CheckTarget(env_, rules, {"", Path("state")}, target).ok());
  EXPECT_EQ(Code::kInvalid, CheckTarget(env_, rules, {}, "a/b").code());
  EXPECT_EQ(Code::kInvalid, MissingFolders(env_, "a/b").status().code());
}

TEST_F(MountFaultsTest, TheStageRootIsOursOrRefused) {
  const std::string root = Path("stage");
  for (const char* wrong : {"", "/", "stage", "/a/../b"})
    EXPECT_EQ(Code::kInvalid, EnsureStageRoot(env_, wrong).code()) << wrong;
  auto ensure = [&] { return EnsureStageRoot(env_, root); };
  ASSERT_TRUE(ensure().ok());
  ASSERT_EQ(0, ::umount2(root.c_str(), MNT_DETACH));
  Status status = Failing(SYS_mount, 1, EPERM, ensure);
  ExpectNames(status, root);
  EXPECT_NE(std::string::npos, status.hint().find("root")) << status.hint();
  ExpectNames(Failing(SYS_fcntl, 1, ENOLCK, ensure), "cannot lock " + root + ".lock");
  EXPECT_TRUE(Failing(SYS_fcntl, 1, EAGAIN, ensure).ok()) << "somebody else is done in a moment";
  ASSERT_EQ(0, ::umount2(root.c_str(), MNT_DETACH));
  ASSERT_EQ(0, ::chmod(root.c_str(), 0755));
  ExpectNames(Failing(SYS_fchmod, 1, EROFS, ensure), root);
  ASSERT_EQ(0, ::chown(root.c_str(), 1234, 0));
  status = ensure();
  EXPECT_EQ(Code::kRefused, status.code());
  EXPECT_EQ("the stage root " + root + " belongs to user 1234", status.message());
  ASSERT_EQ(0, ::chown(root.c_str(), 0, 0));
  ASSERT_EQ(0, ::unlink((root + ".lock").c_str()));
  ASSERT_EQ(0, ::symlink("elsewhere", (root + ".lock").c_str()));
  status = ensure();
  EXPECT_EQ(Code::kRefused, status.code()) << status.message();
  EXPECT_FALSE(std::filesystem::exists(Path("elsewhere")));
}

TEST_F(MountFaultsTest, ABusyLockOfTheStageRootIsToldInTime) {
  class Later : public Clock {  // ten seconds are gone at the second look
   public:
    int64_t MonotonicMs() override { return Clock::Real()->MonotonicMs() + 20'000 * looks_++; }
    int64_t MonotonicNs() override { return Clock::Real()->MonotonicNs(); }
    int64_t WallMs() override { return Clock::Real()->WallMs(); }

   private:
    int looks_ = 0;
  } later;
  Env env = TestEnv();
  env.clock = &later;
  Status status = Failing(SYS_fcntl, 0, EAGAIN, [&] { return EnsureStageRoot(env, Path("stage")); });
  EXPECT_EQ(Code::kTimeout, status.code()) << status.message();
  ExpectNames(status, Path("stage") + ".lock");
}

TEST_F(MountFaultsTest, WhetherSomethingIsMountedThere) {
  const std::string volume = MakeTmpfs("vol"), folder = MakeDir("folder");
  bool mounted = false;
  auto ask = [&](const std::string& path) { return IsMountpoint(env_, path, &mounted); };
  for (int err : {ENOSYS, 0}) {  // before Linux 5.8 mountinfo tells
    EXPECT_TRUE(Failing(SYS_statx, 1, err, [&] { return ask(volume); }).ok());
    EXPECT_TRUE(mounted);
    EXPECT_TRUE(Failing(SYS_statx, 1, err, [&] { return ask(folder); }).ok());
    EXPECT_FALSE(mounted);
  }
  Status status;
  EXPECT_TRUE(
      WithCallFaults({{{SYS_statx}, ENOSYS, 1}, {{SYS_openat}, EMFILE, 1}}, [&] { status = ask(volume); }));
  EXPECT_EQ(EMFILE, status.error_number());
  mounted = true;
  EXPECT_TRUE(ask(Path("none")).ok());
  EXPECT_FALSE(mounted);
  status = Failing(SYS_statx, 1, EACCES, [&] { return ask(volume); });
  EXPECT_EQ("cannot look at " + volume + ": Permission denied", status.message());
}

class StageFaultsTest : public MountFaultsTest {
 protected:
  void SetUp() override {
    MountFaultsTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(EnsureStageRoot(env_, Path("stage")).ok());
    request_.mountpoint = MakeTmpfs("vol");
    request_.stage = MakeDir("stage/s");
    request_.deadline_ms = In(60'000);
  }
  Status Make() { return MakeStage(env_, request_).status(); }
  StageRequest request_;
};

TEST_F(StageFaultsTest, AStageThatCannotBeMadeIsNotMounted) {
  struct Case {
    long call;
    int err;
    Code code;
    std::string names;
  };
  const Case kCases[] = {
      {SYS_openat, EMFILE, Code::kSystem, "/proc/self/mountinfo"},
      {SYS_statx, EIO, Code::kSystem, request_.stage},
      {SYS_openat2, ELOOP, Code::kRefused, "a symbolic link lies on the way to the stage " + request_.stage},
      {SYS_openat2, EACCES, Code::kSystem, "cannot open the stage " + request_.stage},
      {SYS_open_tree, ENOMEM, Code::kSystem, request_.mountpoint},
      {SYS_mount_setattr, EINVAL, Code::kSystem, request_.stage},
      {SYS_move_mount, EBUSY, Code::kSystem, request_.stage},
  };
  for (const Case& c : kCases) {
    Status status = Failing(c.call, 1, c.err, [&] { return Make(); });
    EXPECT_EQ(c.code, status.code()) << status.message();
    ExpectNames(status, c.names);
    EXPECT_EQ(nullptr, FindMount(Mounts(), request_.stage));
  }
  // The second of these is the volume's.
  struct {
    int err;
    Code code;
  } const kFolders[] = {{ENOENT, Code::kNotFound}, {ENOTDIR, Code::kRefused}, {EACCES, Code::kSystem}};
  for (const auto& c : kFolders) {
    Status status = Failing(SYS_openat2, 2, c.err, [&] { return Make(); });
    EXPECT_EQ(c.code, status.code()) << status.message();
    ExpectNames(status, request_.mountpoint);
    EXPECT_EQ(nullptr, FindMount(Mounts(), request_.stage));
  }
  for (const char* wrong : {"", "/", "stage/s"}) {
    StageRequest request = request_;
    request.stage = wrong;
    EXPECT_EQ(Code::kInvalid, MakeStage(env_, request).status().code()) << wrong;
  }
  // A list of mounts that is older than the volume's: it is read again.
  const std::vector<MountEntry> old = {};
  request_.mounts = &old;
  EXPECT_TRUE(Make().ok()) << Make().message();
}

TEST_F(StageFaultsTest, WhatCannotBeIdMappedSaysWhatToAskForInstead) {
  request_.ownership = Ownership::kIdmap;
  request_.uid = 1000, request_.gid = 1000;
  if (Status status = Make(); !status.ok()) GTEST_SKIP() << status.message();  // and a helper waits now
  ASSERT_TRUE(RemoveStage(env_, Path("stage"), request_.stage).ok());
  for (int err : {EINVAL, EOPNOTSUPP, EPERM, ENOSYS, ENOMEM}) {
    request_.stage = MakeDir("stage/s" + std::to_string(err));
    Status status = Failing(SYS_mount_setattr, 2, err, [&] { return Make(); });
    EXPECT_EQ(err == ENOMEM ? Code::kSystem : Code::kUnsupported, status.code()) << status.message();
    if (err != ENOMEM) {
      EXPECT_NE(std::string::npos, status.hint().find("ownership `root-dir`")) << status.hint();
    }
    EXPECT_EQ(nullptr, FindMount(Mounts(), request_.stage));
  }
  // What belongs to the workload's user already needs no mapping: mount(2) will do.
  request_.uid = 0, request_.gid = 0;
  request_.classic = true;
  request_.stage = MakeDir("stage/classic");
  EXPECT_TRUE(Make().ok()) << Make().message();
}

// The classic calls: wherever one fails, nothing of the stage is left mounted, and the next try works.
TEST_F(StageFaultsTest, EachClassicCallFailsAndLeavesNothing) {
  request_.classic = true;
  for (int err : {EIO, EEXIST, EBUSY}) {
    const std::vector<long> calls = {SYS_mkdirat, SYS_mount, SYS_unlinkat, SYS_umount2};
    int nth = 1;
    for (Status s; WithCallFaults({{calls, err, nth}}, [&] { s = Make(); }); ++nth) {
      if (!s.ok()) ExpectNames(s, request_.stage);
      bool mounted = FindMount(Mounts(), request_.stage) != nullptr;
      if (s.ok()) {
        EXPECT_TRUE(mounted) << nth;
      }
      ASSERT_TRUE(RemoveStage(env_, Path("stage"), request_.stage).ok()) << nth;
      EXPECT_EQ(nullptr, FindMount(Mounts(), request_.stage + ".new")) << nth;
      MakeDir("stage/s");
    }
    EXPECT_GE(nth, 4);
    ASSERT_TRUE(RemoveStage(env_, Path("stage"), request_.stage).ok());
    MakeDir("stage/s");
  }
}

TEST_F(StageFaultsTest, AStageThatCannotBeRemovedIsTold) {
  auto remove = [&] { return RemoveStage(env_, Path("stage"), request_.stage); };
  ASSERT_TRUE(Make().ok());
  ExpectNames(Failing(SYS_openat2, 1, EACCES, remove), request_.stage);
  EXPECT_EQ(Code::kRefused, Failing(SYS_openat2, 1, ELOOP, remove).code());
  ExpectNames(Failing(SYS_umount2, 1, EPERM, remove), "cannot unmount the stage " + request_.stage);
  ExpectNames(Failing(SYS_unlinkat, 1, EROFS, remove),
              "cannot remove the folder of the stage " + request_.stage);
  bool was_there = false;
  EXPECT_TRUE(RemoveStage(env_, Path("stage"), request_.stage, &was_there).ok());
  EXPECT_TRUE(was_there);
  EXPECT_FALSE(std::filesystem::exists(request_.stage));
}

TEST_F(StageFaultsTest, APluginThatCannotBeLookedAtIsBelieved) {
  const std::string volume = request_.mountpoint;
  OtherNamespace other(MS_PRIVATE, [&] { ::umount2(volume.c_str(), MNT_DETACH); });
  auto check = [&] { return CheckMountpoint(env_, volume, other.pid(), In(60'000)); };
  EXPECT_EQ(Code::kRefused, check().code()) << "it means another folder by that path";
  EXPECT_TRUE(Failing(SYS_ioctl, 1, EIO, check).ok());
  EXPECT_EQ("cannot tell our own mount namespace: Input/output error",
            Failing(SYS_ioctl, 2, EIO, check).message());
  EXPECT_TRUE(Failing(SYS_openat, 4, EACCES, check).ok()) << "its mountinfo cannot be read";
}

TEST(OpensWithoutWaitingTest, TheRootAndWhatIsMountedOnIt) {
  auto on = [](const char* root, const std::string& path) {
    return OpensWithoutWaiting(ParseMountinfo(root), path);
  };
  EXPECT_TRUE(on("1 0 8:1 / / rw - ext4 /dev/a rw\n", "/"));
  EXPECT_TRUE(on("1 0 8:1 / / rw - ext4 /dev/a rw\n", "/data"));
  EXPECT_FALSE(on("1 0 8:1 / / rw - overlay overlay rw\n", "/data"));
  EXPECT_TRUE(on("1 0 8:1 / / rw - overlay o rw\n2 1 8:2 / /v rw - xfs /dev/b rw\n", "/v"));
  EXPECT_FALSE(on("1 0 8:1 / / rw - nfs4 o rw\n2 1 8:2 / /v rw - xfs /dev/b rw\n", "/v"));
}

TEST(MountinfoTextTest, WhateverItSaysHasAnEnd) {
  auto entries = ParseMountinfo(
      "1 0 0:1 / /a\\9bc rw - tmpfs a\\08 rw\n2 0 0:1 / /b\\0x1 rw - tmpfs b\\018 rw\n3 0 0:1 / /c\\12 rw - "
      "t d rw\n");
  ASSERT_EQ(3u, entries.size());
  EXPECT_EQ("/a\\9bc", entries[0].mountpoint) << "no octal number is as it stands";
  EXPECT_EQ("/b\\0x1", entries[1].mountpoint);
  EXPECT_EQ("/c\\12", entries[2].mountpoint);
  // Stacked, and listed in any order: the top is that which no other stands on.
  auto stack =
      ParseMountinfo("5 4 0:5 / /m rw - t c rw\n3 1 0:3 / /m rw - t a rw\n4 3 0:4 / /m rw - t b rw\n");
  EXPECT_EQ(5, FindMount(stack, "/m")->id);
  // No kernel writes these: a mount that is its own parent, a loop, and two beginnings.
  auto self = ParseMountinfo("7 7 0:5 / /m rw - t a rw\n7 7 0:5 / /m rw - t b rw\n");
  EXPECT_EQ(7, FindMount(self, "/m")->id);
  auto loop = ParseMountinfo("1 0 0:1 / / rw - t a rw\n2 1 0:2 / / rw - t b rw\n1 2 0:3 / / rw - t c rw\n");
  EXPECT_NE(nullptr, ContainingMount(loop, "/x"));
  auto two = ParseMountinfo("1 0 0:1 / / rw - t a rw\n9 8 0:2 / /v/w rw - t b rw\n");
  EXPECT_EQ(1, ContainingMount(two, "/v/w/x")->id) << "the walk begins at the shorter one";
  auto below =
      ParseMountinfo("1 0 0:1 / / rw - t a rw\n2 1 0:2 / /v rw - t b rw\n3 1 0:3 / /v/w rw - t hidden rw\n");
  EXPECT_EQ(2, ContainingMount(below, "/v/w/x")->id) << "what lies deeper on the same parent is hidden";
}

}  // namespace
}  // namespace dvdi
