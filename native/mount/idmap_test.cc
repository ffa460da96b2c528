#include <sys/stat.h>

#include "mount/stage.h"
#include "mount/test_world.h"

namespace dvdi {
namespace {

using IdmapTest = MountTest;

TEST_F(IdmapTest, AFolderWithOneRightIdIsMappedForTheOther) {
  if (!HasProgram("mkfs.ext4")) GTEST_SKIP() << "mkfs.ext4 is not installed";
  const std::string volume = MakeExt4("vol");
  if (FindMount(Mounts(), volume) == nullptr) GTEST_SKIP() << "no loop device can be mounted here";
  const Env env = TestEnv();
  ASSERT_TRUE(EnsureStageRoot(env, Path("stage")).ok());
  struct {
    uid_t uid;
    gid_t gid;
  } constexpr kAsked[] = {{0, 2345}, {1234, 0}, {0, 0}};
  for (const auto& asked : kAsked) {
    SCOPED_TRACE(std::to_string(asked.uid) + ":" + std::to_string(asked.gid));
    StageRequest request;
    request.mountpoint = volume;
    request.stage = MakeDir("stage/s");
    request.ownership = Ownership::kIdmap;
    request.uid = asked.uid, request.gid = asked.gid;
    request.deadline_ms = In(60'000);
    const auto made = MakeStage(env, request);
    ASSERT_TRUE(made.ok()) << made.status().message();
    struct stat st;
    ASSERT_EQ(0, ::stat(request.stage.c_str(), &st));
    EXPECT_EQ(asked.uid, st.st_uid);
    EXPECT_EQ(asked.gid, st.st_gid);
    ASSERT_EQ(0, ::stat(volume.c_str(), &st));
    EXPECT_EQ(0u, st.st_uid + st.st_gid) << "on disk nothing changes";
    ASSERT_TRUE(RemoveStage(env, Path("stage"), request.stage).ok());
  }
}

}  // namespace
}  // namespace dvdi
