// What `dvdi run` gets from whoever calls it, besides its command line.
#include <signal.h>
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

}  // namespace
}  // namespace dvdi::cli
