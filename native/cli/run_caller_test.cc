// What `dvdi run` gets from whoever calls it, besides its command line.
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/testing/run_fixture.h"

namespace dvdi::cli {
namespace {

// As for what nohup starts, and what a shell without job control starts in the background.
TEST_F(Run, AnIgnoredSignalDoesNotEndTheAttempt) {
  Hold("prepare");
  for (int s : {SIGINT, SIGHUP, SIGQUIT}) ::signal(s, SIG_IGN);
  auto running = StartDvdi(Arguments("echo ran"));
  for (int s : {SIGINT, SIGHUP, SIGQUIT}) ::signal(s, SIG_DFL);
  WaitUntilBegun();
  for (int s : {SIGINT, SIGHUP, SIGQUIT}) running.Kill(s);
  Release();
  auto done = running.Finish();
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(done.out, "ran\n");
  EXPECT_EQ(done.err.find("interrupted"), std::string::npos) << done.err;
}

TEST_F(Run, ALimitOfTheSizeOfFilesIsTheCommandsAlone) {
  constexpr rlim_t kBytes = 4096;
  WriteFile("log", std::string(2 * kBytes, '\n'));  // as a ledger that is larger
  struct rlimit before = {}, limited = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  limited = before, limited.rlim_cur = kBytes;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
  auto running = StartDvdi(Arguments("ulimit -S -f; exit 7"));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  auto done = running.Finish();
  EXPECT_EQ(done.exit_code, 7) << done.err;
  EXPECT_EQ(done.out, std::to_string(kBytes / 512) + "\n");
  OneCall("cleanup");
}

TEST_F(Run, AClosedStreamIsOneForTheCommandToo) {
  closed_ = STDIN_FILENO;
  EXPECT_EQ(Shell("cat || echo none").out, "none\n");
}

}  // namespace
}  // namespace dvdi::cli
