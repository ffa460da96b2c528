// The helper's work where the filesystem or the kernel refuses: what a driver's folder answers is told with
// its reason and a way out, and a change of owners that was cut short goes on when it is asked for again.
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper/ops.h"
#include "mount/test_world.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

class OpsFaultsTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped() && !WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  }
  // What `call` answers while the nth of those calls fails; nth 0: each.
  static Status Failing(std::vector<long> calls, int nth, int err, const std::function<Status()>& call) {
    Status status;
    EXPECT_TRUE(WithCallFaults({{std::move(calls), err, nth}}, [&] { status = call(); }));
    return status;
  }
  UniqueFd Open(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
    EXPECT_TRUE(fd.valid()) << path;
    return fd;
  }
};

TEST_F(OpsFaultsTest, TheDriversFolderIsAFolderOfAVolume) {
  std::string volume = MakeTmpfs("vol"), file = MakeFile("vol/file");
  ASSERT_EQ(0, ::symlink("/etc", Path("vol/etc").c_str()));
  auto open = [&](const std::string& path) { return OpenMountpoint(path).status(); };
  EXPECT_TRUE(open(volume).ok());
  EXPECT_EQ(Code::kNotFound, open(volume + "/none").code());
  EXPECT_EQ(Code::kRefused, open(file).code());
  EXPECT_EQ(Code::kRefused, open(volume + "/etc").code()) << "by whatever name it goes";
  Status status = Failing({SYS_openat}, 1, EIO, [&] { return open(volume); });
  EXPECT_EQ("cannot open the driver's folder " + volume + ": Input/output error", status.message());
  status = Failing({SYS_readlink, SYS_readlinkat}, 1, ENOMEM, [&] { return open(volume); });
  EXPECT_EQ("cannot tell where " + volume + " is: Cannot allocate memory", status.message());
}

// With openat2(2), and step by step where the kernel has none.
TEST_F(OpsFaultsTest, ASubpathStaysInTheVolume) {
  std::string volume = MakeTmpfs("vol");
  MakeDir("vol/a");
  MakeDir("vol/a/b");
  MakeFile("vol/a/file");
  MakeTmpfs("vol/a/other");
  ASSERT_EQ(0, ::symlink("b", Path("vol/a/inside").c_str()));
  ASSERT_EQ(0, ::symlink("/tmp", Path("vol/a/outside").c_str()));
  UniqueFd folder = Open(volume);
  struct Case {
    const char* subpath;
    Code code, without;  // with openat2(2), and without it
  };
  const Case kCases[] = {{"a", Code::kOk, Code::kOk},
                         {"a/b", Code::kOk, Code::kOk},
                         {"a/inside", Code::kOk, Code::kRefused},
                         {"a/outside", Code::kRefused, Code::kRefused},
                         {"a/other", Code::kRefused, Code::kRefused},
                         {"a/file", Code::kRefused, Code::kRefused},
                         {"a/file/x", Code::kRefused, Code::kRefused},
                         {"a/none", Code::kNotFound, Code::kNotFound},
                         {"none/b", Code::kNotFound, Code::kNotFound}};
  for (const Case& c : kCases) {
    auto open = [&] { return OpenBeneath(folder.get(), c.subpath).status(); };
    EXPECT_EQ(c.code, open().code()) << c.subpath << ": " << open().message();
    EXPECT_EQ(c.code, Failing({SYS_openat2}, 1, EAGAIN, open).code()) << c.subpath << ": asked again";
    Status status = Failing({SYS_openat2}, 0, ENOSYS, open);
    EXPECT_EQ(c.without, status.code()) << c.subpath << ": " << status.message();
  }
  auto open = [&] { return OpenBeneath(folder.get(), "a/b").status(); };
  const std::string cannot = "cannot open the subpath a/b of the volume: ";
  EXPECT_EQ(cannot + "Resource temporarily unavailable", Failing({SYS_openat2}, 0, EAGAIN, open).message());
  EXPECT_EQ(cannot + "Input/output error", Failing({SYS_openat2}, 1, EIO, open).message());
  for (int nth = 1; nth <= 7; ++nth) {
    Status status;
    EXPECT_TRUE(WithCallFaults({{{SYS_openat2}, ENOSYS, 0}, {{SYS_openat, SYS_newfstatat}, EIO, nth}},
                               [&] { status = open(); }));
    EXPECT_EQ(cannot + "Input/output error", status.message());
  }
}

TEST_F(OpsFaultsTest, AMountWithoutANumberInProcHasNone) {
  UniqueFd folder = Open(MakeTmpfs("vol"));
  int id = MountIdOf(folder.get());
  EXPECT_GT(id, 0);
  for (long call : {SYS_openat, SYS_read}) {
    EXPECT_TRUE(WithCallFaults({{{call}, EIO, 1}}, [&] { id = MountIdOf(folder.get()); }));
    EXPECT_EQ(-1, id);
  }
}

TEST_F(OpsFaultsTest, AFilesystemThatIsDeadIsNoVolume) {
  std::string volume = MakeTmpfs("vol");
  UniqueFd folder = Open(volume);
  auto check = [&] { return CheckAlive(folder.get(), volume); };
  EXPECT_TRUE(check().ok());
  for (int err : {ENOTCONN, ESTALE, EIO, ENODEV, ENXIO, ESHUTDOWN, EHOSTDOWN}) {
    Status status = Failing({SYS_openat}, 1, err, check);
    EXPECT_EQ(Code::kUnavailable, status.code()) << err;
    EXPECT_EQ("the filesystem at " + volume + " is dead: " + ::strerrordesc_np(err), status.message());
  }
  EXPECT_TRUE(Failing({SYS_openat}, 1, EACCES, check).ok()) << "whoever refuses is alive";
}

TEST_F(OpsFaultsTest, HowFullItIsOrWhyNobodyKnows) {
  std::string volume = MakeTmpfs("vol");
  auto ask = [&] { return UsageOf(volume).status(); };
  for (int err : {ENOTCONN, ESTALE, EIO, ENODEV, ENXIO, ESHUTDOWN, EHOSTDOWN}) {
    Status status = Failing({SYS_statfs}, 1, err, ask);
    EXPECT_EQ(Code::kUnavailable, status.code()) << err;
    EXPECT_EQ("the filesystem at " + volume + " is dead: " + ::strerrordesc_np(err), status.message());
  }
  EXPECT_EQ(Code::kNotFound, Failing({SYS_statfs}, 1, ENOENT, ask).code());
  EXPECT_EQ(Code::kNotFound, UsageOf(MakeFile("vol/file") + "/x").status().code());
  EXPECT_EQ(Code::kSystem, Failing({SYS_statfs}, 1, EACCES, ask).code());
}

TEST_F(OpsFaultsTest, AnOwnerThatCannotBeChangedSaysWhyAndWhatToDo) {
  std::string volume = MakeTmpfs("vol");
  UniqueFd folder = Open(volume);
  auto chown = [&] { return ChownRoot(folder.get(), 0, 1234).status(); };
  for (int err : {EPERM, ENOSYS, EOPNOTSUPP, EINVAL}) {
    Status status = Failing({SYS_fchownat}, 1, err, chown);
    EXPECT_EQ(Code::kUnsupported, status.code()) << err;
    EXPECT_NE(std::string::npos, status.hint().find("ownership `none`")) << status.hint();
  }
  Status status = Failing({SYS_fchownat}, 1, EDQUOT, chown);
  EXPECT_EQ("cannot change the owner of the volume's folder: Disk quota exceeded", status.message());
  status = Failing({SYS_newfstatat}, 1, EIO, chown);
  EXPECT_EQ("cannot look at the volume's folder: Input/output error", status.message());
  ASSERT_EQ(0, ::chmod(volume.c_str(), 0500));
  status = Failing({SYS_chmod, SYS_fchmodat}, 1, EIO, chown);
  EXPECT_EQ("cannot give the owner of the volume's folder access to it: Input/output error",
            status.message());
  EXPECT_TRUE(chown().ok());
  struct stat st;
  ASSERT_EQ(0, ::stat(volume.c_str(), &st));
  EXPECT_EQ(1234u, st.st_gid) << "the group alone was wrong";
  EXPECT_EQ(0700u, st.st_mode & 07777);
}

class TreeFaultsTest : public OpsFaultsTest {
 protected:
  void SetUp() override {
    OpsFaultsTest::SetUp();
    if (IsSkipped()) return;
    volume_ = MakeTmpfs("vol");
    for (const char* name : {"vol/d", "vol/d/e", "vol/empty"}) MakeDir(name);
    for (const char* name : {"vol/f", "vol/d/g", "vol/d/e/h"}) names_.push_back(MakeFile(name));
    for (const char* name : {"vol", "vol/d", "vol/d/e", "vol/empty"}) names_.push_back(Path(name));
    other_ = MakeTmpfs("vol/d/other");
    folder_ = Open(volume_);
  }
  Status Chown(uid_t uid, gid_t gid) {
    WalkLimits limits;
    limits.deadline_ms = In(60'000);
    return ChownTree(folder_.get(), uid, gid, limits).status();
  }
  void ExpectOwner(uid_t uid, gid_t gid) {
    struct stat st;
    for (const std::string& name : names_) {
      ASSERT_EQ(0, ::lstat(name.c_str(), &st)) << name;
      EXPECT_EQ(uid, st.st_uid) << name;
      EXPECT_EQ(gid, st.st_gid) << name;
    }
    ASSERT_EQ(0, ::stat(other_.c_str(), &st));
    EXPECT_EQ(0u, st.st_uid) << "another filesystem is mounted there";
  }
  std::string volume_, other_;
  std::vector<std::string> names_;
  UniqueFd folder_;
};

TEST_F(TreeFaultsTest, EachCallFailsAndTheNextTimeItGoesOn) {
  const std::vector<long> calls = {SYS_openat, SYS_newfstatat, SYS_fchownat, SYS_getdents64, SYS_fcntl};
  uid_t uid = 0;
  for (int err : {EIO, EPERM, ENOMEM}) {
    int nth = 1;
    for (Status status; WithCallFaults({{calls, err, nth}}, [&] { status = Chown(++uid, 7); }); ++nth) {
      if (!status.ok()) {
        EXPECT_TRUE(Chown(uid, 7).ok()) << status.message();
      }
      ExpectOwner(uid, 7);
    }
    EXPECT_GE(nth, 30);
  }
}

// A workload's own program may remove and replace what is being walked.
TEST_F(TreeFaultsTest, WhatIsGoneOrReplacedMeanwhileIsPassedOver) {
  for (int err : {ENOENT, ENOTDIR, ELOOP}) {
    int wrong = 0;
    FailEachCall({SYS_openat}, err, [&] { wrong += !Chown(static_cast<uid_t>(err), 8).ok(); });
    EXPECT_EQ(1, wrong) << "the volume's folder itself must be there";
  }
  int wrong = 0;
  EXPECT_GE(FailEachCall({SYS_fchownat}, ENOENT, [&] { wrong += !Chown(9, 9).ok(); }), 1);
  EXPECT_EQ(0, wrong);
}

// Where the mount cannot be copied, what is mounted below is told by its device.
TEST_F(TreeFaultsTest, WithoutACopyOfTheMountOtherFilesystemsAreLeftAlone) {
  EXPECT_TRUE(Failing({SYS_open_tree}, 1, ENOSYS, [&] { return Chown(11, 12); }).ok());
  ExpectOwner(11, 12);
  EXPECT_TRUE(Chown(11, 13).ok());
  ExpectOwner(11, 13);
}

TEST_F(TreeFaultsTest, ADeepTreeNeedsDescriptors) {
  UniqueFd at = Open(volume_);
  for (int i = 0; i < 400; ++i) {
    ASSERT_EQ(0, ::mkdirat(at.get(), "d2", 0755));
    at.reset(::openat(at.get(), "d2", O_PATH | O_CLOEXEC));
  }
  struct rlimit was, few;
  ASSERT_EQ(0, ::getrlimit(RLIMIT_NOFILE, &was));
  few = {100, was.rlim_max};
  ASSERT_EQ(0, ::setrlimit(RLIMIT_NOFILE, &few));
  Status status = Failing({SYS_prlimit64, SYS_getrlimit}, 1, EPERM, [&] { return Chown(14, 14); });
  EXPECT_EQ(EMFILE, status.error_number()) << status.message();
  EXPECT_TRUE(Chown(14, 14).ok()) << "as many as may be had";
  ExpectOwner(14, 14);
  EXPECT_EQ(0, ::setrlimit(RLIMIT_NOFILE, &was));
}

TEST_F(OpsFaultsTest, AUserNamespaceThatCannotBeMadeSaysWhy) {
  auto make = [] { return SwapUserNamespace(0, 1000, 0, 1000).status(); };
  ASSERT_TRUE(make().ok()) << make().message();
  struct Case {
    long call;
    int nth, err;
    Code code;
    const char* message;
  };
  const Case kCases[] = {
      {SYS_clone, 1, ENOSPC, Code::kUnsupported, "does not allow user namespaces"},
      {SYS_clone, 1, EPERM, Code::kUnsupported, "does not allow user namespaces"},
      {SYS_clone, 1, EINVAL, Code::kUnsupported, "does not allow user namespaces"},
      {SYS_clone, 1, ENOMEM, Code::kSystem, "cannot make a user namespace: Cannot allocate memory"},
      {SYS_openat, 1, EMFILE, Code::kSystem, "cannot open the map of a user namespace: Too many open files"},
      {SYS_openat, 2, EMFILE, Code::kSystem, "cannot open the map of a user namespace: Too many open files"},
      {SYS_openat, 3, EMFILE, Code::kSystem, "cannot open a user namespace: Too many open files"},
      {SYS_write, 1, EPERM, Code::kUnsupported, "may not map user ids"},
      {SYS_write, 2, EINVAL, Code::kSystem, "cannot write the map of a user namespace: Invalid argument"},
      {SYS_write, 2, 0, Code::kSystem, "cannot write the map of a user namespace: Input/output error"},
      {SYS_wait4, 1, EINTR, Code::kOk, ""},
  };
  for (const Case& c : kCases) {
    Status status = Failing({c.call}, c.nth, c.err, make);
    EXPECT_EQ(c.code, status.code()) << c.message << ": " << status.message();
    EXPECT_NE(std::string::npos, status.message().find(c.message)) << status.message();
  }
  constexpr uint32_t kNone = 4294967295U;
  EXPECT_EQ(Code::kInvalid, SwapUserNamespace(0, kNone, 0, 0).status().code());
  EXPECT_EQ(Code::kInvalid, SwapUserNamespace(0, 0, kNone, 0).status().code());
  EXPECT_EQ(Code::kInvalid, SwapUserNamespace(0, 0, 0, kNone).status().code());
}

}  // namespace
}  // namespace dvdi
