// Real volumes: loop devices, ext4, xfs, two nodes as two drivers over one pool.
#include "driver/driver_test.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "base/json.h"
#include "driver/files.h"

namespace dvdi {
namespace {

using testing::DriverTest;
using testing::Exists;
using testing::MountsNow;
using testing::Names;
using testing::NeedVolumes;
using testing::ReadFile;
using testing::WriteFile;

TEST_F(DriverTest, DataComesBackOnTheOtherNode) {
  for (std::string fs : {"ext4", "xfs", "btrfs"}) {
    if (std::string why = NeedVolumes(fs); !why.empty()) GTEST_SKIP() << why;
    auto a = Node("A"), b = Node("B");
    ASSERT_OK(a->Create("v", {{"newfstype", fs}, {"size", fs == "ext4" ? "16m" : "300m"}}));
    auto at = a->Mount("v", "id1");
    ASSERT_OK(at);
    EXPECT_EQ(*at, dir_ / "mnt-A/v");
    EXPECT_EQ(*a->Path("v"), *at);
    EXPECT_TRUE(Names(*at).empty()) << "no lost+found in the way of databases";
    WriteFile(*at + "/file", "from A");
    auto mounts = MountsNow();
    const MountEntry* entry = FindMount(mounts, *at);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->type, fs);
    EXPECT_NE(entry->options.find("nosuid"), std::string::npos);
    EXPECT_NE(entry->options.find("nodev"), std::string::npos);
    EXPECT_NE(entry->propagation.find("shared:"), std::string::npos);

    auto refused = b->Mount("v", "id2");
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().code(), Code::kRefused);
    EXPECT_NE(refused.status().message().find("in use on node A since"), std::string::npos);
    EXPECT_FALSE(Exists(dir_ / "mnt-B/v"));
    EXPECT_EQ(b->Remove("v").code(), Code::kRefused);
    EXPECT_EQ(a->Remove("v").code(), Code::kRefused);

    ASSERT_OK(a->Unmount("v", "id1"));
    EXPECT_FALSE(Exists(*at));
    EXPECT_FALSE(Leased("v"));
    auto there = b->Mount("v", "id2");
    ASSERT_OK(there);
    EXPECT_EQ(ReadFile(*there + "/file"), "from A");
    EXPECT_EQ(b->Get("v")->generation, 2u);
    ASSERT_OK(b->Unmount("v", "id2"));
    EXPECT_TRUE(b->Get("v")->clean);
    ASSERT_OK(a->Remove("v"));
    EXPECT_TRUE(Names(dir_ / "pool").empty());
  }
}

TEST_F(DriverTest, EveryIdCountsOnceAndTheLastOneUnmounts) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  EXPECT_EQ(*a->Mount("v", "1"), *at);
  EXPECT_EQ(*a->Mount("v", "2"), *at);
  EXPECT_EQ(*a->Mount("v", ""), *at);  // a client that sends no ID
  ASSERT_OK(a->Unmount("v", "unknown"));
  ASSERT_OK(a->Unmount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));  // a repeated one takes nobody else's
  ASSERT_OK(a->Unmount("v", ""));
  EXPECT_EQ(a->Get("v")->mountpoint, *at);
  ASSERT_OK(a->Unmount("v", "2"));
  EXPECT_EQ(a->Get("v")->mountpoint, "");
  EXPECT_FALSE(Leased("v"));
  ASSERT_OK(a->Unmount("v", "2"));
}

TEST_F(DriverTest, ARestartTakesOverWhatIsMounted) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  ASSERT_OK(a->Mount("v", "2"));
  WriteFile(*at + "/file", "x");
  a.reset();
  EXPECT_EQ(ReadFile(*at + "/file"), "x");
  a = Node("A");
  EXPECT_EQ(a->Get("v")->mountpoint, *at);
  EXPECT_EQ(a->Get("v")->lease->holder.pid, ::getpid());
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_EQ(a->Get("v")->mountpoint, *at);
  ASSERT_OK(a->Unmount("v", "2"));
  EXPECT_EQ(a->Get("v")->mountpoint, "");
}

TEST_F(DriverTest, OneDriverForEachMountRoot) {
  auto a = Node("A");
  DriverOptions o;
  o.pool = dir_ / "pool2";
  o.mount_root = dir_ / "mnt-A";
  o.node = "C";
  // The lock is the open file's, so one process can stand for two.
  EXPECT_EQ(Driver::Open(o).status().code(), Code::kRefused);
}

// A tool that is just being started has the lock of the driver that started it, and has died, a moment
// longer.
TEST_F(DriverTest, ALockThatIsGivenBackInAMomentIsWaitedFor) {
  Node("A").reset();
  UniqueFd lock(::open((dir_ / "mnt-A/.state/lock").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(lock.valid());
  ASSERT_EQ(Sys::Real()->TryLock(lock.get()), 0);
  std::thread tool([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    lock.reset();
  });
  EXPECT_NE(Node("A"), nullptr);
  tool.join();
}

TEST_F(DriverTest, AForeignSignatureIsNeverFormattedAndALikeOneIsTaken) {
  auto a = Node("A");
  ASSERT_OK(a->Create("donor", {}));
  ASSERT_OK(a->Mount("donor", "1"));
  WriteFile(dir_ / "mnt-A/donor/precious", "data");
  ASSERT_OK(a->Unmount("donor", "1"));
  for (std::string fs : {"xfs", "ext4"}) {
    ASSERT_OK(a->Create(fs, {{"newfstype", fs}, {"size", "300m"}, {"overwritefs", "true"}}));
    std::filesystem::copy_file(dir_ / "pool/donor/image", dir_ / ("pool/" + fs + "/image"),
                               std::filesystem::copy_options::overwrite_existing);
  }
  std::string before = ReadFile(dir_ / "pool/xfs/image");
  auto refused = a->Mount("xfs", "1");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("holds ext4; it is never formatted"), std::string::npos);
  EXPECT_TRUE(before == ReadFile(dir_ / "pool/xfs/image"));
  EXPECT_FALSE(Leased("xfs")) << "a refused mount keeps no lease";
  EXPECT_FALSE(a->Get("xfs")->formatted);
  // The same filesystem is used as it is.
  ASSERT_OK(a->Mount("ext4", "1"));
  EXPECT_EQ(ReadFile(dir_ / "mnt-A/ext4/precious"), "data");
  ASSERT_OK(a->Unmount("ext4", "1"));
}

TEST_F(DriverTest, AFormattedImageThatLostItsFilesystemIsNotFormattedAgain) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));
  ASSERT_EQ(::truncate((dir_ / "pool/v/image").c_str(), 0), 0);
  ASSERT_EQ(::truncate((dir_ / "pool/v/image").c_str(), 16 << 20), 0);
  auto r = a->Mount("v", "1");
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.status().message().find("should hold ext4"), std::string::npos) << r.status().message();
  EXPECT_FALSE(Leased("v"));
}

TEST_F(DriverTest, ABusyVolumeStaysMountedAndLeased) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  UniqueFd user(::open(at->c_str(), O_RDONLY | O_CLOEXEC));
  Status s = a->Unmount("v", "1");
  EXPECT_EQ(s.code(), Code::kRefused);
  EXPECT_NE(s.message().find("busy"), std::string::npos) << s.message();
  EXPECT_TRUE(Leased("v"));
  EXPECT_EQ(a->Get("v")->mountpoint, *at);
  user.reset();
  ASSERT_OK(a->Unmount("v", "1"));
}

TEST_F(DriverTest, ALeaseRemovedByHandDoesNotLetTwoNodesOfOneMachineIn) {
  auto a = Node("A"), b = Node("B");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  WriteFile(dir_ / "pool/v/released.1", "{\"clean\":false}");
  auto r = b->Mount("v", "2");
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.status().message().find("without a lease"), std::string::npos) << r.status().message();
  EXPECT_FALSE(Leased("v"));
  // The next user on A takes a lease again.
  ASSERT_OK(a->Mount("v", "3"));
  EXPECT_TRUE(Leased("v"));
  ASSERT_OK(a->Unmount("v", "1"));
  ASSERT_OK(a->Unmount("v", "3"));
  EXPECT_FALSE(Leased("v"));
}

TEST_F(DriverTest, ALeaseLostToAnotherNodeIsLeftAlone) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  // As another machine would have written it after an operator's mistake.
  Json lease = Json::parse(ReadFile(Lease("v")));
  lease["node"] = "Z", lease["boot_id"] = "of another machine";
  const std::string theirs = lease.dump() + "\n";
  WriteFile(Lease("v"), theirs);
  auto joined = a->Mount("v", "2");
  ASSERT_FALSE(joined.ok());
  EXPECT_NE(joined.status().message().find("node Z"), std::string::npos);
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_EQ(a->Get("v")->mountpoint, "");
  EXPECT_EQ(ReadFile(Lease("v")), theirs);
  EXPECT_EQ(a->Remove("v").code(), Code::kRefused);
  EXPECT_TRUE(Exists(dir_ / "pool/v/image"));
}

// What this node has in its memory of the filesystem is not what is in the image any more.
TEST_F(DriverTest, WhatAnotherNodeHadWhileNoDriverRanIsNotTakenOver) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  a.reset();
  // As that node would have written it: taken on an operator's word, and given back since.
  Json theirs = Json::parse(ReadFile(Lease("v")));
  const uint64_t next = theirs["generation"].get<uint64_t>() + 1;
  theirs["node"] = "Z", theirs["generation"] = next;
  WriteFile(dir_ / ("pool/v/lease." + std::to_string(next)), theirs.dump() + "\n");
  WriteFile(dir_ / ("pool/v/released." + std::to_string(next)), "{\"clean\":true}\n");
  a = Node("A");
  EXPECT_FALSE(Leased("v"));
  auto joined = a->Mount("v", "2");
  ASSERT_FALSE(joined.ok());
  EXPECT_NE(joined.status().message().find("was shut down on this node"), std::string::npos)
      << joined.status().message();
  Status unmounted;
  do unmounted = a->Unmount("v", "1");
  while (unmounted.message().find("is busy") != std::string::npos);  // it is being shut down still
  ASSERT_OK(unmounted);
  EXPECT_EQ(a->Get("v")->mountpoint, "");
}

// As where its name is the host's, which was changed: a workload is at work in it still.
TEST_F(DriverTest, WhatANodeHasMountedStaysWhenItIsGivenAnotherName) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  auto place = a->Mount("v", "1");
  ASSERT_TRUE(place.ok());
  WriteFile(*place + "/file", "written");
  a.reset();
  DriverOptions o;
  o.pool = dir_ / "pool", o.mount_root = dir_ / "mnt-A", o.node = "renamed";
  auto renamed = Driver::Open(o);
  ASSERT_TRUE(renamed.ok()) << renamed.status().message();
  EXPECT_EQ(ReadFile(*place + "/file"), "written");
  EXPECT_NE(ReadFile(Lease("v")).find("\"node\":\"renamed\""), std::string::npos);
  ASSERT_OK((*renamed)->Unmount("v", "1"));
  EXPECT_FALSE(Leased("v"));
}

// FUSE and NFS would keep it, under another name, in the folder that is to go.
TEST_F(DriverTest, ARemovedImageIsOpenNowhereInTheDriver) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));
  static std::string open;
  static bool looked;
  open.clear();
  looked = false;
  SetStepHook([](const char* step) {
    if (std::string(step) != "removal-renamed") return;
    looked = true;
    for (const auto& fd : Names("/proc/self/fd")) {
      char path[4096] = {};
      if (::readlink(("/proc/self/fd/" + fd).c_str(), path, sizeof path - 1) > 0 &&
          std::string(path).find("/pool/.gone.A.") != std::string::npos &&
          std::string(path).ends_with("/image"))
        open += path;
    }
  });
  Status removed = a->Remove("v");
  SetStepHook(nullptr);
  ASSERT_OK(removed);
  EXPECT_TRUE(looked);
  EXPECT_EQ(open, "");
}

TEST_F(DriverTest, SomethingElseAtTheMountpointIsNotTakenForTheVolume) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_EQ(::mkdir((dir_ / "mnt-A/v").c_str(), 0755), 0);
  ASSERT_EQ(::mount("none", (dir_ / "mnt-A/v").c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_EQ(a->Mount("v", "1").status().code(), Code::kRefused);
  EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
  ASSERT_EQ(::umount((dir_ / "mnt-A/v").c_str()), 0);
  ASSERT_OK(a->Mount("v", "1"));
  ASSERT_OK(a->Unmount("v", "1"));
}

TEST_F(DriverTest, LostStateOfTheNodeStillUnmounts) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  a.reset();
  WriteFile(dir_ / "mnt-A/.state/v.json", "{");
  a = Node("A");
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_EQ(a->Get("v")->mountpoint, "");
  EXPECT_FALSE(Leased("v"));
}

TEST_F(DriverTest, AVolumeThatVanishedFromThePoolStillUnmounts) {
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  std::filesystem::rename(dir_ / "pool/v", dir_ / "elsewhere");
  ASSERT_OK(a->Unmount("v", "other"));
  EXPECT_TRUE(Exists(dir_ / "mnt-A/v"));
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_FALSE(Exists(dir_ / "mnt-A/v"));
}

TEST_F(DriverTest, ALeaseOfAnEarlierBootIsGivenBackAtTheStart) {
  auto a = Node("A"), b = Node("B");
  ASSERT_OK(a->Create("v", {}));
  ASSERT_OK(a->Mount("v", "1"));
  std::string file = Lease("v"), lease = ReadFile(file);
  ASSERT_OK(a->Unmount("v", "1"));
  a.reset();
  // What a power cut leaves: a lease and a state of a boot that is over, and nothing mounted.
  std::string boot = Sys::Real()->BootId()->id;
  lease.replace(lease.find(boot), boot.size(), "00000000-0000-0000-0000-000000000000");
  ASSERT_EQ(::unlink((dir_ / "pool/v/released.1").c_str()), 0);
  WriteFile(file, lease);
  WriteFile(dir_ / "mnt-A/.state/v.json",
            "{\"boot_id\":\"00000000-0000-0000-0000-000000000000\",\"generation\":1,\"ids\":[\"1\"]}");
  EXPECT_FALSE(b->Mount("v", "2").ok());
  a = Node("A");
  EXPECT_FALSE(Leased("v"));
  EXPECT_FALSE(a->Get("v")->clean) << "nobody saw it unmounted";
  ASSERT_OK(b->Mount("v", "2"));
  ASSERT_OK(b->Unmount("v", "2"));
  EXPECT_TRUE(b->Get("v")->clean);
}

TEST_F(DriverTest, ManyAtOnce) {
  auto a = Node("A"), b = Node("B");
  constexpr int kVolumes = 3, kThreads = 6, kRounds = 4;
  for (int v = 0; v < kVolumes; ++v) ASSERT_OK(a->Create("v" + std::to_string(v), {}));
  std::atomic<int> mounted{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      Driver& driver = t % 2 == 0 ? *a : *b;
      for (int round = 0; round < kRounds; ++round) {
        std::string name = "v" + std::to_string((t + round) % kVolumes), id = "id" + std::to_string(t);
        auto at = driver.Mount(name, id);
        if (!at.ok()) {
          // Only the other node is a reason to be refused.
          if (at.status().code() != Code::kRefused) ++wrong, ADD_FAILURE() << at.status().message();
          continue;
        }
        ++mounted;
        WriteFile(*at + "/" + id, "x");
        if (ReadFile(*at + "/" + id) != "x") ++wrong;
        Status s = driver.Unmount(name, id);
        if (!s.ok()) ++wrong, ADD_FAILURE() << s.message();
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(mounted, 0);
  for (int v = 0; v < kVolumes; ++v) {
    EXPECT_FALSE(Leased("v" + std::to_string(v)));
    ASSERT_OK(a->Remove("v" + std::to_string(v)));
  }
}

// As a backup that is put into the pool under another name; and as one whose node crashed, which is checked.
TEST_F(DriverTest, AnXfsVolumeAndItsCopyAreUsedSideBySide) {
  DVDI_SKIP_UNLESS(NeedVolumes("xfs"));
  auto a = Node("A");
  ASSERT_OK(a->Create("v", {{"size", "300m"}, {"fstype", "xfs"}}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  WriteFile(*at + "/file", "data");
  ASSERT_OK(a->Unmount("v", "1"));
  for (const std::string name : {"copy", "crashed"}) {
    const std::string folder = dir_ / ("pool/" + name);
    ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
    std::filesystem::copy(dir_ / "pool/v/image", folder + "/image");
    std::string meta = ReadFile(dir_ / "pool/v/volume.json");
    const std::string of_v = "\"name\":\"v\"";
    ASSERT_NE(meta.find(of_v), std::string::npos) << meta;
    WriteFile(folder + "/volume.json",
              meta.replace(meta.find(of_v), of_v.size(), "\"name\":\"" + name + "\""));
    for (const char* file : {"/image", "/volume.json"}) ASSERT_EQ(::chmod((folder + file).c_str(), 0600), 0);
  }
  WriteFile(dir_ / "pool/crashed/lease.1", "");
  WriteFile(dir_ / "pool/crashed/released.1", "{\"clean\":false}");
  for (const char* name : {"v", "copy", "crashed"}) {
    auto there = a->Mount(name, "1");
    ASSERT_OK(there);
    EXPECT_EQ(ReadFile(*there + "/file"), "data") << name;
  }
  for (const char* name : {"v", "copy", "crashed"}) {
    ASSERT_OK(a->Unmount(name, "1"));
    EXPECT_TRUE(a->Get(name)->clean) << name;
  }
}

}  // namespace
}  // namespace dvdi
