// What the module's library shows, and what it wants of the agent that loads it.
#include <gtest/gtest.h>

#include "base/testing/elf.h"

namespace {

using dvdi::testing::Elf;
using dvdi::testing::Names;

class ModuleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::string(DVDI_TEST_MODULE).empty()) GTEST_SKIP() << "the module was not built: " << DVDI_TEST_WHY;
  }
};

bool StartsWithOneOf(const std::string& name, std::initializer_list<const char*> beginnings) {
  for (const char* b : beginnings)
    if (name.rfind(b, 0) == 0) return true;
  return false;
}

TEST_F(ModuleTest, ShowsItsTwoNamesAndNothingElse) {
  EXPECT_EQ(Elf(DVDI_TEST_MODULE).exported,
            (Names{"org_dvdi_DockerVolumeIsolator", "com_emccode_mesos_DockerVolumeDriverIsolator"}));
}

// What the agent has is the agent's: no second libmesos, protobuf, glog, SQLite, curl.
TEST_F(ModuleTest, NeedsTheBaseLibrariesAlone) {
  for (const auto& name : Elf(DVDI_TEST_MODULE).needed)
    EXPECT_TRUE(StartsWithOneOf(name, {"libstdc++.so.", "libm.so.", "libgcc_s.so.", "libc.so.", "ld-linux"}))
        << name;
}

// The engine's parts are bound inside: nothing of the same name in the agent takes their place.
TEST_F(ModuleTest, WantsNothingThatTheEngineHas) {
  for (const auto& name : Elf(DVDI_TEST_MODULE).imported) {
    EXPECT_FALSE(
        StartsWithOneOf(name, {"sqlite3_", "dvdi_", "wasmtime_", "wasm_", "crypto_", "sodium_", "yaml_"}))
        << name;
    EXPECT_FALSE(name == "fork" || name == "vfork" || name == "system" || name == "popen") << name;
  }
}

// An agent loads a module with all its symbols at once: one that neither it nor the base libraries have would
// keep it from starting.
TEST_F(ModuleTest, FindsInLibmesosWhatIsMesoss) {
  if (std::string(DVDI_TEST_LIBMESOS).empty())
    GTEST_SKIP() << "there is no libmesos to compare with, only headers";
  const Elf libmesos(DVDI_TEST_LIBMESOS);
  size_t found = 0;
  for (const auto& name : Elf(DVDI_TEST_MODULE).imported) {
    // Mangled names of Mesos's namespaces, and those of the libraries that it brings.
    const bool theirs = name.rfind("_Z", 0) == 0 && (name.find("5mesos") != std::string::npos ||
                                                     name.find("7process") != std::string::npos ||
                                                     name.find("6google") != std::string::npos);
    if (!theirs) continue;
    EXPECT_EQ(libmesos.exported.count(name), 1u) << name;
    ++found;
  }
  EXPECT_GT(found, 20u);
}

}  // namespace
