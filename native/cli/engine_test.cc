// What the command asks the engine for.
#include <unistd.h>

#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

using Requests = CommandTest;

// In JSON each byte that is no UTF-8 becomes the same mark: `rm` of one name would remove the volume of
// another.
TEST_F(Requests, ANameInAnotherEncodingIsNoOtherName) {
  const std::string line = "caf?\" is not valid UTF-8. Write it in UTF-8";
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"rm", "-d", "d", "caf\xE9"},
                                                    {"create", "-d", "d", "caf\xE9"},
                                                    {"mount", "d/x", "--name", "caf\xE9"},
                                                    {"plugins", "--plugin-dir", "/caf\xE9"},
                                                    {"inspect", "-d", "d", "caf\xE9"},
                                                    {"forget", "-d", "d", "caf\xE9"},
                                                    {"ls", "--node", "caf\xE9"}}) {
    auto done = Dvdi(arguments);
    EXPECT_EQ(done.exit_code, 11) << arguments[0];
    EXPECT_NE(done.err.find(line), std::string::npos) << arguments[0] << ": " << done.err;
  }
  for (const char* call : {"remove", "prepare", "forget"}) EXPECT_TRUE(Calls(call).empty()) << call;
  if (::geteuid() != 0) GTEST_SKIP() << "a run needs root";
  environment_ = {"DVDI_VOLUME_NAME=caf\xE9"};
  EXPECT_EQ(Dvdi({"run", "--env", "--", "true"}).exit_code, 125);
  EXPECT_TRUE(Calls("prepare").empty());
}

}  // namespace
}  // namespace dvdi::cli
