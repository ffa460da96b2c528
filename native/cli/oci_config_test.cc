#include "cli/oci_config.h"

#include <gtest/gtest.h>

namespace dvdi::cli {
namespace {

// A config.json with these annotations.
std::string Config(const Json& annotations, const Json& more = Json::object()) {
  Json config = {{"annotations", annotations},
                 {"root", {{"path", "rootfs"}}},
                 {"process", {{"cwd", "/work"}, {"user", {{"uid", 5}, {"gid", 6}}}}},
                 {"linux", {{"namespaces", {{{"type", "mount"}}}}}}};
  config.merge_patch(more);
  return Dump(config);
}

TEST(OciConfig, AnnotationsAreSources) {
  auto config = ReadOciConfig(Config({{"dvdi.volume", "a:/a"},
                                      {"dvdi.volume.b", "b:/b"},
                                      {"dvdi.mount.c", "type=volume,src=c,dst=/c"},
                                      {"dvdi.statement", "volumes: [{name: d}]"},
                                      {"dvdi.statement.e", R"({"volumes":[]})"},
                                      {"dvdi.driver", "red"},
                                      {"org.other", "x"}}),
                              "/b");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->sources, Json({{{"form", "mount"}, {"text", "type=volume,src=c,dst=/c"}},
                                   {{"form", "statement"}, {"text", R"({"volumes":[{"name":"d"}]})"}},
                                   {{"form", "statement"}, {"text", R"({"volumes":[]})"}},
                                   {{"form", "volume"}, {"text", "a:/a"}},
                                   {{"form", "volume"}, {"text", "b:/b"}}}));
  EXPECT_EQ(config->default_driver, "red");
  EXPECT_EQ(config->root, "/b/rootfs");
  EXPECT_EQ(config->cwd, "/work");
  EXPECT_EQ(config->uid, 5u);
  EXPECT_EQ(config->gid, 6u);
  EXPECT_TRUE(config->mount_namespace);
}

TEST(OciConfig, WhatIsMistypedIsAnError) {
  for (const char* key :
       {"dvdi.volumes", "dvdi.volume.", "dvdi.", "dvdi.drivers", "dvdi.driver.x", "dvdi.statement2"})
    EXPECT_FALSE(ReadOciConfig(Config({{key, "a:/a"}}), "/b").ok()) << key;
  EXPECT_FALSE(ReadOciConfig(Config({{"dvdi.volume", 1}}), "/b").ok());
  EXPECT_FALSE(ReadOciConfig(Config({{"dvdi.statement", "a: [b"}}), "/b").ok());
  EXPECT_FALSE(ReadOciConfig("{", "/b").ok());
}

TEST(OciConfig, IdsAreTheNodes) {
  Json mapped = {{"linux",
                  {{"uidMappings", {{{"containerID", 0}, {"hostID", 100000}, {"size", 10}}}},
                   {"gidMappings", {{{"containerID", 6}, {"hostID", 7000}, {"size", 1}}}}}}};
  auto config = ReadOciConfig(Config({{"dvdi.volume", "a:/a"}}, mapped), "/b");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->uid, 100005u);
  EXPECT_EQ(config->gid, 7000u);
  mapped["linux"]["uidMappings"][0]["size"] = 5;
  EXPECT_FALSE(ReadOciConfig(Config({{"dvdi.volume", "a:/a"}}, mapped), "/b").ok());
}

TEST(OciConfig, AJoinedNamespaceIsNotItsOwn) {
  Json joined = {{"linux", {{"namespaces", {{{"type", "mount"}, {"path", "/proc/1/ns/mnt"}}}}}}};
  auto config = ReadOciConfig(Config({{"dvdi.volume", "a:/a"}}, joined), "/b");
  ASSERT_TRUE(config.ok());
  EXPECT_FALSE(config->mount_namespace);
}

TEST(OciConfig, TargetsAreInTheContainerAndNotWhereItsRuntimeMounts) {
  EXPECT_EQ(OciTarget("/srv/data", "/work").value(), "/srv/data");
  EXPECT_EQ(OciTarget("data", "/work").value(), "/work/data");
  for (const char* target : {"/", "", "..", "/a/../b", "/proc", "/proc/x", "/sys/fs", "/dev/shm"})
    EXPECT_FALSE(OciTarget(target, "/").ok()) << target;
  EXPECT_TRUE(OciTarget("/device", "/").ok());
}

}  // namespace
}  // namespace dvdi::cli
