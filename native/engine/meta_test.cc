#include "engine/meta.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "engine/locks.h"
#include "engine/stage_meta.h"
#include "sim/world.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

class MetaTest : public ::testing::Test {
 protected:
  MetaTest() {
    char name[] = "/tmp/dvdi-meta-test-XXXXXX";
    root_ = ::mkdtemp(name);
    world_ = std::make_unique<sim::World>(1, root_, root_);
    stages_ = root_ + "/stage";
    fs::create_directory(stages_);
    OperationRow& o = meta_.operation;
    o.id = "00112233445566778899aabbccddeeff", o.owner = "run", o.scope = "a \"scope\"", o.boot_id = "boot-1";
    o.started_ms = 1'700'000'000'123, o.pid = 77, o.start_time = 123'456'789'012,
    o.mount_namespace = 4'026'531'840;
    meta_.attachments = {{kA, "red", "a/b\nc"}, {kB, "blue", "b"}};
  }
  ~MetaTest() override { fs::remove_all(root_); }
  Env env() { return world_->env(); }
  std::string File(const std::string& id) const { return stages_ + "/" + id + "/meta.json"; }

  const std::string kA = std::string(64, 'a'), kB = std::string(64, 'b');
  std::string root_, stages_;
  std::unique_ptr<sim::World> world_;
  Meta meta_;
};

TEST_F(MetaTest, EachAttachmentFindsTheWhole) {
  ASSERT_TRUE(WriteMeta(env(), stages_, meta_).ok());
  EXPECT_EQ(ListMeta(env(), stages_).value(), (std::vector<std::string>{kA, kB}));
  for (const auto& id : {kA, kB}) {
    struct stat st;
    ASSERT_EQ(::stat(File(id).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
    EXPECT_EQ(st.st_nlink, 2u) << "one file, one fsync; the temporary name is gone";
    auto read = ReadMeta(env(), stages_, id);
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->operation.scope, meta_.operation.scope);
    EXPECT_EQ(read->operation.boot_id, "boot-1");
    EXPECT_EQ(read->operation.start_time, meta_.operation.start_time);
    EXPECT_EQ(read->operation.mount_namespace, meta_.operation.mount_namespace);
    EXPECT_EQ(read->operation.pid, 77);
    ASSERT_EQ(read->attachments.size(), 2u);
    EXPECT_EQ(read->attachments[0].name, "a/b\nc");
  }
  ASSERT_TRUE(RemoveMeta(env(), stages_, kA).ok());
  EXPECT_TRUE(RemoveMeta(env(), stages_, kA).ok()) << "it is gone already";
  EXPECT_TRUE(ReadMeta(env(), stages_, kB).ok());
}

// Of its content, its names and its folders nothing may be lost with the power once a Mount was sent.
TEST_F(MetaTest, TheFileAndWhatNamesItAreDurable) {
  std::vector<std::string> calls;
  world_->sys.fault = [&](const char* call) {
    calls.push_back(call);
    return 0;
  };
  ASSERT_TRUE(WriteMeta(env(), stages_, meta_).ok());
  world_->sys.fault = nullptr;
  const auto last_name = std::find(calls.rbegin(), calls.rend(), "link").base();
  EXPECT_EQ(std::count(last_name, calls.end(), "fsync"), 2) << "the file's, and the stage folder's";
}

TEST_F(MetaTest, TheNextOperationsFileReplacesIt) {
  ASSERT_TRUE(WriteMeta(env(), stages_, meta_).ok());
  meta_.operation.id = "ffeeddccbbaa99887766554433221100", meta_.operation.scope = "second";
  meta_.attachments.pop_back();
  ASSERT_TRUE(WriteMeta(env(), stages_, meta_).ok());
  EXPECT_EQ(ReadMeta(env(), stages_, kA)->operation.scope, "second");
  EXPECT_EQ(ReadMeta(env(), stages_, kB)->operation.scope, "a \"scope\"");
}

// Whichever call is the last one that acts, or the only one that fails, one of the two files is there:
// without one the volume is nobody's, and stays attached for ever.
TEST_F(MetaTest, AtNoMomentOfItsReplacementIsThereNone) {
  ASSERT_TRUE(WriteMeta(env(), stages_, meta_).ok());
  meta_.operation.scope = "second", meta_.operation.instance = "0123456789abcdef";
  for (bool killed : {false, true}) {
    for (int n = 1;; ++n) {
      meta_.operation.id = "replaces-" + std::to_string(n) + (killed ? "-k" : "");
      int seen = 0;
      world_->sys.fault = [&](const char*) {
        ++seen;
        return (killed ? seen >= n : seen == n) ? EIO : 0;
      };
      Status s = WriteMeta(env(), stages_, meta_);
      world_->sys.fault = nullptr;
      for (const auto& id : {kA, kB})
        EXPECT_TRUE(ReadMeta(env(), stages_, id).ok()) << (killed ? "killed at " : "failed at ") << n;
      SweepTemporaryMeta(env(), stages_, {root_});
      EXPECT_EQ(std::distance(fs::directory_iterator(stages_), {}), 2) << "only the folders of the two";
      if (seen < n) break;
      ASSERT_LT(n, 100);
    }
  }
  EXPECT_EQ(ReadMeta(env(), stages_, kA)->operation.scope, "second");
}

TEST_F(MetaTest, WhatAKilledEngineLeftHalfWrittenIsSweptAndOnlyThat) {
  auto living = InstanceLock::Take(env(), root_);
  ASSERT_TRUE(living.ok());
  const std::string killed = stages_ + "/.meta-0123456789abcdef-1",
                    writing = stages_ + "/.meta-" + (*living)->id() + "-2";
  for (const std::string& path : {killed, writing}) std::ofstream(path) << "{";
  SweepTemporaryMeta(env(), stages_, {root_});
  EXPECT_FALSE(fs::exists(killed));
  EXPECT_TRUE(fs::exists(writing)) << "its engine is at it";
}

TEST_F(MetaTest, WhatSomebodyElseCouldHaveWrittenIsNoProof) {
  ASSERT_TRUE(WriteMeta(env(), stages_, meta_).ok());
  for (mode_t mode : {0620, 0602, 0666}) {
    ASSERT_EQ(::chmod(File(kA).c_str(), mode), 0);
    auto read = ReadMeta(env(), stages_, kA);
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.status().code(), Code::kRefused) << read.status().message();
  }
  ASSERT_EQ(::chmod(File(kA).c_str(), 0600), 0);
  ASSERT_TRUE(ReadMeta(env(), stages_, kA).ok());
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(File(kA).c_str(), 1234, 0), 0);
    EXPECT_EQ(ReadMeta(env(), stages_, kA).status().code(), Code::kRefused) << "another owner";
  }
  fs::remove(File(kA));
  fs::create_symlink(File(kB), File(kA));
  EXPECT_FALSE(ReadMeta(env(), stages_, kA).ok()) << "a symlink";
}

TEST_F(MetaTest, DamagedFilesAreErrorsAndNoProof) {
  ASSERT_TRUE(WriteMeta(env(), stages_, meta_).ok());
  std::ifstream in(File(kA));
  std::string whole(std::istreambuf_iterator<char>(in), {});
  fs::remove(File(kA));
  for (size_t n = 0; n + 2 < whole.size(); n += 7) {
    std::ofstream(File(kA)) << whole.substr(0, n);
    EXPECT_FALSE(ReadMeta(env(), stages_, kA).ok()) << n;
  }
  for (const char* text : {"{}", "[]", "null", R"({"attachments":[]})", R"({"attachments":7})"}) {
    std::ofstream(File(kA)) << text;
    EXPECT_FALSE(ReadMeta(env(), stages_, kA).ok()) << text;
  }
  std::ofstream(File(kA)) << whole;
  EXPECT_TRUE(ReadMeta(env(), stages_, kA).ok());
  // A file under another ID than those it names.
  std::string other(64, 'c');
  fs::create_directory(stages_ + "/" + other);
  std::ofstream(File(other)) << whole;
  EXPECT_FALSE(ReadMeta(env(), stages_, other).ok());
}

TEST_F(MetaTest, AFailureOfAnyCallIsSaidAndLeavesNoTemporaryFile) {
  int failures = 0;
  for (int n = 1;; ++n) {
    int left = n;
    world_->sys.fault = [&](const char*) { return --left == 0 ? ENOSPC : 0; };
    Status s = WriteMeta(env(), stages_, meta_);
    world_->sys.fault = nullptr;
    if (left > 0) break;
    if (!s.ok()) {
      ++failures;
      EXPECT_NE(s.message().find("No space"), std::string::npos) << s.message();
    }
    for (const auto& entry : fs::directory_iterator(stages_))
      if (s.ok() ? false : entry.path().filename().string().starts_with(".meta-"))
        ADD_FAILURE() << n << entry.path();
    fs::remove_all(stages_);
    fs::create_directory(stages_);
  }
  EXPECT_GE(failures, 6);
}

TEST_F(MetaTest, Ids) {
  EXPECT_TRUE(IsAttachmentId(kA));
  for (const std::string& text :
       {std::string(), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'A'), std::string(64, 'g'),
        "../" + std::string(61, 'a'), std::string(64, '/')})
    EXPECT_FALSE(IsAttachmentId(text)) << text;
  for (const char* name : {"x", ".meta-1", "volumes.lock"}) fs::create_directory(stages_ + "/" + name);
  EXPECT_TRUE(ListMeta(env(), stages_).value().empty());
}

TEST_F(MetaTest, StagesSayWhoseTheyAre) {
  ASSERT_TRUE(WriteMeta(env(), stages_, meta_).ok());
  StageMeta m;
  m.operation = meta_.operation;
  m.attach.attachment = kA, m.attach.target = "/data", m.attach.mode = "ro", m.attach.access = "multi-reader";
  m.mountpoint = "/mnt/a", m.device = "7:1 /";
  m.stage = stages_ + "/" + kA + "/001122334455-0";
  ASSERT_TRUE(WriteStageMeta(env(), m).ok());
  auto found = ReadStageMetas(env(), stages_, kA).value();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].stage, m.stage);
  EXPECT_EQ(found[0].attach.target, "/data");
  EXPECT_EQ(found[0].attach.mode, "ro");
  EXPECT_EQ(found[0].mountpoint, "/mnt/a");
  EXPECT_EQ(found[0].device, "7:1 /");
  EXPECT_EQ(found[0].operation.scope, meta_.operation.scope);
  // One that was copied to another attachment, one that is damaged, and one that anybody can write.
  fs::copy_file(m.stage + ".json", stages_ + "/" + kB + "/001122334455-0.json");
  EXPECT_TRUE(ReadStageMetas(env(), stages_, kB).value().empty());
  std::ofstream(stages_ + "/" + kA + "/x.json") << "{";
  std::ofstream(stages_ + "/" + kA + "/y.json") << "{}";
  EXPECT_EQ(ReadStageMetas(env(), stages_, kA).value().size(), 1u);
  ASSERT_EQ(::chmod((m.stage + ".json").c_str(), 0666), 0);
  EXPECT_TRUE(ReadStageMetas(env(), stages_, kA).value().empty());
  EXPECT_TRUE(RemoveStageMeta(env(), m.stage).ok());
  EXPECT_TRUE(RemoveStageMeta(env(), m.stage).ok()) << "it is gone already";
}

}  // namespace
}  // namespace dvdi
