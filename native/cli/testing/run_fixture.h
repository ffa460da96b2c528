// The fixture of the tests of `dvdi run`: one volume, and a shell as the command.
#ifndef DVDI_CLI_TESTING_RUN_FIXTURE_H_
#define DVDI_CLI_TESTING_RUN_FIXTURE_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "cli/testing/harness.h"

namespace dvdi::cli {

class Run : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped()) return;
    stage_ = MakeStage("data");
    target_ = MakeFolder("target");
    ScriptVolumes({{"data", stage_, target_}});
  }

  std::vector<std::string> Arguments(const std::string& shell, std::vector<std::string> options = {}) {
    std::vector<std::string> arguments = {"run", "-v", "data:" + target_};
    arguments.insert(arguments.end(), options.begin(), options.end());
    for (const char* word : {"--", "/bin/sh", "-c"}) arguments.push_back(word);
    arguments.push_back(shell);
    return arguments;
  }
  Finished Shell(const std::string& shell, std::vector<std::string> options = {}) {
    return Dvdi(Arguments(shell, std::move(options)));
  }
  // A FIFO that holds the answer of a call back until Release.
  void Hold(const char* call) {
    ASSERT_EQ(::mkfifo(Path("hold").c_str(), 0600), 0);
    ASSERT_EQ(::mkfifo(Path("began").c_str(), 0600), 0);
    script_[call]["hold"] = Path("hold");
    script_[call]["began"] = Path("began");
  }
  // Opening a FIFO waits for its other end.
  void WaitUntilBegun() { UniqueFd(::open(Path("began").c_str(), O_RDONLY | O_CLOEXEC)); }
  void Release() { UniqueFd(::open(Path("hold").c_str(), O_WRONLY | O_CLOEXEC)); }

  std::string stage_, target_;
};

}  // namespace dvdi::cli

#endif  // DVDI_CLI_TESTING_RUN_FIXTURE_H_
