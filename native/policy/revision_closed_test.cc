// Where no blob can be told for sure nothing is decided: state, blob or folder gone, damaged, of others.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "policy/test_revision.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(RevisionTest, BarredBlobsAreNotInstalledNorUsed) {
  Install("1.0.0");
  PolicyState state = State();
  state.barred = {Sha256Hex(Blob("2.0.0"))};
  WriteState(ToText(state));
  auto s = Selector();
  auto r = InstallBlob(s, Blob("2.0.0"), true);
  ASSERT_FALSE(r.ok());
  EXPECT_HAS(r.status().message(), "is barred");
  Install("1.1.0");
  EXPECT_EQ(State().barred, state.barred);  // kept by an installation
  state = State();
  state.barred.push_back(state.active);
  WriteState(ToText(state));
  EXPECT_HAS(Now(), "is barred");
}

TEST_F(RevisionTest, FailsClosedWhereStateIsGone) {
  Install("1.0.0");
  auto s = Selector();
  EXPECT_EQ(Now(s), "house 1.0.0");
  fs::remove(StatePath());
  EXPECT_HAS(Now(s), "state.json is missing, though a policy was installed here");
  EXPECT_HAS(Now(), "state.json is missing");
  auto r = s.Current();
  EXPECT_HAS(r.status().hint(), "dvdi policy install");
  EXPECT_EQ(r.status().path(), StatePath());
}

TEST_F(RevisionTest, FailsClosedWhereStateIsDamaged) {
  Install("1.0.0");
  const PolicyState good = State();
  PolicyState bad = good;
  bad.version = "1.0.1";
  PolicyState missing = good;
  missing.active = std::string(64, '0');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("{}"), std::string(300'000, ' '),
        std::string(
            R"({"active":"../../etc","version":"1.0.0","watermark":"1.0.0","barred":[],"installed_ms":1})"),
        ToText(bad), ToText(missing)}) {
    WriteState(text);
    EXPECT_HAS(Now(), "no policy decides on this node: ");
  }
  WriteState(ToText(good));
  EXPECT_EQ(Now(), "house 1.0.0");
}

TEST_F(RevisionTest, FailsClosedWhereTheBlobIsDamaged) {
  Install("1.0.0");
  const std::string blob = dir_ + "/blobs/" + State().active + ".wasm";
  std::ofstream(blob, std::ios::app) << "x";
  EXPECT_HAS(Now(), "is damaged: its SHA-256 is another");
  fs::remove(blob);
  EXPECT_HAS(Now(), "cannot open " + blob);
  fs::create_symlink("/etc/passwd", blob);
  EXPECT_HAS(Now(), "no policy decides on this node");
}

TEST_F(RevisionTest, TheBuiltInPolicyIsThereThoughItsCopyIsNot) {
  auto s = Selector();
  ASSERT_TRUE(InstallBlob(s, std::string(BuiltinPolicy()), false).ok());
  const std::string blob = dir_ + "/blobs/" + BuiltinPolicySha256() + ".wasm";
  std::ofstream(blob, std::ios::app) << "x";
  EXPECT_EQ(Now(), "builtin 0.9.0");
  ASSERT_TRUE(fs::remove(blob));
  EXPECT_EQ(Now(), "builtin 0.9.0");
}

// What decides is the compiled form, which has a checksum of its own.
TEST_F(RevisionTest, ABlobWhoseCompiledFormIsThereIsNotReadAgain) {
  auto restart = [&] {
    runtime_.reset();
    runtime_ = PolicyRuntime::Create(SystemEnv(), PolicyLimits(), root_ + "/compiled").value();
  };
  restart();
  Install("1.0.0");
  const std::string path = dir_ + "/blobs/" + State().active + ".wasm", good = FileBytes(path);
  std::string flipped = good;
  flipped.back() ^= 1;
  auto write = [&](const std::string& bytes) { std::ofstream(path, std::ios::trunc) << bytes; };
  write(flipped);
  restart();
  EXPECT_EQ(Now(), "house 1.0.0");
  write(good + "x");
  restart();
  EXPECT_HAS(Now(), "is damaged");
  fs::remove(path);
  restart();
  EXPECT_HAS(Now(), path);
  write(flipped);
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  runtime_.reset();  // what it compiles still would come after
  fs::remove_all(root_ + "/compiled");
  restart();
  EXPECT_HAS(Now(), "is damaged");
  write(good);
  restart();
  EXPECT_EQ(Now(), "house 1.0.0");
}

TEST_F(RevisionTest, WhatDecidedAMomentAgoIsReadyStill) {
  auto s = Selector();
  Install("1.0.0");
  const PolicyState first = State();
  EXPECT_EQ(Now(s), "house 1.0.0");
  const auto before = *s.Current();
  Install("1.1.0");
  EXPECT_EQ(Now(s), "house 1.1.0");
  WriteState(ToText(first));  // another process goes back
  EXPECT_EQ(*s.Current(), before) << "nothing is read or configured again";
  // It was read and checked once; who comes anew reads it, and fails.
  fs::remove(dir_ + "/blobs/" + first.active + ".wasm");
  WriteState(ToText(first) + "\n");
  EXPECT_EQ(Now(s), "house 1.0.0");
  EXPECT_HAS(Now(), "no policy decides on this node");
}

TEST_F(RevisionTest, FailsClosedWhereOthersCouldHaveWritten) {
  Install("1.0.0");
  for (const std::string& path :
       {StatePath(), dir_, dir_ + "/blobs", dir_ + "/blobs/" + State().active + ".wasm"}) {
    const auto mode = fs::status(path).permissions();
    fs::permissions(path, mode | fs::perms::group_write);
    EXPECT_HAS(Now(), path + " can be written by others");
    fs::permissions(path, mode);
    EXPECT_EQ(Now(), "house 1.0.0");
    if (::geteuid() == 0) {
      ASSERT_EQ(::chown(path.c_str(), 1, 0), 0);
      EXPECT_HAS(Now(), path + " belongs to user 1");
      ASSERT_EQ(::chown(path.c_str(), 0, 0), 0);
    }
  }
}

TEST_F(RevisionTest, FailsClosedWhereTheFolderIsNoFolder) {
  std::ofstream(dir_) << "x";
  EXPECT_HAS(Now(), "no policy decides on this node: cannot stat " + StatePath());
}

TEST_F(RevisionTest, ADamagedStateIsReplacedOnlyOnPurpose) {
  Install("1.0.0");
  WriteState("{");
  auto s = Selector();
  auto r = InstallBlob(s, Blob("2.0.0"), false);
  ASSERT_FALSE(r.ok());
  EXPECT_HAS(r.status().message(), "is damaged");
  EXPECT_EQ(r.status().code(), Code::kRefused);
  ASSERT_TRUE(InstallBlob(s, Blob("2.0.0"), true).ok());
  EXPECT_EQ(Now(), "house 2.0.0");
  int aside = 0;
  for (const auto& e : fs::directory_iterator(dir_))
    aside += e.path().filename().string().starts_with("state.json.damaged-");
  EXPECT_EQ(aside, 1);
  fs::remove(StatePath());
  EXPECT_FALSE(InstallBlob(s, Blob("2.0.0"), false).ok());
  EXPECT_TRUE(InstallBlob(s, Blob("2.0.0"), true).ok());
}

// Who installed the first one died before the marker; an installation over its damaged state fails half way.
TEST_F(RevisionTest, ADamagedStateThatWasPutAsideDoesNotBringTheBuiltInPolicyBack) {
  Install("1.0.0");
  fs::remove(dir_ + "/used");
  WriteState("{");
  fs::remove_all(dir_ + "/blobs");
  std::ofstream(dir_ + "/blobs") << "no folder";
  auto s = Selector();
  ASSERT_FALSE(InstallBlob(s, Blob("2.0.0"), true).ok());
  ASSERT_FALSE(fs::exists(StatePath()));
  EXPECT_HAS(Now(), "no policy decides on this node");
}

}  // namespace
}  // namespace dvdi
