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
  Cache().Put(key_, "compiled");
  EXPECT_EQ(Get(key_), "compiled");
  EXPECT_EQ(Mode(folder_), 0700u);
  EXPECT_EQ(Mode(File(key_)), 0600u);
  EXPECT_EQ(Entries().size(), 1u);  // no temporary file stays
  Cache().Put(key_, "other");
  EXPECT_EQ(Get(key_), "other");
  Cache().Remove(key_);
  EXPECT_EQ(Get(key_), "none");
}

TEST_F(CacheTest, RefusesDamage) {
  Cache().Put(key_, "compiled");
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

TEST_F(CacheTest, RefusesAnotherBlobsEntry) {
  Cache().Put(key_, "compiled");
  const std::string other(64, 'b');
  fs::rename(File(key_), File(other));
  EXPECT_EQ(Get(other), "none");
}

TEST_F(CacheTest, RefusesWhatOthersCouldHaveWritten) {
  Cache().Put(key_, "compiled");
  for (mode_t mode : {0660u, 0602u}) {
    ASSERT_EQ(::chmod(File(key_).c_str(), mode), 0);
    EXPECT_EQ(Get(key_), "none");
  }
  ASSERT_EQ(::chmod(File(key_).c_str(), 0600), 0);
  for (mode_t mode : {0770u, 0707u, 01777u}) {
    ASSERT_EQ(::chmod(folder_.c_str(), mode), 0);
    EXPECT_EQ(Get(key_), "none");
    Cache().Put(std::string(64, 'b'), "planted");  // nor is anything written there
    EXPECT_EQ(Entries().size(), 1u);
  }
  ASSERT_EQ(::chmod(folder_.c_str(), 0700), 0);
  EXPECT_EQ(Get(key_), "compiled");
}

TEST_F(CacheTest, RefusesAnotherOwner) {
  if (::geteuid() != 0) GTEST_SKIP() << "changing the owner of a file needs root";
  Cache().Put(key_, "compiled");
  ASSERT_EQ(::chown(File(key_).c_str(), 1, 1), 0);
  EXPECT_EQ(Get(key_), "none");
  ASSERT_EQ(::chown(File(key_).c_str(), 0, 0), 0);
  EXPECT_EQ(Get(key_), "compiled");
  ASSERT_EQ(::chown(folder_.c_str(), 1, 1), 0);
  EXPECT_EQ(Get(key_), "none");
}

TEST_F(CacheTest, FollowsNoLinksAndWaitsForNoFifo) {
  Cache().Put(key_, "compiled");
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
  for (int i = 0; i < 20; ++i) Cache().Put(std::string(63, 'c') + static_cast<char>('a' + i), "compiled");
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
  Cache().Put(key, "not a compiled module");
  const std::string bad = FileBytes(file);
  ExpectWorks(Load());
  EXPECT_NE(FileBytes(file), bad);
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
