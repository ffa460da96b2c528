// What the tests of a volume's life share: nodes as drivers over one pool, and ways to spoil a volume.
#ifndef DVDI_DRIVER_LIFE_TEST_H_
#define DVDI_DRIVER_LIFE_TEST_H_

#include <gtest/gtest.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include <memory>
#include <string>

#include "driver/driver.h"
#include "driver/files.h"
#include "driver/test_world.h"

namespace dvdi::testing {

inline constexpr int64_t kMiB = 1 << 20;

class LifeTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Driver> Node(const std::string& id, int64_t lease_ms = 0, const std::string& cgroup = "",
                               int detach_wait_ms = 5000) {
    DriverOptions o;
    o.pool = dir_ / "pool";
    o.mount_root = dir_ / ("mnt-" + id);
    o.node = id;
    o.default_size = 16 * kMiB;
    o.lease_ms = lease_ms;
    o.io_cgroup = cgroup;
    o.detach_wait_ms = detach_wait_ms;
    auto driver = Driver::Open(o);
    EXPECT_TRUE(driver.ok()) << driver.status().message();
    return driver.ok() ? std::move(*driver) : nullptr;
  }
  static int64_t SizeOf(const std::string& mountpoint) {
    struct statvfs st = {};
    EXPECT_EQ(::statvfs(mountpoint.c_str(), &st), 0);
    return static_cast<int64_t>(st.f_blocks) * static_cast<int64_t>(st.f_frsize);
  }
  static std::string Size(int64_t bytes) { return std::to_string(bytes / kMiB) + "m"; }
  std::string Image() { return dir_ / "pool/v/image"; }
  // As a node that crashed, or was fenced off, leaves it.
  void MakeUnclean() {
    for (const auto& name : Names(dir_ / "pool/v"))
      if (name.rfind("released.", 0) == 0) WriteFile(dir_ / ("pool/v/" + name), "{\"clean\":false}");
  }
  // Nothing can be renewed any more; and again.
  void EndRenewals() {
    std::filesystem::rename(dir_ / "pool/.sessions", dir_ / "pool/.gone-sessions");
    WriteFile(dir_ / "pool/.sessions", "");
  }
  void BeginRenewals() {
    std::filesystem::remove(dir_ / "pool/.sessions");
    std::filesystem::rename(dir_ / "pool/.gone-sessions", dir_ / "pool/.sessions");
  }
  // The error that ends a workload which writes there, 0 where none comes.
  static int ErrorOfWritesBelow(const std::string& folder) {
    int error = 0;
    for (int i = 0; i < 4000 && error == 0; ++i) {
      UniqueFd file(::open((folder + "/file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      if (!file.valid() || ::write(file.get(), "x", 1) < 0 || ::fsync(file.get()) < 0) error = errno;
      ::usleep(2000);
    }
    return error;
  }
  // A fence of "v" by B, whose process dies once the old lease is no more.
  void BreakFenceOff() {
    const pid_t child = ::fork();
    if (child == 0) {
      SetStepHook([](const char* step) {
        if (std::string(step) == "fenced") ::_exit(77);
      });
      auto driver = Node("B", 2000);
      ::_exit(driver != nullptr && driver->Fence("v", false).ok() ? 0 : 1);
    }
    int state = 0;
    ASSERT_EQ(::waitpid(child, &state, 0), child);
    ASSERT_EQ(WEXITSTATUS(state), 77);
  }
  // A lease of another machine that renews nothing any more.
  void LeaseOfTheDead(int64_t lease_ms) {
    std::string number = std::to_string(Node("X")->Get("v")->generation + 1);
    WriteFile(dir_ / ("pool/v/lease." + number), "{\"format\":1,\"node\":\"dead\",\"generation\":" + number +
                                                     ",\"since\":\"2026-01-01T00:00:00Z\",\"boot_id\":\"b\","
                                                     "\"machine\":\"m\",\"pid\":1,\"start_time\":1,"
                                                     "\"session\":\"dead.0123456789abcdef\",\"lease_ms\":" +
                                                     std::to_string(lease_ms) + "}");
  }

  TempDir dir_{TempDir::kMemory};
};

}  // namespace dvdi::testing

#endif  // DVDI_DRIVER_LIFE_TEST_H_
