// What the driver's tests share: nodes as drivers over one pool, and who has a lease.
#ifndef DVDI_DRIVER_DRIVER_TEST_H_
#define DVDI_DRIVER_DRIVER_TEST_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "driver/driver.h"
#include "driver/test_world.h"

namespace dvdi::testing {

class DriverTest : public ::testing::Test {
 protected:
  void SetUp() override { DVDI_SKIP_UNLESS(NeedVolumes("ext4")); }
  std::unique_ptr<Driver> Node(const std::string& id, int detach_wait_ms = 5000) {
    DriverOptions o;
    o.pool = dir_ / "pool";
    o.mount_root = dir_ / ("mnt-" + id);
    o.node = id;
    o.default_size = 16 << 20;
    o.detach_wait_ms = detach_wait_ms;
    auto driver = Driver::Open(o);
    EXPECT_TRUE(driver.ok()) << driver.status().message();
    return driver.ok() ? std::move(*driver) : nullptr;
  }
  // Whether the volume is leased, by the files alone.
  bool Leased(const std::string& volume) { return !Lease(volume).empty(); }
  // The path of the lease that counts, "" where the volume is free.
  std::string Lease(const std::string& volume) {
    std::string folder = dir_ / ("pool/" + volume);
    long last = 0;
    for (const auto& name : Names(folder))
      if (name.rfind("lease.", 0) == 0) last = std::max(last, std::stol(name.substr(6)));
    std::string number = std::to_string(last);
    return last == 0 || Exists(folder + "/released." + number) ? "" : folder + "/lease." + number;
  }

  TempDir dir_{TempDir::kMemory};
};

}  // namespace dvdi::testing

#endif  // DVDI_DRIVER_DRIVER_TEST_H_
