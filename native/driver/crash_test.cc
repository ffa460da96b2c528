// The process is ended after each step of each operation; the next driver has to make sense of it.
#include <gtest/gtest.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <functional>

#include "driver/driver.h"
#include "driver/files.h"
#include "driver/grow.h"
#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::Exists;
using testing::Names;
using testing::NeedVolumes;
using testing::ReadFile;
using testing::TempDir;
using testing::WriteFile;

constexpr int kCrashed = 77;
int g_steps_left = 0;
void CountDown(const char*) {
  if (--g_steps_left == 0) ::_exit(kCrashed);
}

class CrashTest : public ::testing::Test {
 protected:
  void SetUp() override { DVDI_SKIP_UNLESS(NeedVolumes("ext4")); }

  struct World {
    TempDir dir{TempDir::kMemory};
    std::unique_ptr<Driver> Node(const std::string& id) {
      DriverOptions o;
      o.pool = dir / "pool";
      o.mount_root = dir / ("mnt-" + id);
      o.node = id;
      o.default_size = 16 << 20;
      o.detach_wait_ms = 5000;
      auto driver = Driver::Open(o);
      EXPECT_TRUE(driver.ok()) << driver.status().message();
      return driver.ok() ? std::move(*driver) : nullptr;
    }
  };
  using Operation = std::function<Status(Driver&)>;

  // The exit status of a process that opens a driver and does `operation`, ended at its nth step (0: never).
  static int InAChild(World& world, const Operation& operation, int nth) {
    pid_t child = ::fork();
    if (child == 0) {
      auto driver = world.Node("A");
      g_steps_left = nth;
      SetStepHook(&CountDown);
      ::_exit(driver != nullptr && operation(*driver).ok() ? 0 : 1);
    }
    int state = 0;
    EXPECT_EQ(::waitpid(child, &state, 0), child);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
  }

  // Runs `prepare`, then `operation` in a process that ends at its nth step, then `check`; for n = 1, 2, …
  // until the operation gets to its end. The number of crash points.
  int AtEachStep(const Operation& prepare, const Operation& operation,
                 const std::function<void(World&)>& check) {
    for (int n = 1;; ++n) {
      SCOPED_TRACE("ended at step " + std::to_string(n));
      World world;
      // In a process of its own as well, as the leases that it takes are of a driver that is gone.
      EXPECT_EQ(InAChild(world, prepare, 0), 0);
      int status = InAChild(world, operation, n);
      EXPECT_TRUE(status == kCrashed || status == 0) << status;
      check(world);
      if (::testing::Test::HasFailure() || status != kCrashed) return n - 1;
    }
  }

  // Whatever happened: the volume can be had by A and then by B, with the data given; nothing is left over.
  static void Usable(World& world, const std::string& data) {
    auto a = world.Node("A"), b = world.Node("B");
    ASSERT_TRUE(a != nullptr && b != nullptr);
    for (const auto& name : Names(world.dir / "pool")) EXPECT_NE(name[0], '.') << name;
    bool mounted = !a->Get("v")->mountpoint.empty();
    // The lease tells the same as the mount table.
    EXPECT_EQ(a->Get("v")->lease.has_value(), mounted);
    auto at = a->Mount("v", "1");
    ASSERT_TRUE(at.ok()) << at.status().message();
    EXPECT_FALSE(b->Mount("v", "b").ok());
    EXPECT_EQ(ReadFile(*at + "/file"), data);
    WriteFile(*at + "/file", "written after");
    Status s = a->Unmount("v", "1");
    ASSERT_TRUE(s.ok()) << s.message();
    EXPECT_EQ(a->Get("v")->mountpoint, "") << "a user was counted twice";
    at = b->Mount("v", "b");
    ASSERT_TRUE(at.ok()) << at.status().message();
    EXPECT_EQ(ReadFile(*at + "/file"), "written after");
    s = b->Unmount("v", "b");
    ASSERT_TRUE(s.ok()) << s.message();
    auto files = Names(world.dir / "pool/v");
    std::sort(files.begin(), files.end());
    for (auto& file : files) file = file.substr(0, file.find_first_of("0123456789"));
    EXPECT_EQ(files, (std::vector<std::string>{"image", "lease.", "released.", "volume.json"}));
    EXPECT_EQ(Names(world.dir / "mnt-A"), std::vector<std::string>{".state"});
    EXPECT_EQ(Names(world.dir / "mnt-A/.state"), std::vector<std::string>{"lock"});
  }

  static Status MountAndWrite(Driver& driver) {
    auto at = driver.Mount("v", "1");
    if (!at.ok()) return at.status();
    WriteFile(*at + "/file", "before");
    return OkStatus();
  }
};

TEST_F(CrashTest, Create) {
  int points = AtEachStep([](Driver&) { return OkStatus(); }, [](Driver& d) { return d.Create("v", {}); },
                          [](World& world) {
                            auto a = world.Node("A");
                            for (const auto& name : Names(world.dir / "pool")) EXPECT_EQ(name, "v");
                            // All of it or nothing of it.
                            auto list = a->List();
                            ASSERT_TRUE(list.ok());
                            auto got = a->Get("v");
                            EXPECT_EQ(got.ok(), list->size() == 1);
                            Status s = a->Create("v", {});
                            ASSERT_TRUE(s.ok()) << s.message();
                            a.reset();
                            Usable(world, "");
                          });
  EXPECT_GE(points, 5);
}

TEST_F(CrashTest, FirstMount) {
  int points = AtEachStep([](Driver& d) { return d.Create("v", {}); },
                          [](Driver& d) { return d.Mount("v", "1").status(); },
                          [](World& world) { Usable(world, ""); });
  EXPECT_GE(points, 12);
}

TEST_F(CrashTest, LaterMount) {
  int points = AtEachStep(
      [](Driver& d) {
        Status s = d.Create("v", {});
        if (s.ok()) s = MountAndWrite(d);
        return s.ok() ? d.Unmount("v", "1") : s;
      },
      [](Driver& d) { return d.Mount("v", "1").status(); }, [](World& world) { Usable(world, "before"); });
  EXPECT_GE(points, 8);
}

TEST_F(CrashTest, SecondUser) {
  int points = AtEachStep(
      [](Driver& d) {
        Status s = d.Create("v", {});
        return s.ok() ? MountAndWrite(d) : s;
      },
      [](Driver& d) { return d.Mount("v", "2").status(); },
      [](World& world) {
        {
          auto a = world.Node("A");
          // Known or not, after its Unmount only the first one is left.
          ASSERT_TRUE(a->Unmount("v", "2").ok());
          EXPECT_NE(a->Get("v")->mountpoint, "");
        }
        Usable(world, "before");
      });
  EXPECT_GE(points, 3);
}

TEST_F(CrashTest, Unmount) {
  int points = AtEachStep(
      [](Driver& d) {
        Status s = d.Create("v", {});
        return s.ok() ? MountAndWrite(d) : s;
      },
      [](Driver& d) { return d.Unmount("v", "1"); },
      [](World& world) {
        {
          auto a = world.Node("A");
          // The client got no answer, so it asks again.
          Status s = a->Unmount("v", "1");
          ASSERT_TRUE(s.ok()) << s.message();
          EXPECT_EQ(a->Get("v")->mountpoint, "");
          EXPECT_FALSE(a->Get("v")->lease.has_value());
        }
        Usable(world, "before");
      });
  EXPECT_GE(points, 6);
}

TEST_F(CrashTest, Grow) {
  for (bool mounted : {false, true}) {
    int points = AtEachStep(
        [mounted](Driver& d) {
          Status s = d.Create("v", {});
          if (s.ok()) s = MountAndWrite(d);
          return s.ok() && !mounted ? d.Unmount("v", "1") : s;
        },
        [](Driver& d) {
          Status s = d.Create("v", {{"size", "32m"}});
          return s.ok() ? d.Mount("v", "1").status() : s;
        },
        [](World& world) {
          {
            auto a = world.Node("A");
            int64_t size = a->Get("v")->size_bytes;
            EXPECT_TRUE(size == 16 << 20 || size == 32 << 20);
            // The client got no answer, so it asks again.
            Status s = a->Create("v", {{"size", "32m"}});
            ASSERT_TRUE(s.ok()) << s.message();
            auto at = a->Mount("v", "1");
            ASSERT_TRUE(at.ok()) << at.status().message();
            if (a->Get("v")->grow) {
              // Where a mounted one may not be grown.
              ASSERT_FALSE(MayGrowMounted(Filesystem::kExt4));
              ASSERT_TRUE(a->Unmount("v", "1").ok());
              ASSERT_TRUE(a->Mount("v", "1").ok());
            }
            struct statvfs st;
            ASSERT_EQ(::statvfs(at->c_str(), &st), 0);
            EXPECT_GT(st.f_blocks * st.f_frsize, 24u << 20);
            EXPECT_FALSE(a->Get("v")->grow);
          }
          Usable(world, "before");
        });
    EXPECT_GE(points, mounted ? 4 : 8);
  }
}

TEST_F(CrashTest, Remove) {
  int points = AtEachStep(
      [](Driver& d) {
        Status s = d.Create("v", {});
        if (s.ok()) s = MountAndWrite(d);
        return s.ok() ? d.Unmount("v", "1") : s;
      },
      [](Driver& d) { return d.Remove("v"); },
      [](World& world) {
        {
          auto a = world.Node("A");
          auto list = a->List();
          ASSERT_TRUE(list.ok());
          if (list->empty()) {
            EXPECT_TRUE(Names(world.dir / "pool").empty());
            return;
          }
        }
        Usable(world, "before");
      });
  EXPECT_GE(points, 6);
}

// What an mkfs that outlives its driver may still write does not reach the volume.
TEST_F(CrashTest, AnOrphanedMkfsWritesIntoNothing) {
  World world;
  {
    auto a = world.Node("A");
    ASSERT_TRUE(a->Create("v", {}).ok());
  }
  pid_t child = ::fork();
  if (child == 0) {
    auto driver = world.Node("A");
    SetStepHook([](const char* step) {
      if (std::string(step) == "tool-started") ::_exit(kCrashed);
    });
    ::_exit(driver != nullptr && driver->Mount("v", "1").ok() ? 0 : 1);
  }
  int state = 0;
  ASSERT_EQ(::waitpid(child, &state, 0), child);
  ASSERT_TRUE(WIFEXITED(state));
  ASSERT_EQ(WEXITSTATUS(state), kCrashed);
  struct stat st;
  ASSERT_EQ(::stat((world.dir / "pool/v/image").c_str(), &st), 0);
  EXPECT_EQ(st.st_blocks, 0) << "the image itself is formatted only by a rename";
  Usable(world, "");
}

}  // namespace
}  // namespace dvdi
