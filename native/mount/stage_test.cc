#include "mount/stage.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "mount/test_world.h"

namespace dvdi {
namespace {

class StageTest : public MountTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    root_ = Path("stage");
    ASSERT_TRUE(EnsureStageRoot(env_, root_).ok());
    stage_ = MakeDir("stage/s1");
  }
  StageRequest Request(const std::string& mountpoint) {
    StageRequest request;
    request.mountpoint = mountpoint;
    request.stage = stage_;
    request.deadline_ms = In(10'000);
    request.classic = GetParam();
    return request;
  }
  // Where a stage is: its own entry, or none.
  static const MountEntry* At(const std::string& path) {
    static std::vector<MountEntry> mounts;
    mounts = Mounts();
    return FindMount(mounts, path);
  }
  size_t MountsBelowRoot() {
    size_t n = 0;
    for (const auto& entry : Mounts()) n += entry.mountpoint.starts_with(root_ + "/");
    return n;
  }

  Env env_ = TestEnv();
  std::string root_, stage_;
};

INSTANTIATE_TEST_SUITE_P(Calls, StageTest, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Classic" : "Descriptor"; });

TEST_P(StageTest, GivesTheVolumeWithItsFlags) {
  std::string volume = MakeTmpfs("vol");
  MakeFile("vol/data", "hello");
  auto request = Request(volume);
  auto made = MakeStage(env_, request);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(GetParam(), made->classic);
  const MountEntry* entry = At(stage_);
  ASSERT_NE(nullptr, entry);
  EXPECT_EQ(entry->device, made->device);
  EXPECT_EQ(At(volume)->device, made->device);
  EXPECT_TRUE(HasOption(At(stage_)->options, "nosuid"));
  EXPECT_TRUE(HasOption(At(stage_)->options, "nodev"));
  EXPECT_TRUE(HasOption(At(stage_)->options, "rw"));
  std::string text;
  std::ifstream(stage_ + "/data") >> text;
  EXPECT_EQ("hello", text);
  EXPECT_GE(::open((stage_ + "/new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600), 0);
  EXPECT_EQ(0, ::access((volume + "/new").c_str(), F_OK));
  EXPECT_EQ(1u, MountsBelowRoot());
  ASSERT_TRUE(RemoveStage(env_, root_, stage_).ok());
  EXPECT_EQ(nullptr, At(stage_));
  EXPECT_NE(0, ::access(stage_.c_str(), F_OK));
  EXPECT_EQ(0, ::access((volume + "/data").c_str(), F_OK));
  EXPECT_TRUE(RemoveStage(env_, root_, stage_).ok()) << "a second time";
}

TEST_P(StageTest, ReadOnlyRefusesWritesAndLeavesThePluginsMountAlone) {
  std::string volume = MakeTmpfs("vol");
  auto request = Request(volume);
  request.read_only = true;
  request.nosuid = request.nodev = false;
  ASSERT_TRUE(MakeStage(env_, request).ok());
  EXPECT_EQ(-1, ::open((stage_ + "/new").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_EQ(EROFS, errno);
  EXPECT_FALSE(HasOption(At(stage_)->options, "nosuid"));
  EXPECT_TRUE(HasOption(At(volume)->options, "rw"));
  MakeFile("vol/new");
}

TEST_P(StageTest, NeverLoosensWhatThePluginMounted) {
  std::string volume = MakeTmpfs("vol");
  ASSERT_EQ(0, ::mount(nullptr, volume.c_str(), nullptr,
                       MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOEXEC | MS_NOSUID | MS_NOATIME, nullptr));
  auto request = Request(volume);
  request.nosuid = false;
  ASSERT_TRUE(MakeStage(env_, request).ok());
  for (const char* option : {"ro", "noexec", "nosuid", "noatime", "nodev"})
    EXPECT_TRUE(HasOption(At(stage_)->options, option)) << option;
}

TEST_P(StageTest, APlainFolderIsAVolumeTooWithoutWhatIsMountedBelow) {
  std::string volume = MakeDir("plain");
  MakeTmpfs("plain/nested");
  MakeFile("plain/nested/secret");
  ASSERT_TRUE(MakeStage(env_, Request(volume)).ok());
  EXPECT_EQ(0, ::access((stage_ + "/nested").c_str(), F_OK));
  EXPECT_NE(0, ::access((stage_ + "/nested/secret").c_str(), F_OK));
}

TEST_P(StageTest, SubpathBeneathTheVolume) {
  std::string volume = MakeTmpfs("vol");
  MakeDir("vol/a");
  MakeDir("vol/a/b");
  MakeFile("vol/a/b/in");
  ASSERT_EQ(0, ::symlink("a/b", Path("vol/link").c_str()));
  auto request = Request(volume);
  request.subpath = "link";
  auto made = MakeStage(env_, request);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(0, ::access((stage_ + "/in").c_str(), F_OK));
  EXPECT_EQ(At(volume)->device, made->device);
}

TEST_P(StageTest, SubpathCannotEscape) {
  MakeFile("outside");
  std::string volume = MakeTmpfs("vol");
  MakeDir("vol/a");
  MakeFile("vol/file");
  ASSERT_EQ(0, ::symlink("/etc", Path("vol/absolute").c_str()));
  ASSERT_EQ(0, ::symlink("../..", Path("vol/up").c_str()));
  ASSERT_EQ(0, ::symlink("/proc/self/root", Path("vol/magic").c_str()));
  ASSERT_EQ(0, ::symlink("loop", Path("vol/loop").c_str()));
  MakeTmpfs("vol/mounted");
  struct {
    const char* subpath;
    Code code;
  } cases[] = {{"absolute", Code::kRefused},  {"up", Code::kRefused},    {"a/../..", Code::kInvalid},
               {"/etc", Code::kInvalid},      {"magic", Code::kRefused}, {"loop", Code::kRefused},
               {"mounted", Code::kRefused},   {"file", Code::kRefused},  {"none", Code::kNotFound},
               {"absolute/x", Code::kRefused}};
  for (const auto& c : cases) {
    auto request = Request(volume);
    request.subpath = c.subpath;
    auto made = MakeStage(env_, request);
    ASSERT_FALSE(made.ok()) << c.subpath;
    EXPECT_EQ(c.code, made.status().code()) << c.subpath << ": " << made.status().message();
    EXPECT_FALSE(made.status().hint().empty()) << c.subpath;
    EXPECT_EQ(0u, MountsBelowRoot());
  }
}

TEST_P(StageTest, RefusesWhatIsNoVolume) {
  MakeFile("file");
  ASSERT_EQ(0, ::symlink("/etc", Path("to-etc").c_str()));
  struct {
    std::string mountpoint;
    Code code;
  } cases[] = {{"", Code::kDriver},
               {"relative/x", Code::kDriver},
               {std::string("/tmp/a\0b", 8), Code::kDriver},
               {"/tmp/../etc", Code::kDriver},
               {"/", Code::kRefused},
               {"/etc", Code::kRefused},
               {Path("to-etc"), Code::kRefused},
               {Path("file"), Code::kRefused},
               {Path("none"), Code::kNotFound}};
  for (const auto& c : cases) {
    auto made = MakeStage(env_, Request(c.mountpoint));
    ASSERT_FALSE(made.ok()) << c.mountpoint;
    EXPECT_EQ(c.code, made.status().code()) << c.mountpoint << ": " << made.status().message();
    EXPECT_EQ(std::string::npos, made.status().message().find('\0'));
  }
  EXPECT_EQ(0u, MountsBelowRoot());
}

// Beneath it is a folder of the node, which would be written to in the volume's place.
TEST_P(StageTest, AVolumeThatWasLostSinceTheMountsWereReadIsRefused) {
  std::string volume = MakeTmpfs("vol");
  MakeDir("vol/sub");
  const auto before = Mounts();
  StageRequest request = Request(volume);
  request.mounts = &before;
  ASSERT_EQ(0, ::umount2(volume.c_str(), MNT_DETACH));
  MakeDir("vol/sub");
  ASSERT_EQ(0, ::symlink(volume.c_str(), Path("alias").c_str()));
  for (const auto& [named, subpath] :
       {std::pair(volume, ""), {volume, "sub"}, {Path("alias"), ""}, {Path("alias"), "sub"}}) {
    request.mountpoint = named, request.subpath = subpath;
    for (Ownership ownership : {Ownership::kNone, Ownership::kRootDir}) {
      request.ownership = ownership;
      auto made = MakeStage(env_, request);
      ASSERT_FALSE(made.ok()) << named << " " << subpath;
      EXPECT_NE(std::string::npos, made.status().message().find(volume + " went away"))
          << made.status().message();
    }
  }
  EXPECT_EQ(0u, MountsBelowRoot());
}

TEST_P(StageTest, AMountpointNamedThroughASymlinkIsFollowed) {
  std::string volume = MakeTmpfs("vol");
  MakeFile("vol/data");
  ASSERT_EQ(0, ::symlink(volume.c_str(), Path("alias").c_str()));
  auto made = MakeStage(env_, Request(Path("alias") + "/"));
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(At(volume)->device, made->device);
  EXPECT_EQ(0, ::access((stage_ + "/data").c_str(), F_OK));
  MakeDir("vol/sub");
  MakeFile("vol/sub/inner");
  auto request = Request(Path("alias"));
  request.stage = MakeDir("stage/s2");
  request.subpath = "sub";
  made = MakeStage(env_, request);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(0, ::access((request.stage + "/inner").c_str(), F_OK));
}

TEST_P(StageTest, TwoStagesAtOnePlaceAreRefused) {
  std::string volume = MakeTmpfs("vol");
  ASSERT_TRUE(MakeStage(env_, Request(volume)).ok());
  EXPECT_EQ(Code::kRefused, MakeStage(env_, Request(volume)).status().code());
  EXPECT_EQ(1u, MountsBelowRoot());
}

// A workload's mounts must not reach the driver's mount, where they would keep it busy, nor its the stage.
TEST_P(StageTest, IsNoPeerOfThePluginsMount) {
  std::string volume = MakeTmpfs("vol");
  ASSERT_EQ(0, ::mount(nullptr, volume.c_str(), nullptr, MS_SHARED, nullptr));
  MakeDir("vol/sub");
  ASSERT_TRUE(MakeStage(env_, Request(volume)).ok());
  EXPECT_NE(std::string::npos, At(stage_)->propagation.find("shared:"));
  ASSERT_EQ(0, ::mount("in", (stage_ + "/sub").c_str(), "tmpfs", 0, nullptr));
  EXPECT_EQ(nullptr, At(volume + "/sub"));
  ASSERT_TRUE(RemoveStage(env_, root_, stage_).ok());
}

TEST_P(StageTest, UnmountReachesCopiesInNamespacesMadeMeanwhile) {
  std::string volume = MakeTmpfs("vol");
  auto request = Request(volume);
  request.read_only = true;
  // One namespace is there before, as the one of `dvdi run` is; "/" is private here, and a slave there.
  OtherNamespace before(MS_SLAVE);
  ASSERT_TRUE(MakeStage(env_, request).ok());
  OtherNamespace after(MS_SLAVE);
  for (const OtherNamespace* other : {&before, &after}) {
    auto mounts = other->Mounts();
    const MountEntry* copy = FindMount(mounts, stage_);
    ASSERT_NE(nullptr, copy);
    EXPECT_TRUE(HasOption(copy->options, "ro")) << "a copy without its flags";
    EXPECT_EQ(1u, std::count_if(mounts.begin(), mounts.end(),
                                [&](const auto& m) { return m.mountpoint.starts_with(root_ + "/"); }));
  }
  ASSERT_TRUE(RemoveStage(env_, root_, stage_).ok());
  for (const OtherNamespace* other : {&before, &after})
    EXPECT_EQ(nullptr, FindMount(other->Mounts(), stage_));
}

TEST_P(StageTest, SameWithASharedRootOfTheTree) {
  ASSERT_EQ(0, ::mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr));
  std::string root = Path("shared-root");
  auto prepared = EnsureStageRoot(env_, root);
  stage_ = root + "/s";
  ::mkdir(stage_.c_str(), 0700);
  std::string volume = MakeTmpfs("vol");
  auto made = MakeStage(env_, Request(volume));
  size_t copies = 0;
  for (const auto& entry : Mounts()) copies += entry.mountpoint == stage_;
  OtherNamespace other(MS_SLAVE);
  bool there = FindMount(other.Mounts(), stage_) != nullptr;
  Status removed = RemoveStage(env_, root, stage_);
  bool still = FindMount(other.Mounts(), stage_) != nullptr;
  ASSERT_EQ(0, ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
  EXPECT_TRUE(prepared.ok());
  EXPECT_TRUE(made.ok());
  EXPECT_EQ(1u, copies) << "the stage appears below its own root as well";
  EXPECT_TRUE(there);
  EXPECT_TRUE(removed.ok());
  EXPECT_FALSE(still);
}

TEST_P(StageTest, RootDirIsGivenToTheUser) {
  std::string volume = MakeTmpfs("vol", "mode=0550");
  MakeFile("vol/inside");
  auto request = Request(volume);
  request.ownership = Ownership::kRootDir;
  request.uid = 1234;
  request.gid = 2345;
  auto made = MakeStage(env_, request);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(1, made->chowned);
  struct stat st;
  ASSERT_EQ(0, ::stat(stage_.c_str(), &st));
  EXPECT_EQ(1234u, st.st_uid);
  EXPECT_EQ(2345u, st.st_gid);
  EXPECT_EQ(0750u, st.st_mode & 07777) << "the others' rights are the volume's own";
  ASSERT_EQ(0, ::stat((stage_ + "/inside").c_str(), &st));
  EXPECT_EQ(0u, st.st_uid);
  ASSERT_TRUE(RemoveStage(env_, root_, stage_).ok());
  ASSERT_EQ(0, ::mkdir(stage_.c_str(), 0700));
  made = MakeStage(env_, request);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(0, made->chowned) << "it was right already";
}

TEST_P(StageTest, RecursiveStaysInTheVolumeAndReportsProgress) {
  std::string volume = MakeTmpfs("vol");
  std::string outside = MakeFile("outside");
  for (int d = 0; d < 30; ++d) {
    MakeDir("vol/d" + std::to_string(d));
    for (int f = 0; f < 100; ++f) MakeFile("vol/d" + std::to_string(d) + "/f" + std::to_string(f));
  }
  ASSERT_EQ(0, ::symlink(outside.c_str(), Path("vol/link").c_str()));
  ASSERT_EQ(0, ::symlink(dir_.c_str(), Path("vol/d0/up").c_str()));
  MakeTmpfs("vol/d1/mounted");
  MakeFile("vol/d1/mounted/theirs");
  auto request = Request(volume);
  request.ownership = Ownership::kRecursive;
  request.uid = 1234;
  request.gid = 2345;
  std::vector<int64_t> progress;
  request.progress = [&](int64_t done) { progress.push_back(done); };
  auto made = MakeStage(env_, request);
  ASSERT_TRUE(made.ok()) << made.status().message();
  // 30 folders, 3000 files, 2 links, the folder under the mount, the root.
  EXPECT_EQ(30 + 3000 + 2 + 1 + 1, made->chowned);
  ASSERT_GE(progress.size(), 3u);
  EXPECT_EQ(1000, progress[0]);
  struct stat st;
  ASSERT_EQ(0, ::stat((volume + "/d29/f99").c_str(), &st));
  EXPECT_EQ(1234u, st.st_uid);
  ASSERT_EQ(0, ::lstat((volume + "/link").c_str(), &st));
  EXPECT_EQ(1234u, st.st_uid);
  ASSERT_EQ(0, ::stat(outside.c_str(), &st));
  EXPECT_EQ(0u, st.st_uid);
  ASSERT_EQ(0, ::stat(dir_.c_str(), &st));
  EXPECT_EQ(0u, st.st_uid);
  ASSERT_EQ(0, ::stat((volume + "/d1/mounted/theirs").c_str(), &st));
  EXPECT_EQ(0u, st.st_uid);
}

TEST_P(StageTest, IdmapOnExt4SwapsTheOwner) {
  if (!HasProgram("mkfs.ext4")) GTEST_SKIP() << "mkfs.ext4 is not installed";
  std::string volume = MakeExt4("vol");
  if (At(volume) == nullptr) GTEST_SKIP() << "no loop device can be mounted here";
  MakeFile("vol/by-root");
  MakeFile("vol/by-7");
  ASSERT_EQ(0, ::chown(Path("vol/by-7").c_str(), 7, 8));
  auto request = Request(volume);
  request.ownership = Ownership::kIdmap;
  request.uid = 1234;
  request.gid = 2345;
  auto made = MakeStage(env_, request);
  if (GetParam()) {
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(Code::kUnsupported, made.status().code());
    EXPECT_EQ(0u, MountsBelowRoot());
    return;
  }
  ASSERT_TRUE(made.ok()) << made.status().message();
  struct stat st;
  ASSERT_EQ(0, ::stat(stage_.c_str(), &st));
  EXPECT_EQ(1234u, st.st_uid);
  EXPECT_EQ(2345u, st.st_gid);
  ASSERT_EQ(0, ::stat((stage_ + "/by-7").c_str(), &st));
  EXPECT_EQ(7u, st.st_uid);
  EXPECT_EQ(8u, st.st_gid);
  // What the user writes is the folder's owner's on disk, and what root writes is still possible.
  std::string mine = stage_ + "/mine";
  pid_t child = ::fork();
  if (child == 0) {
    bool ok = ::setgid(2345) == 0 && ::setuid(1234) == 0 &&
              ::open(mine.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0;
    ::_exit(ok ? 0 : 1);
  }
  int status = 0;
  // The way to the stage is root's alone: the child is let in for this.
  ::waitpid(child, &status, 0);
  if (status != 0) {
    ASSERT_EQ(0, ::chmod(root_.c_str(), 0755));
    child = ::fork();
    if (child == 0) {
      bool ok = ::setgid(2345) == 0 && ::setuid(1234) == 0 &&
                ::open(mine.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0;
      ::_exit(ok ? 0 : 1);
    }
    ::waitpid(child, &status, 0);
  }
  EXPECT_EQ(0, status);
  ASSERT_EQ(0, ::stat(Path("vol/mine").c_str(), &st));
  EXPECT_EQ(0u, st.st_uid);
  EXPECT_EQ(0u, st.st_gid);
  MakeFile("stage/s1/by-node-root");
  ASSERT_EQ(0, ::stat(Path("vol/by-node-root").c_str(), &st));
  EXPECT_EQ(1234u, st.st_uid);
}

TEST_P(StageTest, IdmapOnFuseSaysWhatToDoInstead) {
  if (!HasProgram("bindfs")) GTEST_SKIP() << "bindfs is not installed";
  pid_t server;
  auto request = Request(MakeBindfs("vol", &server));
  request.ownership = Ownership::kIdmap;
  request.uid = 1234;
  request.gid = 2345;
  auto made = MakeStage(env_, request);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(Code::kUnsupported, made.status().code());
  if (!GetParam()) {
    EXPECT_NE(std::string::npos, made.status().message().find("fuse")) << made.status().message();
  }
  EXPECT_NE(std::string::npos, made.status().hint().find("root-dir"));
  EXPECT_EQ(0u, MountsBelowRoot());
}

// Every call that a stage is made of fails in every way: nothing stays mounted, nothing stays open.
TEST_P(StageTest, AFailureOfAnyCallLeavesNothing) {
  std::string volume = MakeTmpfs("vol");
  MakeDir("vol/sub");
  auto open_fds = [] {
    std::vector<std::string> names;
    Sys::Real()->ListDir(AT_FDCWD, "/proc/self/fd", &names);
    return names.size();
  };
  ASSERT_TRUE(StatUsage(env_, volume, In(10'000)).ok()) << "one helper waits from here on";
  auto once = [&](FaultySys* sys, const std::string& subpath) {
    auto request = Request(volume);
    request.subpath = subpath;
    request.read_only = true;
    return MakeStage(TestEnv(sys), request);
  };
  for (const char* subpath : {"", "sub"}) {
    FaultySys count;
    ASSERT_TRUE(once(&count, subpath).ok());
    ASSERT_TRUE(RemoveStage(env_, root_, stage_).ok());
    ASSERT_EQ(0, ::mkdir(stage_.c_str(), 0700));
    size_t fds = open_fds();
    std::multiset<std::string> calls(count.called.begin(), count.called.end());
    int combinations = 0;
    for (const std::string& name : std::set<std::string>(calls.begin(), calls.end())) {
      for (int nth = 1; nth <= static_cast<int>(calls.count(name)); ++nth) {
        for (int err : {EPERM, EINVAL, ENOMEM, EBUSY, EIO, EMFILE, ENOSYS, ENOENT}) {
          FaultySys sys;
          sys.fail_name = name;
          sys.fail_nth = nth;
          sys.fail_errno = err;
          std::string what = name + " " + std::to_string(nth) + " " + ::strerror(err);
          auto made = once(&sys, subpath);
          EXPECT_TRUE(sys.fired) << what;
          ++combinations;
          if (made.ok()) {  // another way was taken: it must be a whole one
            const MountEntry* entry = At(stage_);
            ASSERT_NE(nullptr, entry) << what;
            EXPECT_TRUE(HasOption(entry->options, "ro")) << what;
            EXPECT_EQ(1u, MountsBelowRoot()) << what;
            ASSERT_TRUE(RemoveStage(env_, root_, stage_).ok()) << what;
            ASSERT_EQ(0, ::mkdir(stage_.c_str(), 0700));
          } else {
            EXPECT_FALSE(made.status().message().empty()) << what;
          }
          EXPECT_EQ(0u, MountsBelowRoot()) << what;
          std::vector<std::string> left;
          Sys::Real()->ListDir(AT_FDCWD, root_.c_str(), &left);
          EXPECT_EQ(std::vector<std::string>{"s1"}, left) << what;
          EXPECT_EQ(fds, open_fds()) << what;
        }
      }
    }
    EXPECT_GE(combinations, 30);
  }
}

// Nobody gets a volume for writing, or with its devices, that is to be without.
TEST_P(StageTest, AKernelThatSaysYesAndSetsNoFlagsGivesNoStage) {
  struct Deaf : Sys {
    int Mount(const char* source, const char* target, const char* type, unsigned long flags,
              const char* data) override {
      return (flags & MS_REMOUNT) != 0 ? 0 : Sys::Mount(source, target, type, flags, data);
    }
  } sys;
  auto request = Request(MakeTmpfs("vol"));
  request.classic = true;
  for (const bool read_only : {false, true}) {
    request.read_only = read_only;
    auto made = MakeStage(TestEnv(&sys), request);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(Code::kUnsupported, made.status().code()) << made.status().message();
    EXPECT_EQ(0u, MountsBelowRoot());
  }
}

TEST_P(StageTest, AKernelWithoutTheCallsGetsTheClassicOnes) {
  std::string volume = MakeTmpfs("vol");
  for (const char* missing : {"OpenTree", "MountSetattr", "MoveMount"}) {
    FaultySys sys;
    sys.fail_name = missing;
    sys.fail_nth = 1;
    sys.fail_errno = ENOSYS;
    auto request = Request(volume);
    request.classic = false;
    auto made = MakeStage(TestEnv(&sys), request);
    ASSERT_TRUE(made.ok()) << missing << made.status().message();
    EXPECT_TRUE(made->classic);
    ASSERT_TRUE(RemoveStage(env_, root_, stage_).ok());
    ASSERT_EQ(0, ::mkdir(stage_.c_str(), 0700));
  }
}

}  // namespace
}  // namespace dvdi
