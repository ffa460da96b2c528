// Runs the command over the scripted engine (fake_engine.cc) and looks at what it did.
#ifndef DVDI_CLI_TESTING_HARNESS_H_
#define DVDI_CLI_TESTING_HARNESS_H_

#include <gtest/gtest.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"

namespace dvdi::cli {

struct Finished {
  int exit_code = -1;  // 128 + n where a signal ended it
  std::string out, err;
};

// A command that runs, with its three standard streams as pipes.
class Running {
 public:
  Running(pid_t pid, UniqueFd in, UniqueFd out, UniqueFd err)
      : pid_(pid), in_(std::move(in)), out_(std::move(out)), err_(std::move(err)) {}
  Running(Running&&) = default;
  ~Running();
  pid_t pid() const { return pid_; }
  // Reads until the text has been seen on that stream; false at its end.
  bool WaitForOut(const std::string& text) { return WaitForText(out_, &seen_.out, text); }
  bool WaitForErr(const std::string& text) { return WaitForText(err_, &seen_.err, text); }
  // Closes standard input, reads all, waits.
  Finished Finish();
  void Kill(int signal);
  // Writes to its standard input (less than a pipe holds).
  void Feed(const std::string& text);

 private:
  static bool WaitForText(const UniqueFd& fd, std::string* seen, const std::string& text);
  pid_t pid_;
  UniqueFd in_, out_, err_;
  Finished seen_;
};

// A folder, a script, a log. Everything is removed at the end.
class CommandTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // A path in the test's folder.
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  std::string MakeFolder(const std::string& name);
  std::string WriteFile(const std::string& name, const std::string& text);
  static std::string ReadFile(const std::string& path);

  // Runs `dvdi ARGUMENTS` with the script as it is now.
  Finished Dvdi(const std::vector<std::string>& arguments, const std::string& input = "");
  Running StartDvdi(const std::vector<std::string>& arguments);
  // The name that the command is called by: "dvdi", or another one, as a link to it.
  std::string program_ = "dvdi";
  // Where its standard error goes instead of to Finished::err, where it is not -1.
  int error_to_ = -1;
  // The same for its standard output, instead of to Finished::out.
  int output_to_ = -1;
  // The same for its standard input, instead of Running::Feed.
  int input_from_ = -1;
  // The one of the three that is closed for it, where it is not -1.
  int closed_ = -1;
  // The environment of the commands, beside PATH and what the fake engine reads.
  std::vector<std::string> environment_;

  // The requests of all calls of that name, in order.
  std::vector<Json> Calls(const std::string& call) const;
  // The only one of that name; null, and a failure, where there is not exactly one.
  Json OneCall(const std::string& call) const;
  std::vector<Json> Log() const;

  Json script_ = Json::object();

 private:
  std::string folder_;
};

// With a mount namespace of its own, in which the test's folder is a tmpfs. Skipped without root.
class MountTest : public CommandTest {
 protected:
  void SetUp() override;
  void TearDown() override;
  // A stage as the engine makes it: a mount of its own, shared, with one file in it.
  std::string MakeStage(const std::string& name);
  // A prepare answer of volumes {name, stage, target}.
  void ScriptVolumes(const std::vector<std::vector<std::string>>& volumes);
  static bool IsMount(const std::string& path);
};

}  // namespace dvdi::cli

#endif  // DVDI_CLI_TESTING_HARNESS_H_
