#include "sanity/report_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace dvdi::sanity {
namespace {

namespace fs = std::filesystem;

class ReportFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/dvdi-report-XXXXXX";
    ASSERT_NE(nullptr, ::mkdtemp(path));
    folder_ = path;
    file_ = folder_ / "junit.xml";
  }
  void TearDown() override { fs::remove_all(folder_); }
  void Put(const std::string& text) { std::ofstream(file_, std::ios::binary) << text; }
  std::string Text() const {
    std::ifstream in(file_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t Files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  fs::path folder_, file_;
};

TEST_F(ReportFileTest, IsThereWholeOrAsItWas) {
  Put("old");
  auto report = ReportFile::Prepare(RealEnv(), file_);
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(Text(), "old");
  EXPECT_EQ(Files(), 1U) << "nothing is left of the look";
  // As a disk that is full in the middle of it.
  struct rlimit before;
  ASSERT_EQ(0, ::getrlimit(RLIMIT_FSIZE, &before));
  struct rlimit small = before;
  small.rlim_cur = 4096;
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(0, ::setrlimit(RLIMIT_FSIZE, &small));
  const Status failed = report->Write(std::string(10'000, 'x'));
  ASSERT_EQ(0, ::setrlimit(RLIMIT_FSIZE, &before));
  ::signal(SIGXFSZ, handler);
  EXPECT_FALSE(failed.ok());
  EXPECT_EQ(Text(), "old");
  EXPECT_EQ(Files(), 1U);
  const mode_t mask = ::umask(077);
  const Status written = report->Write("new");
  ::umask(mask);
  ASSERT_TRUE(written.ok()) << written.message();
  EXPECT_EQ(Text(), "new");
  EXPECT_EQ(Files(), 1U);
  EXPECT_EQ(fs::perms{0644}, fs::status(file_).permissions());
}

TEST_F(ReportFileTest, WhatIsInTheWayIsSaidAtOnce) {
  Put("");
  for (const fs::path& path : {folder_, folder_ / "none/junit.xml", file_ / "junit.xml"}) {
    auto report = ReportFile::Prepare(RealEnv(), path);
    ASSERT_FALSE(report.ok()) << path;
    EXPECT_NE(report.status().message().find(path.parent_path()), std::string::npos)
        << report.status().message();
  }
}

TEST_F(ReportFileTest, ALinkStays) {
  Put("old");
  const fs::path link = folder_ / "link";
  fs::create_symlink("junit.xml", link);
  auto report = ReportFile::Prepare(RealEnv(), link);
  ASSERT_TRUE(report.ok()) << report.status().message();
  ASSERT_TRUE(report->Write("new").ok());
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(Text(), "new");
}

TEST_F(ReportFileTest, WhatIsNoFileIsWrittenTo) {
  int ends[2];
  ASSERT_EQ(0, ::pipe2(ends, O_CLOEXEC));
  {
    auto report = ReportFile::Prepare(RealEnv(), "/dev/fd/" + std::to_string(ends[1]));
    ::close(ends[1]);
    ASSERT_TRUE(report.ok()) << report.status().message();
    ASSERT_TRUE(report->Write("<xml/>").ok());
  }
  char text[16] = {};
  EXPECT_EQ(6, ::read(ends[0], text, sizeof text));
  EXPECT_STREQ("<xml/>", text);
  EXPECT_EQ(0, ::read(ends[0], text, sizeof text)) << "it is still open";
  ::close(ends[0]);
}

}  // namespace
}  // namespace dvdi::sanity
