// Which blob decides: installation, swap, damage. The built-in blob here is a small one of the test.
#include "policy/revision.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/text.h"
#include "policy/test_revision.h"
#include "sys/sys.h"

namespace dvdi {

std::string_view BuiltinPolicy() {
  static const auto* blob = [] {
    BlobBuilder b;
    b.manifest = Manifest("[]", "0.9.0", "builtin");
    b.configure_answer = R"({"ok":{"from":"builtin"}})";
    return new std::string(b.Build());
  }();
  return *blob;
}

const std::string& BuiltinPolicySha256() {
  static const auto* hash = new std::string(Sha256Hex(BuiltinPolicy()));
  return *hash;
}

namespace {

namespace fs = std::filesystem;

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

// The nth call that changes a file fails.
class FailingSys : public Sys {
 public:
  int fail_at = -1;
  int calls = 0;
  int err = ENOSPC;
  ssize_t Write(int fd, const void* data, size_t n) override {
    return Fails() ? -err : Sys::Write(fd, data, n);
  }
  int Fsync(int fd) override { return Fails() ? -err : Sys::Fsync(fd); }
  int RenameAt(int a, const char* from, int b, const char* to) override {
    return Fails() ? -err : Sys::RenameAt(a, from, b, to);
  }
  int MkdirAt(int fd, const char* path, mode_t mode) override {
    return Fails() ? -err : Sys::MkdirAt(fd, path, mode);
  }
  int OpenAt(int fd, const char* path, int flags, mode_t mode) override {
    return (flags & O_CREAT) != 0 && Fails() ? -err : Sys::OpenAt(fd, path, flags, mode);
  }

 private:
  bool Fails() { return calls++ == fail_at; }
};

TEST_F(RevisionTest, BuiltInWhereNothingWasInstalled) {
  auto s = Selector();
  auto r = s.Current();
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ((*r)->source, "built-in");
  EXPECT_EQ((*r)->config, Json({{"from", "builtin"}}));
  EXPECT_EQ(*s.Current(), *r);  // loaded once
  EXPECT_FALSE(fs::exists(dir_));
  fs::create_directories(dir_ + "/blobs");
  EXPECT_EQ(Now(), "builtin 0.9.0");
  dir_ = "";
  EXPECT_EQ(Now(), "builtin 0.9.0");
}

TEST_F(RevisionTest, InstallsAndKeeps) {
  auto s = Selector();
  const std::string blob = Blob("1.2.0");
  auto r = InstallBlob(s, blob, false);
  ASSERT_TRUE(r.ok()) << r.status().message();
  const std::string path = dir_ + "/blobs/" + Sha256Hex(blob) + ".wasm";
  EXPECT_EQ((*r)->source, path);
  EXPECT_EQ((*r)->config, Json({{"from", "1.2.0"}}));
  EXPECT_EQ(*s.Current(), *r);
  EXPECT_EQ(Now(), "house 1.2.0");  // another process
  EXPECT_EQ(fs::file_size(path), blob.size());
  EXPECT_EQ(State().watermark, "1.2.0");
  EXPECT_GT(State().installed_ms, 0);
  for (const std::string& p : {dir_, dir_ + "/blobs", path, StatePath()}) {
    struct stat st = {};
    ASSERT_EQ(::stat(p.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 077, 0u) << p;
  }
}

TEST_F(RevisionTest, ASwapByAnotherProcessIsSeenAndLeavesOperationsAlone) {
  Install("1.0.0");
  auto agent = Selector();
  auto before = *agent.Current();
  Install("1.1.0");
  EXPECT_EQ(Now(agent), "house 1.1.0");
  EXPECT_EQ(before->module->manifest().version, "1.0.0");
  auto answer = before->module->Call("parse", "x", [](std::string_view, std::string_view) {
    return Result<std::string>(std::string("{}"));
  });
  EXPECT_TRUE(answer.ok());
}

TEST_F(RevisionTest, WhatASwapLeavesInMemoryIsLetGoBehindTheAnswer) {
  auto s = Selector();
  Install("1.0.0");
  const std::weak_ptr<const Revision> first = *s.Current();
  for (const char* version : {"1.1.0", "1.2.0", "1.3.0", "1.4.0"}) {
    Install(version);
    EXPECT_EQ(Now(s), std::string("house ") + version);
  }
  EXPECT_FALSE(first.expired()) << "an operation waits for its end";
  s.Tidy();
  EXPECT_TRUE(first.expired());
  EXPECT_EQ(Now(s), "house 1.4.0");
}

TEST_F(RevisionTest, OlderVersionsNeedToBeAskedFor) {
  Install("1.10.0");
  auto s = Selector();
  auto r = InstallBlob(s, Blob("1.9.0"), false);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kRefused);
  EXPECT_HAS(r.status().message(), "version 1.9.0 is older than 1.10.0");
  EXPECT_HAS(r.status().hint(), "--allow-downgrade");
  EXPECT_EQ(Now(s), "house 1.10.0");
  ASSERT_TRUE(InstallBlob(s, Blob("1.9.0"), true).ok());
  EXPECT_EQ(Now(), "house 1.9.0");
  EXPECT_EQ(State().watermark, "1.10.0");  // still remembered
  EXPECT_FALSE(InstallBlob(s, Blob("1.9.5"), false).ok());
  EXPECT_TRUE(InstallBlob(s, Blob("1.10.0"), false).ok());
}

TEST_F(RevisionTest, ABadBlobChangesNothing) {
  Install("1.0.0");
  auto s = Selector();
  BlobBuilder b;
  b.manifest = Manifest("[]", "2.0.0");
  b.canary_answer = R"({"error":{"code":"policy","message":"check 3 of 9 failed"}})";
  auto r = InstallBlob(s, b.Build(), false);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kPolicy);
  EXPECT_HAS(r.status().message(), "its canary failed: check 3 of 9 failed");
  b.canary_answer = R"({"ok":{}})";
  EXPECT_FALSE(InstallBlob(s, b.Build(), false).ok());
  b.canary_answer = R"({"checks":1})";
  EXPECT_FALSE(InstallBlob(s, b.Build(), false).ok());
  EXPECT_FALSE(InstallBlob(s, "not wasm", false).ok());
  EXPECT_EQ(Now(s), "house 1.0.0");
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_ + "/blobs"), fs::directory_iterator()),
            2);  // and the built-in
}

TEST_F(RevisionTest, SettingsThatThePolicyRefusesAreInvalid) {
  BlobBuilder b;
  b.configure_answer = R"({"error":{"code":"invalid","message":"settings: unknown member \"pols\"",)"
                       R"("hint":"did you mean pools"}})";
  auto s = Selector();
  auto r = InstallBlob(s, b.Build(), false);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kInvalid);
  EXPECT_HAS(r.status().message(), "unknown member \"pols\"");
  EXPECT_EQ(r.status().hint(), "did you mean pools");
  EXPECT_FALSE(fs::exists(dir_));
}

TEST_F(RevisionTest, ConfigureGetsSettingsAndEngine) {
  const std::string echo = WithSection(ReadFixture("echo.wasm"), "dvdi.manifest", Manifest("[]"));
  auto s = Selector(Json({{"default_driver", "x"}}));
  auto r = InstallBlob(s, echo, false);
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ((*r)->config.at("settings"), Json({{"default_driver", "x"}}));
  EXPECT_EQ((*r)->config.at("engine"), Json({{"version", DVDI_VERSION}, {"abi", 1}}));
}

TEST_F(RevisionTest, ConfigureHasTimeButNoDrivers) {
  // An import exported as configure: the configuration is the host's answer to it.
  auto with = [](const std::string& import) {
    BlobBuilder b;
    b.imports = {{"dvdi", import, std::string("\x00\x01", 2)}};
    b.manifest = Manifest("[\"" + import + "\"]");
    b.exports.back() = {"configure", std::string("\x00\x00", 2)};
    return b.Build();
  };
  auto s = Selector();
  auto r = InstallBlob(s, with("now"), false);
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_TRUE((*r)->config.at("unix_ms").is_number_integer());
  r = InstallBlob(s, with("random"), false);
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_TRUE((*r)->config.at("u32").is_number_integer());
  EXPECT_TRUE(InstallBlob(s, with("log"), false).ok());
  for (const char* import : {"plugin_call", "stage", "query", "sleep"}) {
    r = InstallBlob(s, with(import), false);
    ASSERT_FALSE(r.ok());
    EXPECT_HAS(r.status().message(), std::string(import) + " is not available outside of an operation");
  }
}

TEST_F(RevisionTest, AnAnswerThatIsNoneIsThePolicysFault) {
  BlobBuilder b;
  b.configure_answer = R"({"nonsense":1})";
  auto s = Selector();
  auto r = InstallBlob(s, b.Build(), false);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.status().code(), Code::kPolicy);
  EXPECT_HAS(r.status().message(), "the policy's answer to configure is malformed");
}

TEST_F(RevisionTest, AnInstallationThatFailsHalfWayLeavesTheOldOne) {
  Install("1.0.0");
  FailingSys sys;
  Env env = SystemEnv();
  env.sys = &sys;
  int failed = 0;
  for (int n = 0;; ++n) {
    sys.fail_at = n;
    sys.calls = 0;
    PolicySelector s(env, runtime_.get(), dir_, Json::object());
    auto r = InstallBlob(s, Blob("1.0." + std::to_string(n + 1)), false);
    if (r.ok()) break;
    ++failed;
    EXPECT_EQ(r.status().code(), Code::kSystem);
    const std::string now = Now();
    // Once state.json is renamed the new one is in force, though its durability could not be promised.
    EXPECT_TRUE(now == "house 1.0.0" || now == "house 1.0." + std::to_string(n + 1)) << n << ": " << now;
    if (now != "house 1.0.0") {
      auto back = Selector();
      ASSERT_TRUE(InstallBlob(back, Blob("1.0.0"), true).ok());
      PolicyState state = State();
      state.watermark = "1.0.0";
      WriteState(ToText(state));
    }
    for (const auto& e : fs::recursive_directory_iterator(dir_)) EXPECT_NE(e.path().extension(), ".tmp");
  }
  EXPECT_GT(failed, 8);
}

TEST_F(RevisionTest, AFirstInstallationThatFailsLeavesTheBuiltIn) {
  FailingSys sys;
  Env env = SystemEnv();
  env.sys = &sys;
  for (int n = 0;; ++n) {
    fs::remove_all(dir_);
    sys.fail_at = n;
    sys.calls = 0;
    PolicySelector s(env, runtime_.get(), dir_, Json::object());
    const bool done = InstallBlob(s, Blob("1.0.0"), false).ok();
    const std::string now = Now();
    EXPECT_TRUE(now == "house 1.0.0" || (!done && now == "builtin 0.9.0")) << n << ": " << now;
    if (done) break;
  }
}

TEST_F(RevisionTest, OneInstallationAtATime) {
  Install("1.0.0");
  const int fd = ::open((dir_ + "/lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(Sys::Real()->TryLock(fd), 0);
  auto s = Selector();
  auto r = InstallBlob(s, Blob("1.1.0"), false);
  ASSERT_FALSE(r.ok());
  EXPECT_HAS(r.status().message(), "another installation is under way");
  ::close(fd);
  EXPECT_TRUE(InstallBlob(s, Blob("1.1.0"), false).ok());
}

TEST_F(RevisionTest, CurrentAndInstallFromManyThreads) {
  Install("1.0.0");
  auto agent = Selector(), operator_side = Selector();
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      while (!stop) {
        auto r = agent.Current();
        if (!r.ok() || (*r)->config.at("from") != (*r)->module->manifest().version) ++wrong;
      }
    });
  for (int i = 1; i <= 5; ++i)
    EXPECT_TRUE(InstallBlob(operator_side, Blob("1.0." + std::to_string(i)), false).ok());
  stop = true;
  for (auto& t : threads) t.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(Now(agent), "house 1.0.5");
}

TEST(PolicyStateFile, RoundTrips) {
  PolicyState state;
  state.active = std::string(64, 'a');
  state.version = "1.2.3";
  state.watermark = "2.0.0";
  state.barred = {std::string(64, 'b'), std::string(64, 'c')};
  state.installed_ms = 1'700'000'000'000;
  auto r = ParsePolicyState(ToText(state));
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(r->active, state.active);
  EXPECT_EQ(r->version, state.version);
  EXPECT_EQ(r->watermark, state.watermark);
  EXPECT_EQ(r->barred, state.barred);
  EXPECT_EQ(r->installed_ms, state.installed_ms);
  EXPECT_FALSE(IsSha256(std::string(64, 'A')));
  EXPECT_FALSE(IsSha256(std::string(63, 'a')));
}

}  // namespace
}  // namespace dvdi
