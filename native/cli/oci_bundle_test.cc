// `dvdi oci bundle`: what it writes. What a runtime makes of it is in test/e2e/oci.test.ts.
#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

using OciBundle = CommandTest;

TEST_F(OciBundle, TheHooksAreCalledWithTheOptionsOfEveryVerb) {
  MakeFolder("bundle");
  const std::string config = WriteFile("bundle/config.json", R"({"annotations":{"dvdi.volume":"a:/a"},
    "root":{"path":"rootfs"},"linux":{"namespaces":[{"type":"mount"}]}})");
  auto done = Dvdi({"oci", "bundle", Path("bundle"), "--node", "n", "--timeout", "5m"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  auto json = ParseJson(ReadFile(config), "it");
  ASSERT_TRUE(json.ok());
  const Json args = {"dvdi", "--node", "n", "--timeout", "300000ms", "oci", "hook"};
  for (const char* stage : {"createRuntime", "poststop"}) EXPECT_EQ((*json)["hooks"][stage][0]["args"], args);
}

}  // namespace
}  // namespace dvdi::cli
