// Compiled forms on disk: used where they are ours and whole, else compiled anew.
#include "policy/cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "base/text.h"
#include "policy/checksum.h"
#include "policy/runtime.h"
#include "policy/test_blobs.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

class CacheTest : public testing::Test {
 protected:
  CacheTest() {
    char name[] = "/tmp/dvdi-cache-test-XXXXXX";
    root_ = ::mkdtemp(name);
    folder_ = root_ + "/cache";
  }
  ~CacheTest() override { fs::remove_all(root_); }

  // The compiled form, or "none".
  std::string Get(const std::string& key) {
    auto cached = Cache().Get(key);
    return cached ? std::string(cached->compiled()) : "none";
  }
  CompiledCache Cache() { return CompiledCache(SystemEnv(), folder_); }
  std::string File(const std::string& key) { return folder_ + "/" + key + ".cwasm"; }
  void Overwrite(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  std::vector<std::string> Entries() {
    std::vector<std::string> names;
    for (const auto& e : fs::directory_iterator(folder_)) names.push_back(e.path().string());
    return names;
  }
  mode_t Mode(const std::string& path) {
    struct stat st = {};
    ::stat(path.c_str(), &st);
    return st.st_mode & 07777;
  }

  std::string root_, folder_;
  const std::string key_ = std::string(64, 'a');
};

TEST_F(CacheTest, KeepsAndReturns) {
  EXPECT_EQ(Get(key_), "none");
  Cache().Put(key_, "compiled", "note");
  EXPECT_EQ(Get(key_), "compiled");
  EXPECT_EQ(Cache().Get(key_)->note(), "note");
  EXPECT_EQ(Mode(folder_), 0700u);
  EXPECT_EQ(Mode(File(key_)), 0600u);
  EXPECT_EQ(Entries().size(), 1u);  // no temporary file stays
  Cache().Put(key_, "other", "note");
  EXPECT_EQ(Get(key_), "other");
  Cache().Remove(key_);
  EXPECT_EQ(Get(key_), "none");
}

TEST_F(CacheTest, LeavesTheLastRoomOfADiskToTheLedger) {
  struct Disk : Sys {
    uint64_t free = 0;
    int FsFree(const char*, uint64_t* bytes) override { return *bytes = free, 0; }
  } disk;
  Env env = SystemEnv();
  env.sys = &disk;
  const CompiledCache cache(env, folder_);
  const std::string compiled(100'000, 'c');
  disk.free = (1 << 20) + compiled.size();  // and the entry has its ending
  cache.Put(key_, compiled, "note");
  EXPECT_TRUE(Entries().empty());
  disk.free += 1000;
  cache.Put(key_, compiled, "note");
  EXPECT_EQ(Get(key_), compiled);
}

TEST_F(CacheTest, RefusesDamage) {
  Cache().Put(key_, "compiled", "note");
  const std::string good = FileBytes(File(key_));
  for (size_t n = 0; n < good.size(); ++n) {
    Overwrite(File(key_), good.substr(0, n));
    EXPECT_EQ(Get(key_), "none") << n;
  }
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 1;
    Overwrite(File(key_), bad);
    EXPECT_EQ(Get(key_), "none") << i;
  }
  Overwrite(File(key_), good + "x");
  EXPECT_EQ(Get(key_), "none");
  Overwrite(File(key_), good);
  EXPECT_EQ(Get(key_), "compiled");
}

TEST(ChecksumTest, IsTheSameOnEveryProcessor) {
  std::string bytes(300'000, 0);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * i >> 3);
  for (size_t n :
       {size_t{0}, size_t{1}, size_t{17}, size_t{200}, size_t{1'000}, size_t{70'001}, bytes.size()}) {
    unsigned char a[16], b[16];
    Checksum(bytes.data(), n, 7, a);
    ChecksumPortable(bytes.data(), n, 7, b);
    EXPECT_EQ(std::string(a, a + 16), std::string(b, b + 16)) << n;
  }
}

TEST_F(CacheTest, RefusesAnotherBlobsEntry) {
  Cache().Put(key_, "compiled", "note");
  const std::string other(64, 'b');
  fs::rename(File(key_), File(other));
  EXPECT_EQ(Get(other), "none");
}

TEST_F(CacheTest, RefusesWhatOthersCouldHaveWritten) {
  Cache().Put(key_, "compiled", "note");
  for (mode_t mode : {0660u, 0602u}) {
    ASSERT_EQ(::chmod(File(key_).c_str(), mode), 0);
    EXPECT_EQ(Get(key_), "none");
  }
  ASSERT_EQ(::chmod(File(key_).c_str(), 0600), 0);
  for (mode_t mode : {0770u, 0707u, 01777u}) {
    ASSERT_EQ(::chmod(folder_.c_str(), mode), 0);
    EXPECT_EQ(Get(key_), "none");
    Cache().Put(std::string(64, 'b'), "planted", "note");  // nor is anything written there
    EXPECT_EQ(Entries().size(), 1u);
  }
  ASSERT_EQ(::chmod(folder_.c_str(), 0700), 0);
  EXPECT_EQ(Get(key_), "compiled");
}

TEST_F(CacheTest, RefusesAnotherOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "changing the owner of a file needs root";
  Cache().Put(key_, "compiled", "note");
  ASSERT_EQ(::chown(File(key_).c_str(), 1, 1), 0);
  EXPECT_EQ(Get(key_), "none");
  ASSERT_EQ(::chown(File(key_).c_str(), 0, 0), 0);
  EXPECT_EQ(Get(key_), "compiled");
  ASSERT_EQ(::chown(folder_.c_str(), 1, 1), 0);
  EXPECT_EQ(Get(key_), "none");
}

TEST_F(CacheTest, FollowsNoLinksAndWaitsForNoFifo) {
  Cache().Put(key_, "compiled", "note");
  fs::rename(File(key_), root_ + "/elsewhere");
  fs::create_symlink(root_ + "/elsewhere", File(key_));
  EXPECT_EQ(Get(key_), "none");
  fs::remove(File(key_));
  ASSERT_EQ(::mkfifo(File(key_).c_str(), 0600), 0);
  EXPECT_EQ(Get(key_), "none");
  fs::remove(File(key_));
  fs::create_directory(File(key_));
  EXPECT_EQ(Get(key_), "none");
}

TEST_F(CacheTest, KeepsFew) {
  for (int i = 0; i < 20; ++i)
    Cache().Put(std::string(63, 'c') + static_cast<char>('a' + i), "compiled", "note");
  EXPECT_EQ(Entries().size(), 8u);
  EXPECT_EQ(Get(std::string(63, 'c') + static_cast<char>('a' + 19)), "compiled");
}

TEST_F(CacheTest, KeyTellsApart) {
  EXPECT_NE(CompiledCache::Key("a", "x"), CompiledCache::Key("b", "x"));
  EXPECT_NE(CompiledCache::Key("a", "x"), CompiledCache::Key("a", "y"));
  EXPECT_EQ(CompiledCache::Key("a", "x").size(), 64u);
}

// --- through the runtime

class RuntimeCacheTest : public CacheTest {
 protected:
  std::shared_ptr<const PolicyModule> Load(const PolicyLimits& limits = {}) {
    auto runtime = PolicyRuntime::Create(SystemEnv(), limits, folder_);
    EXPECT_TRUE(runtime.ok());
    auto module = (*runtime)->Load(HostileBlob());
    EXPECT_TRUE(module.ok()) << module.status().message();
    return module.ok() ? *module : nullptr;
  }
  std::unique_ptr<PolicyRuntime> Runtime(const Env& env = SystemEnv()) {
    return PolicyRuntime::Create(env, PolicyLimits(), folder_).value();
  }
  // It answers, and it traps where it should.
  void ExpectWorks(const std::shared_ptr<const PolicyModule>& module) {
    ASSERT_NE(module, nullptr);
    auto host = [](std::string_view, std::string_view request) {
      return Result<std::string>(std::string(request));
    };
    auto r = module->Call("prepare", "hello", host);
    ASSERT_TRUE(r.ok()) << r.status().message();
    EXPECT_EQ(*r, "ello");
    EXPECT_FALSE(module->Call("prepare", "o", host).ok());
  }
  uint64_t Fuel(const std::shared_ptr<const PolicyModule>& module) {
    CallStats stats;
    auto host = [](std::string_view, std::string_view request) {
      return Result<std::string>(std::string(request));
    };
    EXPECT_TRUE(module->Call("prepare", "hello", host, &stats).ok());
    return stats.fuel_used;
  }
  ino_t Inode(const std::string& path) {
    struct stat st = {};
    ::stat(path.c_str(), &st);
    return st.st_ino;
  }
};

TEST_F(RuntimeCacheTest, IsUsedWhereItIsWhole) {
  ExpectWorks(Load());
  ASSERT_EQ(Entries().size(), 1u);
  const std::string file = Entries()[0];
  const ino_t inode = Inode(file);
  ExpectWorks(Load());
  EXPECT_EQ(Inode(file), inode);  // not written again
  PolicyLimits limits;
  limits.memory_bytes = 32u << 20;  // another compiled form
  ExpectWorks(Load(limits));
  EXPECT_EQ(Entries().size(), 2u);
}

TEST_F(RuntimeCacheTest, IsMapped) {
  ExpectWorks(Load());
  const std::string file = Entries()[0];
  const auto module = Load();
  EXPECT_NE(FileBytes("/proc/self/maps").find(file), std::string::npos);
  // It goes on without its name: another process may remove what is too old.
  fs::remove(file);
  ExpectWorks(module);
}

TEST_F(RuntimeCacheTest, IsUsedWhereNothingCanBeMappedExecutable) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting a filesystem needs root";
  std::thread([&] {  // the mount is in a namespace of this thread alone, and gone with it
    ASSERT_EQ(::unshare(CLONE_FS | CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    fs::create_directory(folder_);
    ASSERT_EQ(::mount("noexec", folder_.c_str(), "tmpfs", MS_NOEXEC | MS_NODEV | MS_NOSUID, "mode=0700"), 0);
    ExpectWorks(Load());
    ASSERT_EQ(Entries().size(), 1u);
    const std::string file = Entries()[0];
    const ino_t inode = Inode(file);
    ExpectWorks(Load());
    EXPECT_EQ(Inode(file), inode);
  })
      .join();
}

TEST_F(RuntimeCacheTest, DamageLeadsToCompiling) {
  ExpectWorks(Load());
  const std::string file = Entries()[0];
  const std::string good = FileBytes(file);
  for (const std::string& bad : {good.substr(0, good.size() / 2), std::string("nonsense"), std::string()}) {
    Overwrite(file, bad);
    ExpectWorks(Load());
    EXPECT_EQ(FileBytes(file), good);  // replaced
  }
}

TEST_F(RuntimeCacheTest, AFormOfAnotherBuildLeadsToCompiling) {
  // Whole by its checksum, but wasmtime refuses it.
  ExpectWorks(Load());
  const std::string file = Entries()[0], key = fs::path(file).stem().string();
  const std::string note(Cache().Get(key)->note());
  for (const auto& [form, beside] : {std::pair("not a compiled module", note), {"compiled", "no note"}}) {
    Cache().Put(key, form, beside);
    const std::string bad = FileBytes(file);
    ExpectWorks(Load());
    EXPECT_NE(FileBytes(file), bad) << form;
  }
}

// A process that has no thread left, or that ended too early, leaves a form that was made quickly.
struct NoThreads : Scheduler {
  Status Spawn(std::function<void()>, const char*, size_t) override {
    return Status(Code::kSystem, "there is no thread");
  }
  void Wait(std::unique_lock<std::mutex>& lock, std::condition_variable& cv, int64_t deadline_ms) override {
    Scheduler::Real()->Wait(lock, cv, deadline_ms);
  }
  void SleepUntil(int64_t deadline_ms) override { Scheduler::Real()->SleepUntil(deadline_ms); }
};

TEST_F(RuntimeCacheTest, IsMadeQuicklyAndThenWell) {
  const std::string blob = HostileBlob(), sha256 = Sha256Hex(blob);
  NoThreads none;
  Env env = SystemEnv();
  env.scheduler = &none;
  const auto hasty = Runtime(env);
  const auto quick = hasty->Load(blob).value();
  hasty->Finish();
  ExpectWorks(quick);
  ASSERT_EQ(Entries().size(), 1u);
  const std::string file = Entries()[0];
  const ino_t inode = Inode(file);

  // Whoever uses it next makes the good one, and goes over to it.
  const auto next = Runtime();
  EXPECT_EQ(next->Kept(sha256, blob.size()), nullptr) << "it wants the blob's bytes";
  const auto module = next->Load(blob).value();
  next->Finish();
  EXPECT_NE(Inode(file), inode);
  EXPECT_EQ(FileBytes("/proc/self/maps").find(file), std::string::npos) << "the quick one is in use still";
  ExpectWorks(module);
  EXPECT_EQ(Fuel(quick), Fuel(module)) << "they decide the same";
  EXPECT_EQ(next->Kept(sha256, blob.size()), module);

  // From then on the blob's bytes are not needed.
  EXPECT_EQ(Runtime()->Kept(sha256, blob.size() + 1), nullptr) << "another blob's";
  EXPECT_EQ(Runtime()->Kept(Sha256Hex("another"), blob.size()), nullptr);
  const auto kept = Runtime()->Kept(sha256, blob.size());
  ExpectWorks(kept);
  EXPECT_EQ(kept->sha256(), sha256);
  const PolicyManifest &a = kept->manifest(), &b = module->manifest();
  EXPECT_EQ(std::tie(a.name, a.version, a.description, a.abi, a.imports),
            std::tie(b.name, b.version, b.description, b.abi, b.imports));
}

TEST_F(RuntimeCacheTest, NoneIsLargerThanTheLimitAllows) {
  const std::string blob = WithSection(HostileBlob(), "padding", std::string(100'000, 'x'));
  ASSERT_TRUE(Runtime()->Load(blob).ok());
  PolicyLimits limits;
  limits.blob_bytes = 50'000;
  auto runtime = PolicyRuntime::Create(SystemEnv(), limits, folder_).value();
  EXPECT_EQ(runtime->Kept(Sha256Hex(blob), blob.size()), nullptr);
  EXPECT_NE(Runtime()->Kept(Sha256Hex(blob), blob.size()), nullptr);
}

TEST_F(RuntimeCacheTest, WorksWithoutAFolder) {
  folder_ = root_ + "/missing/cache";
  ExpectWorks(Load());
  EXPECT_FALSE(fs::exists(root_ + "/missing"));
  folder_ = "";
  ExpectWorks(Load());
}

}  // namespace
}  // namespace dvdi
