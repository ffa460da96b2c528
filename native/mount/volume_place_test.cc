// Where the folder that a driver named really is.
#include <sys/stat.h>
#include <unistd.h>

#include "mount/stage.h"
#include "mount/test_world.h"

namespace dvdi {
namespace {

using VolumePlaceTest = MountTest;

// A symlink is a driver's to make, and leads anywhere.
TEST_F(VolumePlaceTest, WhereTheFolderReallyIsIsAskedBeforeAnythingThereIsTouched) {
  const std::string volume = MakeDir("vol"), alias = Path("alias");
  ASSERT_EQ(0, ::symlink("vol", alias.c_str()));
  MakeDir("stage");
  const std::string stage = MakeDir("stage/s");
  StageRequest request;
  request.mountpoint = alias, request.stage = stage, request.deadline_ms = In(10'000);
  request.ownership = Ownership::kRecursive;
  request.uid = request.gid = 4711;
  std::vector<std::string> asked;
  request.may_be_at = [&](const std::string& place) {
    asked.push_back(place);
    return place == volume ? Status(Code::kRefused, "not there") : Status();
  };
  auto made = MakeStage(TestEnv(), request);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ("not there", made.status().message());
  EXPECT_EQ(asked, (std::vector<std::string>{alias, volume}));
  struct stat st = {};
  ASSERT_EQ(0, ::stat(volume.c_str(), &st));
  EXPECT_EQ(::geteuid(), st.st_uid) << "its owner was changed";
  EXPECT_EQ(nullptr, FindMount(Mounts(), stage));
  request.may_be_at = [](const std::string&) { return Status(); };
  made = MakeStage(TestEnv(), request);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_EQ(1, made->chowned) << "it is the folder that was looked at";
  std::string real;
  ASSERT_TRUE(CheckMountpoint(TestEnv(), alias, 0, In(10'000), nullptr, nullptr, &real).ok());
  EXPECT_EQ(volume, real);
}

}  // namespace
}  // namespace dvdi
