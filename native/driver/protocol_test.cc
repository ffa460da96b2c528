#include "driver/protocol.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "driver/driver.h"
#include "driver/test_world.h"

namespace dvdi {
namespace {

using testing::EnterOwnNamespace;
using testing::TempDir;

class ProtocolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    DVDI_SKIP_UNLESS(EnterOwnNamespace());
    DriverOptions o;
    o.pool = dir_ / "pool";
    o.mount_root = dir_ / "mnt";
    o.node = "A";
    auto driver = Driver::Open(o);
    ASSERT_TRUE(driver.ok()) << driver.status().message();
    driver_ = std::move(*driver);
  }
  HttpReply Ask(const std::string& target, const std::string& body = "", const std::string& method = "POST") {
    return HandleRequest(*driver_, {method, target, body});
  }
  // The body, which is one line of JSON with an Err, always.
  static Json Body(const HttpReply& reply) {
    EXPECT_FALSE(reply.body.empty());
    EXPECT_EQ(reply.body.find('\n'), reply.body.size() - 1);
    auto json = ParseJson(reply.body, "reply");
    EXPECT_TRUE(json.ok()) << reply.body;
    if (!json.ok()) return Json();
    EXPECT_TRUE(GetMember(*json, "Err").is_string());
    return *json;
  }

  TempDir dir_;
  std::unique_ptr<Driver> driver_;
};

TEST_F(ProtocolTest, ActivateAndCapabilities) {
  for (const char* method : {"POST", "GET"}) {
    HttpReply r = Ask("/Plugin.Activate", "", method);
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(Body(r)["Implements"], Json::array({"VolumeDriver"}));
  }
  EXPECT_EQ(Body(Ask("/VolumeDriver.Capabilities", "null\n"))["Capabilities"]["Scope"], "global");
}

TEST_F(ProtocolTest, CreateGetListRemove) {
  EXPECT_EQ(Body(Ask("/VolumeDriver.List", "{}"))["Volumes"], Json::array());
  EXPECT_EQ(Ask("/VolumeDriver.Create", R"({"Name":"v","Opts":{"size":"64m"}})").status, 200);
  EXPECT_EQ(Ask("/VolumeDriver.Create", R"({"name":"w","opts":null})").status, 200);
  Json volume = Body(Ask("/VolumeDriver.Get", R"({"Name":"v"})"))["Volume"];
  EXPECT_EQ(volume["Name"], "v");
  EXPECT_FALSE(volume.contains("Mountpoint"));
  EXPECT_EQ(volume["CreatedAt"].get<std::string>().size(), std::string("2026-01-01T00:00:00Z").size());
  EXPECT_EQ(volume["Status"]["size_bytes"], 64 << 20);
  EXPECT_EQ(volume["Status"]["filesystem"], "ext4");
  EXPECT_EQ(volume["Status"]["node"], "A");
  EXPECT_EQ(volume["Status"]["clean"], true);
  EXPECT_TRUE(volume["Status"]["lease"].is_null());
  Json list = Body(Ask("/VolumeDriver.List"))["Volumes"];
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0]["Name"], "v");
  EXPECT_EQ(list[0]["Mountpoint"], "");
  EXPECT_EQ(Ask("/VolumeDriver.Remove", R"({"Name":"v"})").status, 200);
  HttpReply gone = Ask("/VolumeDriver.Get", R"({"Name":"v"})");
  EXPECT_EQ(gone.status, 500);
  EXPECT_NE(Body(gone)["Err"].get<std::string>().find("volume v"), std::string::npos);
  EXPECT_EQ(Ask("/VolumeDriver.Remove", R"({"Name":"v"})").status, 500);
}

TEST_F(ProtocolTest, ARepeatedCreateAgreesOrIsRefused) {
  ASSERT_EQ(Ask("/VolumeDriver.Create", R"({"Name":"v","Opts":{"size":"64m"}})").status, 200);
  EXPECT_EQ(Ask("/VolumeDriver.Create", R"({"Name":"v","Opts":{"size":"64m"}})").status, 200);
  EXPECT_EQ(Ask("/VolumeDriver.Create", R"({"Name":"v"})").status, 200);
  HttpReply other = Ask("/VolumeDriver.Create", R"({"Name":"v","Opts":{"size":"63m"}})");
  EXPECT_EQ(other.status, 500);
  EXPECT_NE(Body(other)["Err"].get<std::string>().find("64 MiB, and cannot be made smaller (63 MiB)"),
            std::string::npos);
  EXPECT_EQ(Ask("/VolumeDriver.Create", R"({"Name":"v","Opts":{"size":"80m"}})").status, 200);
  EXPECT_EQ(Body(Ask("/VolumeDriver.Get", R"({"Name":"v"})"))["Volume"]["Status"]["size"], "80 MiB");
  EXPECT_EQ(Ask("/VolumeDriver.Create", R"({"Name":"v","Opts":{"newfstype":"xfs"}})").status, 500);
}

TEST_F(ProtocolTest, WrongOptionsMakeNothing) {
  for (const char* opts : {R"({"size":"tiny"})", R"({"size":"1m"})", R"({"newfstype":"ntfs"})",
                           R"({"newfstype":"xfs","size":"299m"})", R"({"volumetype":"io1"})"}) {
    HttpReply r = Ask("/VolumeDriver.Create", std::string(R"({"Name":"v","Opts":)") + opts + "}");
    EXPECT_EQ(r.status, 500) << opts;
    EXPECT_NE(Body(r)["Err"], "") << opts;
  }
  HttpReply xfs = Ask("/VolumeDriver.Create", R"({"Name":"v","Opts":{"newfstype":"xfs","size":"299m"}})");
  EXPECT_NE(Body(xfs)["Err"].get<std::string>().find("300 MiB"), std::string::npos);
  EXPECT_TRUE(testing::Names(dir_ / "pool").empty());
}

TEST_F(ProtocolTest, RequestsThatAreNotOfTheProtocol) {
  std::string deep(200, '[');
  for (std::string body :
       {std::string("{"), std::string("[]"), std::string("1"), std::string("\"x\""), deep,
        std::string("{\"Name\":1}"), std::string("{\"Name\":[\"v\"]}"), std::string("{}"), std::string(""),
        std::string("null"), std::string("{\"Name\":\"\"}"), std::string("{\"Name\":\"v\",\"Opts\":[]}"),
        std::string("{\"Name\":\"v\",\"Opts\":{\"size\":1}}"), std::string("{\"Name\":\"v\",\"ID\":7}"),
        std::string("{\"Name\":\"\xff\"}")}) {
    HttpReply r = Ask("/VolumeDriver.Create", body);
    EXPECT_EQ(r.status, 400) << body;
    EXPECT_NE(Body(r)["Err"], "") << body;
  }
  EXPECT_EQ(Ask("/VolumeDriver.Format", "{}").status, 404);
  EXPECT_EQ(Ask("/", "{}").status, 404);
  EXPECT_EQ(Ask("/VolumeDriver.List", "", "GET").status, 405);
  EXPECT_EQ(Ask("/VolumeDriver.Mount", "", "PUT").status, 405);
}

TEST_F(ProtocolTest, NamesThatLeaveThePoolAreRefused) {
  for (const char* name : {"..", "../x", "a/b", "/etc", ".hidden", "a\\u0000b", "a\\nb"})
    for (const char* method : {"Create", "Mount", "Unmount", "Remove", "Get", "Path"}) {
      HttpReply r = Ask(std::string("/VolumeDriver.") + method, std::string("{\"Name\":\"") + name + "\"}");
      EXPECT_EQ(r.status, 500) << method << " " << name;
      EXPECT_NE(Body(r)["Err"].get<std::string>().find("volume name"), std::string::npos) << r.body;
    }
  EXPECT_TRUE(testing::Names(dir_ / "pool").empty());
}

TEST_F(ProtocolTest, WhatIsNotMountedHasNoPathAndUnmountsAsOftenAsOneLikes) {
  ASSERT_EQ(Ask("/VolumeDriver.Create", R"({"Name":"v"})").status, 200);
  EXPECT_EQ(Ask("/VolumeDriver.Path", R"({"Name":"v"})").status, 500);
  EXPECT_EQ(Ask("/VolumeDriver.Unmount", R"({"Name":"v","ID":"x"})").status, 200);
  EXPECT_EQ(Ask("/VolumeDriver.Unmount", R"({"Name":"none","ID":"x"})").status, 200);
  EXPECT_EQ(Ask("/VolumeDriver.Mount", R"({"Name":"none","ID":"x"})").status, 500);
  EXPECT_EQ(Ask("/VolumeDriver.Mount", R"({"Name":"v","ID":")" + std::string(513, 'x') + "\"}").status, 500);
}

TEST(DescribeRequestTest, TellsThemApartWhateverTheySay) {
  auto told = [](const char* target, const std::string& body) {
    return DescribeRequest({"POST", target, body});
  };
  EXPECT_EQ(told("/VolumeDriver.Mount", R"({"name":"v","ID":"x"})"), "Mount of volume v");
  EXPECT_EQ(told("/DvdiDriver.Fence", R"({"Name":"v"})"), "Fence of volume v");
  EXPECT_EQ(told("/VolumeDriver.Get", "{\"Name\":\"a\\nb\"}"), "Get of volume a b");
  for (const char* body : {"", "null", "[1]", "{", R"({"Name":1})", R"({"Name":""})"})
    EXPECT_EQ(told("/VolumeDriver.List", body), "List");
  EXPECT_LE(told("/x", "").size() + told(std::string(9000, 'y').c_str(), "").size(), 200u);
}

}  // namespace
}  // namespace dvdi
