// Volumes that other mount namespaces have copies of.
#include <functional>

#include "driver/driver_test.h"
#include "driver/elsewhere_test.h"

namespace dvdi {
namespace {

using testing::DriverTest;
using testing::Elsewhere;

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

// What takes the lease over meanwhile takes it by another number.
TEST_F(DriverTest, ALeaseThatWasTakenOverMeanwhileIsGivenBackToo) {
  auto remove = [](Driver& d) { EXPECT_EQ(d.Remove("v").code(), Code::kRefused); };
  auto grow = [](Driver& d) { ASSERT_OK(d.Create("v", {{"size", "32m"}})); };
  for (const std::function<void(Driver&)>& between : {std::function<void(Driver&)>(remove), {grow}}) {
    auto a = Node("A", 20), b = Node("B");
    ASSERT_OK(a->Create("v", {}));
    auto at = a->Mount("v", "1");
    ASSERT_OK(at);
    Elsewhere other(MS_PRIVATE, *at);
    ASSERT_TRUE(other.ok());
    EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
    between(*a);
    // The client got an error, so it asks again.
    EXPECT_EQ(a->Unmount("v", "1").code(), Code::kRefused);
    a->ReleaseDrained();
    EXPECT_TRUE(Leased("v"));
    EXPECT_FALSE(b->Mount("v", "2").ok());
    other.End();
    for (int i = 0; i < 1000 && Leased("v"); ++i) {
      a->ReleaseDrained();
      ::usleep(5000);
    }
    EXPECT_FALSE(Leased("v"));
    EXPECT_TRUE(a->Get("v")->clean);
    ASSERT_OK(b->Mount("v", "2"));
    ASSERT_OK(b->Unmount("v", "2"));
    ASSERT_OK(b->Remove("v"));
  }
}

}  // namespace
}  // namespace dvdi
