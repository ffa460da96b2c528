#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "plugin/client.h"
#include "plugin/scripted_server.h"
#include "sys/test_faults.h"

namespace dvdi {
namespace {

class DiscoveryTest : public ::testing::Test {
 protected:
  DiscoveryPaths Paths() { return {.sockets = {dir_ / "run"}, .specs = {dir_ / "etc", dir_ / "lib"}}; }
  // What NAME.spec (or .json) leads to, as text: the address, or "CODE: message".
  std::string Find(const std::string& file, const std::string& text) {
    std::string path = dir_.Write("etc/" + file, text);
    auto found = DiscoverPlugin(Sys::Real(), Paths(), file.substr(0, file.find('.')));
    ::unlink(path.c_str());
    return found.ok() ? found->ToString()
                      : CodeName(found.status().code()) + (": " + found.status().message());
  }

  ScopedDir dir_;
};

TEST_F(DiscoveryTest, Sockets) {
  dir_.Write("run/deep/x", "");
  ScriptedServer flat(dir_ / "run/flat.sock"), deep(dir_ / "run/deep/deep.sock");
  auto found = DiscoverPlugin(Sys::Real(), Paths(), "flat");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->ToString(), "unix://" + dir_.path() + "/run/flat.sock");
  found = DiscoverPlugin(Sys::Real(), Paths(), "deep");
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->ToString(), "unix://" + dir_.path() + "/run/deep/deep.sock");
}

TEST_F(DiscoveryTest, SocketsComeFirstThenTheFoldersInOrder) {
  dir_.Write("run/x", "");
  dir_.Write("etc/p.json", R"({"Addr": "tcp://10.0.0.3:3"})");
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), "p")->ToString(), "tcp://10.0.0.3:3");
  dir_.Write("etc/p.spec", "tcp://10.0.0.2:2");
  dir_.Write("lib/p.spec", "tcp://10.0.0.4:4");
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), "p")->ToString(), "tcp://10.0.0.2:2");
  ScriptedServer server(dir_ / "run/p.sock");
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), "p")->ToString(), "unix://" + dir_.path() + "/run/p.sock");
}

TEST_F(DiscoveryTest, SpecsOneFolderDeep) {
  dir_.Write("lib/p/p.spec", "unix:///srv/p.sock\n");
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), "p")->ToString(), "unix:///srv/p.sock");
}

TEST_F(DiscoveryTest, Specs) {
  EXPECT_EQ(Find("p.spec", " \tunix:///srv/p.sock \r\n"), "unix:///srv/p.sock");
  EXPECT_EQ(Find("p.spec", "TCP://127.0.0.1:8080"), "tcp://127.0.0.1:8080");
  EXPECT_EQ(Find("p.spec", "tcp://localhost:1/"), "tcp://localhost:1");
  EXPECT_EQ(Find("p.spec", "http://[::1]:80"), "tcp://[::1]:80");
  EXPECT_EQ(Find("p.json", R"({"Name": "other", "Addr": "unix:///srv/p.sock"})"), "unix:///srv/p.sock");
  EXPECT_EQ(Find("p.json", R"({"name": "p", "addr": "tcp://10.0.0.1:5", "TLSConfig": null})"),
            "tcp://10.0.0.1:5");
}

TEST_F(DiscoveryTest, WrongSpecsSayWhatIsWrong) {
  for (const char* text :
       {"", "/srv/p.sock", "unix://srv/p.sock", "unix://", "ftp://1.2.3.4:5", "tcp://1.2.3.4",
        "tcp://1.2.3.4:0", "tcp://1.2.3.4:65536", "tcp://1.2.3.4:5x", "tcp://plugin.example:80", "tcp://:80",
        "unix:///a\nunix:///b", "unix:///a\x7f", "tcp://", "tcp://1.2.3.4:123456", "tcp://[::1:80"}) {
    std::string what = Find("p.spec", text);
    EXPECT_EQ(what.find("invalid: plugin file " + dir_.path() + "/etc/p.spec"), 0u) << text << " -> " << what;
  }
  for (const char* text : {"", "[]", "{}", R"({"Addr": 7})", R"({"Addr": ""})", "unix:///srv/p.sock"})
    EXPECT_EQ(Find("p.json", text).find("invalid: plugin file"), 0u) << text;
  EXPECT_EQ(Find("p.spec", "unix:///" + std::string(200, 'x')).find("invalid: "), 0u);
  EXPECT_EQ(Find("p.spec", std::string(70'000, ' ')).find("invalid: "), 0u);
}

TEST_F(DiscoveryTest, TlsIsRefused) {
  for (const char* text :
       {R"({"Addr": "tcp://10.0.0.1:5", "TLSConfig": {}})", R"({"Addr": "https://10.0.0.1:5"})",
        R"({"Addr": "tcp://10.0.0.1:5", "tlsconfig": {"CAFile": "/x", "InsecureSkipVerify": false}})"})
    EXPECT_EQ(Find("p.json", text).find("unsupported: TLS is not supported yet: "), 0u) << text;
  EXPECT_EQ(Find("p.spec", "https://10.0.0.1:5").find("unsupported: TLS is not supported yet: "), 0u);
}

TEST_F(DiscoveryTest, NoSuchPlugin) {
  dir_.Write("run/file.sock", "not a socket");
  auto found = DiscoverPlugin(Sys::Real(), Paths(), "file");
  ASSERT_EQ(found.status().code(), Code::kNotFound);
  EXPECT_EQ(found.status().driver(), "file");
  for (const char* place : {"run/file.sock", "etc/file.spec", "lib/file.spec", "is no socket"})
    EXPECT_NE(found.status().message().find(place), std::string::npos) << found.status().message();
}

TEST_F(DiscoveryTest, PlainNamesOnly) {
  dir_.Write("etc/p.spec", "unix:///srv/p.sock");
  for (std::string name : {"", ".", "..", "../etc/p", "a/b", "/p", "p\n", "-p", ".p", "p p", "a..b",
                           "p\x1b[0m", "p:latest", "p\xc3\xa9"})
    EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), name).status().code(), Code::kInvalid) << name;
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), std::string("p\0", 2)).status().code(), Code::kInvalid);
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), std::string(129, 'a')).status().code(), Code::kInvalid);
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), std::string(128, 'a')).status().code(), Code::kNotFound);
  Status managed = DiscoverPlugin(Sys::Real(), Paths(), "rexray/ebs:latest").status();
  EXPECT_NE(managed.message().find("1 to 128 letters"), std::string::npos);
  EXPECT_NE(managed.hint().find("managed plugin"), std::string::npos);
}

TEST_F(DiscoveryTest, FifoDoesNotHoldUs) {
  dir_.Write("etc/x", "");
  ASSERT_EQ(::mkfifo((dir_ / "etc/p.spec").c_str(), 0600), 0);
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), "p").status().code(), Code::kInvalid);
}

TEST_F(DiscoveryTest, Lists) {
  EXPECT_TRUE(ListPlugins(Sys::Real(), Paths()).empty());
  dir_.Write("run/deep/x", "");
  dir_.Write("run/file.sock", "");
  dir_.Write("run/.sock", "");
  dir_.Write("etc/b.spec", "");
  dir_.Write("etc/a.json", "");
  dir_.Write("etc/a.spec", "");
  dir_.Write("etc/-x.spec", "");
  dir_.Write("lib/c/c.json", "");
  dir_.Write("lib/d/c.json", "");
  ScriptedServer flat(dir_ / "run/flat.sock"), deep(dir_ / "run/deep/deep.sock");
  EXPECT_EQ(ListPlugins(Sys::Real(), Paths()), (std::vector<std::string>{"a", "b", "c", "deep", "flat"}));
}

TEST_F(DiscoveryTest, AFileThatCannotBeReadSaysWhy) {
  if (!WhyNoCallFaults().empty()) GTEST_SKIP() << WhyNoCallFaults();
  std::string path = dir_.Write("etc/a_b.spec", "unix:///srv/p.sock");
  struct Case {
    long call;
    const char* message;
  };
  for (const Case& c :
       {Case{SYS_openat, "cannot open plugin file "}, Case{SYS_read, "cannot read plugin file "}}) {
    std::string message;
    EXPECT_TRUE(WithCallFaults({{{c.call}, EIO, 1}}, [&] {
      message = DiscoverPlugin(Sys::Real(), Paths(), "a_b").status().message();
    }));
    EXPECT_EQ(c.message + path + ": Input/output error", message);
  }
  EXPECT_EQ(
      FailEachCall(
          {SYS_read}, EINTR,
          [&] { EXPECT_EQ("unix:///srv/p.sock", DiscoverPlugin(Sys::Real(), Paths(), "a_b")->ToString()); }),
      2);
  // What is there, and cannot be looked at: nothing else is taken in its place.
  int told = 0;
  FailEachCall({SYS_newfstatat}, EIO, [&] {
    auto found = DiscoverPlugin(Sys::Real(), Paths(), "a_b");
    if (!found.ok())
      told += found.status().message().find(path.substr(0, path.rfind('.'))) != std::string::npos;
  });
  EXPECT_GE(told, 1);
}

TEST_F(DiscoveryTest, WhatOthersCouldHaveWrittenIsRefused) {
  dir_.Write("run/deep/x", "");
  ScriptedServer plain(dir_ / "run/plain.sock"), deep(dir_ / "run/deep/deep.sock");
  const std::string spec = dir_.Write("etc/s.spec", "unix:///srv/p.sock"),
                    json = dir_.Write("etc/j.json", R"({"Addr": "unix:///srv/p.sock"})");
  const std::string run = dir_ / "run", etc = dir_ / "etc";
  auto refused = [&](const char* name, const std::string& what) {
    auto found = DiscoverPlugin(Sys::Real(), Paths(), name);
    ASSERT_FALSE(found.ok()) << name;
    EXPECT_EQ(found.status().code(), Code::kRefused) << name;
    EXPECT_NE(found.status().message().find(what + " can be written by others"), std::string::npos)
        << found.status().message();
    EXPECT_EQ(found.status().path(), what);
    EXPECT_FALSE(found.status().hint().empty());
  };
  auto all = [&] {
    for (const char* name : {"plain", "deep", "s", "j"})
      EXPECT_TRUE(DiscoverPlugin(Sys::Real(), Paths(), name).ok()) << name;
  };
  all();
  for (mode_t mode : {0777, 0775, 01777}) {
    ASSERT_EQ(::chmod(run.c_str(), mode), 0);
    refused("plain", run);
    ASSERT_EQ(::chmod(run.c_str(), 0755), 0);
    ASSERT_EQ(::chmod((run + "/deep").c_str(), mode), 0);
    refused("deep", run + "/deep");
    ASSERT_EQ(::chmod((run + "/deep").c_str(), 0755), 0);
    ASSERT_EQ(::chmod(etc.c_str(), mode), 0);
    refused("s", etc), refused("j", etc);
    ASSERT_EQ(::chmod(etc.c_str(), 0755), 0);
  }
  for (const std::string& file : {spec, json}) {
    ASSERT_EQ(::chmod(file.c_str(), 0664), 0);
    refused(file == spec ? "s" : "j", file);
    ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  }
  all();
  if (::geteuid() != 0) return;
  ASSERT_EQ(::chown(run.c_str(), 1234, 0), 0);
  auto found = DiscoverPlugin(Sys::Real(), Paths(), "plain");
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.status().message().find("belongs to user 1234"), std::string::npos);
  ASSERT_EQ(::chown(run.c_str(), 0, 0), 0);
  all();
}

// What an editor puts there cannot be seen in a message about the address.
TEST_F(DiscoveryTest, AFileMayBeginWithAByteOrderMark) {
  dir_.Write("etc/s.spec", "\xEF\xBB\xBFunix:///srv/p.sock");
  dir_.Write("etc/j.json", "\xEF\xBB\xBF{\"Addr\": \"unix:///srv/p.sock\"}");
  for (const char* name : {"s", "j"}) {
    auto found = DiscoverPlugin(Sys::Real(), Paths(), name);
    ASSERT_TRUE(found.ok()) << found.status().message();
    EXPECT_EQ(found->path, "/srv/p.sock") << name;
  }
}

// Who can write to the listed folder can rename the plugin's own one away, whoever's that is.
TEST_F(DiscoveryTest, APluginsOwnFolderIsOnlyAsGoodAsTheListedOne) {
  dir_.Write("run/deep/x", "");
  ScriptedServer deep(dir_ / "run/deep/deep.sock");
  dir_.Write("etc/s/s.spec", "unix:///srv/p.sock");
  dir_.Write("etc/j/j.json", R"({"Addr": "unix:///srv/p.sock"})");
  struct Case {
    std::string name, listed;
  };
  const Case cases[] = {{"deep", dir_ / "run"}, {"s", dir_ / "etc"}, {"j", dir_ / "etc"}};
  auto all = [&] {
    for (const Case& c : cases) EXPECT_TRUE(DiscoverPlugin(Sys::Real(), Paths(), c.name).ok()) << c.name;
  };
  auto refused = [&](const Case& c, const std::string& path, const std::string& why) {
    const Status s = DiscoverPlugin(Sys::Real(), Paths(), c.name).status();
    EXPECT_EQ(s.code(), Code::kRefused) << c.name;
    EXPECT_EQ(s.path(), path);
    EXPECT_NE(s.message().find("the folder of plugins " + path + why), std::string::npos) << s.message();
    EXPECT_FALSE(s.hint().empty());
  };
  all();
  for (mode_t mode : {0777, 0775, 01777})
    for (const Case& c : cases) {
      ASSERT_EQ(::chmod(c.listed.c_str(), mode), 0);
      refused(c, c.listed, " can be written by others");
      ASSERT_EQ(::chmod(c.listed.c_str(), 0755), 0);
    }
  if (::geteuid() == 0)
    for (const Case& c : cases) {
      ASSERT_EQ(::chown(c.listed.c_str(), 1234, 0), 0);
      refused(c, c.listed, " belongs to user 1234");
      ASSERT_EQ(::chown(c.listed.c_str(), 0, 0), 0);
    }
  all();
  for (const Case& c : cases) {
    const std::string own = c.listed + "/" + c.name, elsewhere = c.listed + "/." + c.name;
    ASSERT_EQ(::rename(own.c_str(), elsewhere.c_str()), 0);
    ASSERT_EQ(::symlink(elsewhere.c_str(), own.c_str()), 0);
    refused(c, own, " is a symbolic link");
    ASSERT_EQ(::unlink(own.c_str()), 0);
    ASSERT_EQ(::rename(elsewhere.c_str(), own.c_str()), 0);
  }
  all();
}

// /run is a link on some systems: what is above a listed folder, and that one itself, is the operator's.
TEST_F(DiscoveryTest, AListedFolderMayBeALink) {
  dir_.Write("there/deep/x", "");
  ASSERT_EQ(::symlink("there", (dir_ / "run").c_str()), 0);
  ScriptedServer deep(dir_ / "there/deep/deep.sock");
  EXPECT_TRUE(DiscoverPlugin(Sys::Real(), Paths(), "deep").ok());
  ASSERT_EQ(::chmod((dir_ / "there").c_str(), 0777), 0);
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), "deep").status().code(), Code::kRefused);
}

// The socket of a managed plugin of Docker lies in a folder of its ID: a .spec file leads there.
TEST_F(DiscoveryTest, AManagedPluginsSocketIsReachedThroughASpec) {
  const std::string id(32, 'a');
  dir_.Write("run/" + id + "/x", "");
  ScriptedServer managed(dir_ / ("run/" + id + "/nfs.sock"));
  dir_.Write("etc/nfs.spec", "unix://" + (dir_ / ("run/" + id + "/nfs.sock")));
  EXPECT_EQ(DiscoverPlugin(Sys::Real(), Paths(), "nfs")->ToString(),
            "unix://" + dir_.path() + "/run/" + id + "/nfs.sock");
}

}  // namespace
}  // namespace dvdi
