// Standard streams that are closed, or whose reader goes away.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

using Streams = CommandTest;

TEST_F(Streams, WhatIsToBeWrittenToAClosedOneIsLost) {
  closed_ = STDOUT_FILENO;
  for (const char* verb : {"--help", "version"}) {
    auto done = Dvdi({verb});
    EXPECT_EQ(done.exit_code, 17) << verb;
    EXPECT_EQ(done.err, "dvdi: the output cannot be written to standard output: Bad file descriptor\n")
        << verb;
  }
  program_ = "dvdcli";
  EXPECT_EQ(Dvdi({"version"}).exit_code, 1);
}

TEST_F(Streams, NothingIsReadFromAClosedOne) {
  closed_ = STDIN_FILENO;
  auto done = Dvdi({"run", "--statement", "-", "--", "true"});
  EXPECT_EQ(done.exit_code, 125);
  EXPECT_EQ(done.err, "dvdi: cannot read standard input: Bad file descriptor (path -)\n");
  EXPECT_TRUE(Calls("prepare").empty());
}

TEST_F(Streams, AReaderThatGoesAwayEndsNoVerbHalfway) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  UniqueFd out(ends[1]);
  ASSERT_EQ(::close(ends[0]), 0);
  output_to_ = out.get();
  ASSERT_NE(::signal(SIGPIPE, SIG_DFL), SIG_ERR);
  script_["remove"]["answer"] = {{"removed", Json::object()}, {"existed", true}};
  EXPECT_EQ(Dvdi({"rm", "d/a", "d/b", "d/c"}).exit_code, 0);
  EXPECT_EQ(Calls("remove").size(), 3u);
  EXPECT_EQ(Dvdi({"explain", "--export"}).exit_code, 0);
  EXPECT_EQ(Dvdi({"--help"}).exit_code, 0);
  program_ = "dvdcli";
  EXPECT_EQ(Dvdi({"version"}).exit_code, 0);
}

}  // namespace
}  // namespace dvdi::cli
