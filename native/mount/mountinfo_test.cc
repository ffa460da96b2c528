#include "mount/mountinfo.h"

#include <gtest/gtest.h>

#include "mount/paths.h"

namespace dvdi {
namespace {

TEST(MountinfoTest, ReadsEveryField) {
  auto mounts = ParseMountinfo(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n");
  ASSERT_EQ(1u, mounts.size());
  const MountEntry& m = mounts[0];
  EXPECT_EQ(36, m.id);
  EXPECT_EQ(35, m.parent);
  EXPECT_EQ("98:0", m.device);
  EXPECT_EQ("/mnt1", m.root);
  EXPECT_EQ("/mnt2", m.mountpoint);
  EXPECT_EQ("rw,noatime", m.options);
  EXPECT_EQ("master:1 shared:2", m.propagation);
  EXPECT_EQ("ext3", m.type);
  EXPECT_EQ("/dev/root", m.source);
  EXPECT_EQ("rw,errors=continue", m.super_options);
  EXPECT_TRUE(HasOption(m.options, "noatime"));
  EXPECT_FALSE(HasOption(m.options, "no"));
  EXPECT_FALSE(HasOption(m.options, ""));
}

TEST(MountinfoTest, UnescapesAndTakesAnEmptySource) {
  auto mounts = ParseMountinfo(
      "1 0 0:1 / /a\\040b\\134c\\012d\\043 rw - tmpfs  rw,size=1k\n"
      "2 0 0:2 / /end\\ rw - fuse.x y\\011z rw");
  ASSERT_EQ(2u, mounts.size());
  EXPECT_EQ("/a b\\c\nd#", mounts[0].mountpoint);
  EXPECT_EQ("", mounts[0].source);
  EXPECT_EQ("rw,size=1k", mounts[0].super_options);
  EXPECT_EQ("", mounts[0].propagation);
  EXPECT_EQ("/end\\", mounts[1].mountpoint);
  EXPECT_EQ("y\tz", mounts[1].source);
}

TEST(MountinfoTest, PassesOverWhatItDoesNotUnderstand) {
  auto mounts = ParseMountinfo(
      "\n"
      "garbage\n"
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1\n"
      "x 35 98:0 / /a rw - ext4 y rw\n"
      "1 2 98:0 / relative rw - ext4 y rw\n"
      "1 2 980 / /a rw - ext4 y rw\n"
      "7 2 98:0 / /good rw - ext4 y rw\n"
      "99999999999 2 98:0 / /big rw - ext4 y rw\n");
  ASSERT_EQ(1u, mounts.size());
  EXPECT_EQ("/good", mounts[0].mountpoint);
}

TEST(MountinfoTest, FindsTheTopOfAStackByParentsNotByOrder) {
  auto mounts = ParseMountinfo(
      "1 0 8:1 / / rw - ext4 a rw\n"
      "9 20 8:2 / /m rw - ext4 top rw\n"
      "20 1 8:3 / /m rw - ext4 low rw\n"
      "21 1 8:3 / /mm rw - ext4 other rw\n");
  EXPECT_EQ("top", FindMount(mounts, "/m")->source);
  EXPECT_EQ("top", ContainingMount(mounts, "/m/x")->source);
  EXPECT_EQ("a", ContainingMount(mounts, "/mmm")->source);
  EXPECT_EQ(nullptr, FindMount(mounts, "/none"));
}

TEST(MountinfoTest, AMountHiddenByALaterOneAboveDoesNotContain) {
  auto mounts = ParseMountinfo(
      "1 0 8:1 / / rw - ext4 root rw\n"
      "2 1 8:2 / /a/b rw - ext4 hidden rw\n"
      "3 1 8:3 / /a rw - ext4 over rw\n");
  EXPECT_EQ("over", ContainingMount(mounts, "/a/b/c")->source);
  auto way = MountsOnTheWay(mounts, "/a/b/c");
  ASSERT_EQ(2u, way.size());
  EXPECT_EQ("root", way[0]->source);
}

TEST(MountinfoTest, LoopsInTheTextEnd) {
  auto mounts = ParseMountinfo(
      "1 2 8:1 / / rw - ext4 a rw\n"
      "2 1 8:1 / / rw - ext4 b rw\n"
      "3 3 8:1 / /x rw - ext4 c rw\n");
  EXPECT_LE(MountsOnTheWay(mounts, "/x/y").size(), 3u);
  EXPECT_NE(nullptr, FindMount(mounts, "/x"));
}

TEST(MountinfoTest, SaysWhereInTheFilesystemAPathLies) {
  auto mounts = ParseMountinfo(
      "1 0 8:1 / / rw - ext4 a rw\n"
      "2 1 8:1 /vols /srv/vols rw - ext4 a rw\n");
  EXPECT_EQ("/x", PathInFilesystem(mounts[0], "/x"));
  EXPECT_EQ("/", PathInFilesystem(mounts[0], "/"));
  EXPECT_EQ("/vols", PathInFilesystem(mounts[1], "/srv/vols"));
  EXPECT_EQ("/vols/a/b", PathInFilesystem(mounts[1], "/srv/vols/a/b"));
}

TEST(MountinfoTest, FindsWhereElseTheSameIsMounted) {
  const std::string text =
      "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "21 20 8:2 / /vols/disk rw - ext4 /dev/sdb rw\n"
      "30 20 8:1 /vols/a\\040b /stage/1/x rw - ext4 /dev/sda1 rw\n"
      "31 20 8:1 /vols/a\\040b/sub /stage/2/x rw - ext4 /dev/sda1 rw\n"
      "32 20 8:1 /vols/a\\040bc /stage/3/x rw - ext4 /dev/sda1 rw\n"
      "33 20 8:2 /sub /stage/4/y\\040z rw - ext4 /dev/sdb rw\n"
      "34 20 8:1 /vols/a\\040b /elsewhere rw - ext4 /dev/sda1 rw\n"
      "35 20 8:1 / /stage/5/x rw - ext4 /dev/sda1 rw\n";
  auto of = [&](const std::string& path) {
    return MountpointsOf(text, ParseMountinfo(text, {path}), path, "/stage");
  };
  using Paths = std::vector<std::string>;
  EXPECT_EQ(of("/vols/a b"), (Paths{"/stage/1/x", "/stage/2/x"})) << "a folder, and one within it";
  EXPECT_EQ(of("/vols/disk"), Paths{"/stage/4/y z"});
  EXPECT_EQ(of("/vols/other"), Paths{});
  EXPECT_EQ(MountpointsOf(text, {}, "/vols/disk", "/stage"), Paths{}) << "nobody knows what lies there";
}

TEST(MountinfoTest, ReadsTensOfThousandsOfLines) {
  std::string text = "1 0 8:1 / / rw - ext4 a rw\n";
  for (int i = 2; i < 20000; ++i)
    text += std::to_string(i) + " 1 8:2 / /var/lib/dvdi/stage/" + std::to_string(i) +
            " rw shared:7 - ext4 /dev/x rw\n";
  auto mounts = ParseMountinfo(text);
  ASSERT_EQ(19999u, mounts.size());
  EXPECT_EQ(777, ContainingMount(mounts, "/var/lib/dvdi/stage/777/x")->id);
}

TEST(PathsTest, Normal) {
  EXPECT_TRUE(IsNormalPath("/"));
  EXPECT_TRUE(IsNormalPath("/a/b c"));
  EXPECT_TRUE(IsNormalPath("/a/..b"));
  for (const char* bad : {"", "a", "/a/", "//a", "/a/./b", "/a/../b", "/a/.."})
    EXPECT_FALSE(IsNormalPath(bad)) << bad;
  EXPECT_FALSE(IsNormalPath(std::string_view("/a\0b", 4)));
  EXPECT_FALSE(IsNormalPath("/\xff"));
  EXPECT_FALSE(IsNormalPath("/" + std::string(256, 'a')));
  EXPECT_EQ("/a/b", NormalPath("//a/./b/"));
  EXPECT_EQ("", NormalPath("/a/../b"));
  std::string sub;
  EXPECT_TRUE(NormalSubpath("a//b/", &sub));
  EXPECT_EQ("a/b", sub);
  EXPECT_TRUE(NormalSubpath("", &sub));
  EXPECT_FALSE(NormalSubpath("/a", &sub));
  EXPECT_FALSE(NormalSubpath("a/../..", &sub));
}

TEST(PathsTest, Below) {
  EXPECT_TRUE(IsStrictlyBelow("/a", "/a/b"));
  EXPECT_FALSE(IsStrictlyBelow("/a", "/a"));
  EXPECT_FALSE(IsStrictlyBelow("/a", "/ab"));
  EXPECT_TRUE(IsStrictlyBelow("/", "/a"));
  EXPECT_FALSE(IsStrictlyBelow("/", "/"));
  EXPECT_EQ("/", ParentOf("/a"));
  EXPECT_EQ("/a", ParentOf("/a/b"));
  EXPECT_EQ("b", NameOf("/a/b"));
}

TEST(PathsTest, SystemFolders) {
  for (const char* bad : {"/", "/etc", "/etc/x", "/proc/1", "/usr", "/usr/bin/x", "/lib64", "/dev/shm",
                          "/boot/efi", "/var", "/var/lib", "/run/dvdi/x", "/usr/local"})
    EXPECT_NE("", SystemFolderOf(bad, true)) << bad;
  for (const char* good : {"/data", "/srv", "/mnt", "/home", "/opt", "/tmp", "/var/lib/postgresql/data",
                           "/usr/share/nginx/html", "/usr/local/share/x", "/etcetera", "/libs", "/run/app"})
    EXPECT_EQ("", SystemFolderOf(good, true)) << good;
  EXPECT_EQ("", SystemFolderOf("/run/docker/volumes/x", false));
  EXPECT_EQ("/etc", SystemFolderOf("/etc/x", false));
}

// What a driver may name, and what it may not.
TEST(PathsTest, PlacesOfVolumes) {
  for (const char* bad : {"/",
                          "/etc",
                          "/root",
                          "/root/x",
                          "/usr",
                          "/usr/local/sbin",
                          "/usr/share/x",
                          "/boot",
                          "/home",
                          "/run",
                          "/run/systemd",
                          "/run/systemd/system",
                          "/run/user/0",
                          "/run/docker",
                          "/run/docker/plugins",
                          "/var",
                          "/var/lib",
                          "/var/lib/dpkg/info",
                          "/var/lib/rpm",
                          "/var/lib/systemd",
                          "/var/spool/cron/crontabs",
                          "/var/lib/docker",
                          "/var/lib/docker/volumes"})
    EXPECT_NE("", SystemFolderOf(bad, false)) << bad;
  // Where plugins have them.
  for (const char* good :
       {"/var/lib/docker/volumes/x/_data", "/var/lib/docker-volumes/rclone/x", "/var/lib/rexray/volumes/x",
        "/var/lib/docker/plugins/0a/propagated-mount/x", "/run/docker/volumes/x",
        "/run/docker/plugins/0a/mnt/x", "/run/dvdi-driver/node/x", "/run/plugin/x", "/mnt", "/mnt/x",
        "/media/x", "/srv", "/srv/x", "/opt/x", "/home/user/x", "/data", "/tmp/x", "/var/cache/plugin/x"})
    EXPECT_EQ("", SystemFolderOf(good, false)) << good;
}

}  // namespace
}  // namespace dvdi
