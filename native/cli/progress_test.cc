// What takes long says so, on a terminal alone.
#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

class ProgressTest : public CommandTest {
 protected:
  // The answer comes when the test lets it.
  void Hold() {
    ASSERT_EQ(::mkfifo(Path("fifo").c_str(), 0600), 0);
    script_["remove"] = {{"hold", Path("fifo")}, {"answer", {{"existed", true}}}};
  }
};

TEST_F(ProgressTest, ALineThatGoesAway) {
  Hold();
  struct winsize size = {24, 40, 0, 0};
  int terminal = -1, other = -1;
  ASSERT_EQ(::openpty(&terminal, &other, nullptr, nullptr, &size), 0);
  UniqueFd master(terminal), slave(other);
  ::fcntl(master.get(), F_SETFD, FD_CLOEXEC);
  error_to_ = slave.get();
  environment_ = {"TERM=xterm"};
  Running running = StartDvdi({"rm", "d/data-with-a-name-that-is-longer-than-the-line"});
  slave.reset();
  std::string seen;
  char buffer[512];
  while (seen.find(" 1 s") == std::string::npos && seen.find("\r") == std::string::npos) {
    ssize_t n = ::read(master.get(), buffer, sizeof buffer);
    ASSERT_GT(n, 0);
    seen.append(buffer, static_cast<size_t>(n));
  }
  EXPECT_EQ(seen.substr(0, 22), "\rdvdi: removing d/data");
  UniqueFd(::open(Path("fifo").c_str(), O_WRONLY | O_CLOEXEC)).reset();
  Finished done = running.Finish();
  for (ssize_t n; (n = ::read(master.get(), buffer, sizeof buffer)) > 0;)
    seen.append(buffer, static_cast<size_t>(n));
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_EQ(seen.substr(seen.size() - 4), "\r\033[K") << seen;
  EXPECT_EQ(seen.find('\n'), std::string::npos);
}

TEST_F(ProgressTest, NothingWhereNobodyLooks) {
  Hold();
  Running running = StartDvdi({"rm", "d/data"});
  // Longer than it takes to say something; the answer is held back until then.
  ::usleep(1'400'000);
  UniqueFd(::open(Path("fifo").c_str(), O_WRONLY | O_CLOEXEC)).reset();
  Finished done = running.Finish();
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_EQ(done.err, "");
}

}  // namespace
}  // namespace dvdi::cli
