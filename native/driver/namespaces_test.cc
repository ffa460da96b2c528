// Volumes that other mount namespaces have copies of.
#include <signal.h>
#include <sys/wait.h>

#include "driver/driver_test.h"

namespace dvdi {
namespace {

using testing::DriverTest;

// A process in a mount namespace of its own, with copies of all mounts; `propagation` for "/".
class Elsewhere {
 public:
  explicit Elsewhere(unsigned long propagation, const std::string& hold_open = "") {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) < 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      // The lock files of the test's drivers are not to be held here too.
      ::dup2(ready[1], 3);
      ::close_range(4, ~0U, 0);
      bool ok =
          ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | propagation, nullptr) == 0;
      if (!hold_open.empty()) ok = ok && ::open(hold_open.c_str(), O_RDONLY) >= 0;
      char c = ok ? 'y' : 'n';
      [[maybe_unused]] ssize_t n = ::write(3, &c, 1);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char c = 'n';
    ok_ = ::read(ready[0], &c, 1) == 1 && c == 'y';
    ::close(ready[0]);
  }
  ~Elsewhere() { End(); }
  void End() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  bool ok() const { return ok_; }
  bool Sees(const std::string& mountpoint) const {
    auto text = Sys::Real()->Mountinfo(pid_);
    auto mounts = ParseMountinfo(text.ok() ? *text : "");
    return FindMount(mounts, mountpoint) != nullptr;
  }

 private:
  pid_t pid_ = 0;
  bool ok_ = false;
};

TEST_F(DriverTest, AnUnmountReachesCopiesInOtherNamespaces) {
  auto a = Node("A"), b = Node("B");
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  Elsewhere other(MS_SLAVE);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(other.Sees(*at));
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_FALSE(other.Sees(*at));
  ASSERT_OK(b->Mount("v", "2"));
  ASSERT_OK(b->Unmount("v", "2"));
}

TEST_F(DriverTest, CopiesThatNobodyUsesGoEvenFromPrivateNamespaces) {
  auto a = Node("A"), b = Node("B");
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  Elsewhere other(MS_PRIVATE);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(other.Sees(*at));
  ASSERT_OK(a->Unmount("v", "1"));
  EXPECT_FALSE(other.Sees(*at));
  ASSERT_OK(b->Mount("v", "2"));
  ASSERT_OK(b->Unmount("v", "2"));
}

TEST_F(DriverTest, AUseInAnotherNamespaceKeepsTheLease) {
  auto a = Node("A", 20), b = Node("B");
  ASSERT_OK(a->Create("v", {}));
  auto at = a->Mount("v", "1");
  ASSERT_OK(at);
  Elsewhere other(MS_PRIVATE, *at);
  ASSERT_TRUE(other.ok());
  Status s = a->Unmount("v", "1");
  EXPECT_EQ(s.code(), Code::kRefused);
  EXPECT_NE(s.message().find("another mount namespace"), std::string::npos) << s.message();
  EXPECT_TRUE(Leased("v"));
  EXPECT_FALSE(b->Mount("v", "2").ok());
  EXPECT_EQ(a->Remove("v").code(), Code::kRefused);
  EXPECT_TRUE(Leased("v")) << "a refused removal does not give up the guard";
  a->ReleaseDrained();
  EXPECT_TRUE(Leased("v"));
  // On the same node it can be mounted again: the kernel shares the filesystem.
  ASSERT_OK(a->Mount("v", "3"));
  EXPECT_EQ(a->Unmount("v", "3").code(), Code::kRefused);
  // A restart keeps the lease too.
  a.reset();
  a = Node("A", 20);
  EXPECT_TRUE(Leased("v"));
  other.End();
  // The kernel takes a dead namespace apart behind its last process.
  for (int i = 0; i < 1000 && Leased("v"); ++i) {
    a->ReleaseDrained();
    ::usleep(5000);
  }
  EXPECT_FALSE(Leased("v"));
  EXPECT_TRUE(a->Get("v")->clean);
  ASSERT_OK(b->Mount("v", "2"));
  ASSERT_OK(b->Unmount("v", "2"));
}

}  // namespace
}  // namespace dvdi
