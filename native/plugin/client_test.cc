#include "plugin/client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/json.h"
#include "base/text.h"
#include "plugin/scripted_server.h"

namespace dvdi {
namespace {

using Kind = Answer::Kind;

class ShiftedClock : public Clock {
 public:
  int64_t MonotonicMs() override { return Clock::Real()->MonotonicMs() + shift_ms; }
  int64_t MonotonicNs() override { return Clock::Real()->MonotonicNs() + shift_ms * 1'000'000; }
  int64_t WallMs() override { return Clock::Real()->WallMs(); }
  std::atomic<int64_t> shift_ms{0};
};

class ClientTest : public ::testing::Test {
 protected:
  Env World() {
    Env env = RealEnv();
    env.clock = &clock_;
    return env;
  }
  Call Make(Method method, const std::string& volume = "v") {
    Call call;
    call.driver = "p";
    call.method = method;
    call.volume = volume;
    if (method == Method::kMount || method == Method::kUnmount) call.id = "id-1";
    call.deadline_ms = Clock::Real()->MonotonicMs() + 60'000 + clock_.shift_ms;
    return call;
  }
  // What the client makes of one answer to one method.
  Answer Played(Method method, const Turn& turn) {
    server_.SetHandler([turn](const SeenRequest&) { return turn; });
    return client_.RunOne(Make(method));
  }
  Answer Played(Method method, const std::string& body, int status = 200) {
    // What a plugin said of itself before is not to be known any more.
    if (method == Method::kActivate || method == Method::kCapabilities) clock_.shift_ms += 60'000;
    return Played(method, Turn::Json(body, status));
  }

  ScopedDir dir_;
  ShiftedClock clock_;
  ScriptedServer server_{dir_ / "p.sock"};
  PluginClient client_{
      World(), {.sockets = {dir_.path()}, .specs = {}}, {.failures = 3, .open_ms = 1'000'000}, 10'000};
};

TEST_F(ClientTest, SendsWhatPluginsExpect) {
  server_.SetHandler([](const SeenRequest&) { return Turn::Json("{}"); });
  Call create = Make(Method::kCreate);
  create.options = {{"size", "1"}, {"quote", "\"\n"}};
  Call mount = Make(Method::kMount);
  mount.options = {{"size", "2"}};
  for (const Call& call : {Make(Method::kActivate), Make(Method::kCapabilities), Make(Method::kGet),
                           Make(Method::kList), Make(Method::kPath), create, Make(Method::kCreate),
                           Make(Method::kMount), mount, Make(Method::kUnmount), Make(Method::kRemove)})
    client_.RunOne(call);
  std::vector<std::string> sent;
  for (const auto& r : server_.requests()) sent.push_back(r.path + " " + r.body);
  EXPECT_EQ(
      sent,
      (std::vector<std::string>{
          "/Plugin.Activate {}\n", "/VolumeDriver.Capabilities {}\n", "/VolumeDriver.Get {\"Name\":\"v\"}\n",
          "/VolumeDriver.List {}\n", "/VolumeDriver.Path {\"Name\":\"v\"}\n",
          "/VolumeDriver.Create {\"Name\":\"v\",\"Opts\":{\"quote\":\"\\\"\\n\",\"size\":\"1\"}}\n",
          "/VolumeDriver.Create {\"Name\":\"v\",\"Opts\":{}}\n",
          "/VolumeDriver.Mount {\"ID\":\"id-1\",\"Name\":\"v\"}\n",
          "/VolumeDriver.Mount {\"ID\":\"id-1\",\"Name\":\"v\",\"Opts\":{\"size\":\"2\"}}\n",
          "/VolumeDriver.Unmount {\"ID\":\"id-1\",\"Name\":\"v\"}\n",
          "/VolumeDriver.Remove {\"Name\":\"v\"}\n"}));
}

TEST_F(ClientTest, ContentTypeMeansNothing) {
  for (const char* type :
       {"application/vnd.docker.plugins.v1.1+json", "application/json", "text/plain", "text/html"}) {
    Answer a = Played(Method::kMount, Turn::Typed(R"({"Mountpoint": "/m"})", type));
    EXPECT_EQ(a.kind, Kind::kOk) << type;
    EXPECT_EQ(a.mountpoint, "/m");
  }
}

TEST_F(ClientTest, FramingMeansNothing) {
  const std::string body = "\t{ \"Mountpoint\" :\n\t\"/m\" }\n\n";
  for (Turn turn : {Turn::Json(body), Turn::Chunked(body, 3), Turn::UntilClose(body)})
    EXPECT_EQ(Played(Method::kMount, turn).mountpoint, "/m");
}

TEST_F(ClientTest, ErrCountsAtAnyStatus) {
  for (int status : {200, 201, 400, 404, 500, 503}) {
    Answer a = Played(Method::kGet, R"({"Volume": {"Name": "v"}, "Err": "no such volume"})", status);
    EXPECT_EQ(a.kind, Kind::kError) << status;
    EXPECT_EQ(a.error, "no such volume");
    EXPECT_EQ(a.http_status, status);
    EXPECT_TRUE(a.sent);
  }
  EXPECT_EQ(Played(Method::kUnmount, R"({"err": "x"})").kind, Kind::kError) << "names without case";
  EXPECT_EQ(Played(Method::kUnmount, R"({"ERR": "", "Err": "x"})").kind, Kind::kError);
}

TEST_F(ClientTest, ErrIsMadeOneHarmlessLine) {
  Answer a = Played(Method::kMount, R"({"Err": "\u001b[31mboom\n\tat  line 1\r\n\u0000"})", 500);
  EXPECT_EQ(a.kind, Kind::kError);
  EXPECT_EQ(a.error, "?[31mboom at line 1 ?");
  EXPECT_EQ(Played(Method::kMount, R"({"Err": "\n"})").kind, Kind::kError);
  EXPECT_FALSE(Played(Method::kMount, R"({"Err": "\n"})").error.empty());
}

// Promise 11 stands on this: what is no JSON says nothing about the volume.
TEST_F(ClientTest, ErrorsWithoutJsonAreUnknown) {
  for (const char* body : {"<html><body>500</body></html>", "404 page not found\n", "", "no such volume",
                           "{\"Err\": \"x\"", "{} {}", "{\"Err\": \"\xff\"}", "{'Err': 'x'}"}) {
    for (int status : {200, 404, 500}) {
      for (Method method : {Method::kGet, Method::kList, Method::kCreate, Method::kMount}) {
        Answer a = Played(method, body, status);
        EXPECT_EQ(a.kind, Kind::kUnknown) << body;
        EXPECT_EQ(a.reason, "not-json") << body;
        EXPECT_TRUE(a.sent);
        EXPECT_EQ(a.error.find('\n'), std::string::npos);
      }
    }
  }
}

TEST_F(ClientTest, JsonThatIsNotTheProtocolsIsUnknown) {
  for (const char* body :
       {"7", "\"text\"", "true", R"({"Err": 7})", R"({"Err": {"m": "x"}})", R"({"Err": false})"})
    EXPECT_EQ(Played(Method::kGet, body).reason, "malformed") << body;
  for (const char* body : {"{}", R"({"message": "page not found"})", "null", R"({"Err": ""})"})
    EXPECT_EQ(Played(Method::kGet, body, 404).reason, "malformed") << body;
  EXPECT_EQ(Played(Method::kGet, "[]").reason, "malformed");
  EXPECT_EQ(Played(Method::kGet, R"({"Volume": "v"})").reason, "malformed");
  std::string deep = std::string(1000, '[') + std::string(1000, ']');
  EXPECT_EQ(Played(Method::kGet, deep).kind, Kind::kUnknown);
}

TEST_F(ClientTest, Success) {
  for (Method method : {Method::kCreate, Method::kUnmount, Method::kRemove})
    for (const char* body :
         {"{}", R"({"Err":""})", "null", R"({"Err": null})",
          R"({"Mountpoint":"","Err":"","Volume":null,"Volumes":null,"Capabilities":{"Scope":""}})"})
      EXPECT_EQ(Played(method, body).kind, Kind::kOk) << body;
}

TEST_F(ClientTest, Get) {
  Answer a =
      Played(Method::kGet, R"({"Volume":{"Name":"v","Mountpoint":"/m","CreatedAt":"2024-01-01T00:00:00Z",
                                     "Status":{"a":{"b":[1]}}},"Err":""})");
  EXPECT_EQ(a.kind, Kind::kOk);
  EXPECT_EQ(a.mountpoint, "/m");
  EXPECT_EQ(a.created_at, "2024-01-01T00:00:00Z");
  EXPECT_EQ(a.status_json, R"({"a":{"b":[1]}})");
  for (const char* body :
       {R"({"Volume":{"Name":"v"}})", R"({"Volume":{"Name":"v","Mountpoint":"","Status":null}})",
        R"({"Volume":{"Name":"v","Mountpoint":null}})", R"({"Volume":{"Name":"v","Mountpoint":"none"}})",
        R"({"Name":"v","Mountpoint":""})"}) {
    a = Played(Method::kGet, body);
    EXPECT_EQ(a.kind, Kind::kOk) << body;
    EXPECT_EQ(a.mountpoint, "") << body;
    EXPECT_EQ(a.status_json, "");
  }
  EXPECT_EQ(Played(Method::kGet, R"({"volume":{"name":"v","MountPoint":"/m"}})").mountpoint, "/m");
  EXPECT_EQ(Played(Method::kGet, R"({"Volume":{"Name":"v","MountPoint":"","Mountpoint":"/m"}})").mountpoint,
            "/m");
}

TEST_F(ClientTest, GetThatKnowsNothing) {
  for (const char* body :
       {"{}", "null", R"({"Err":""})", R"({"Volume":null})", R"({"Volume":{}})",
        R"({"Volume":{"Name":"","Mountpoint":"","Status":null},"Mountpoint":"","Err":""})"}) {
    Answer a = Played(Method::kGet, body);
    EXPECT_EQ(a.kind, Kind::kError) << body;
    EXPECT_FALSE(a.error.empty());
  }
}

TEST_F(ClientTest, List) {
  for (const char* body : {"null", "{}", "[]", R"({"Volumes":null})", R"({"Volumes":[]})", R"({"Err":""})"}) {
    Answer a = Played(Method::kList, body);
    EXPECT_EQ(a.kind, Kind::kOk) << body;
    EXPECT_TRUE(a.volumes.empty());
  }
  Answer a = Played(Method::kList, R"({"volumes":[{"Name":"a"},null,{"name":"b","MountPoint":"/b"},"c"]})");
  ASSERT_EQ(a.volumes.size(), 3u);
  EXPECT_EQ(a.volumes[0].name, "a");
  EXPECT_EQ(a.volumes[0].mountpoint, "");
  EXPECT_EQ(a.volumes[1].name, "b");
  EXPECT_EQ(a.volumes[1].mountpoint, "/b");
  EXPECT_EQ(a.volumes[2].name, "c");
  // What cannot be read could be the very volume that somebody is about to create.
  for (const char* body : {R"({"Volumes":{}})", R"({"Volumes":"a"})", R"({"Volumes":[{"Mountpoint":"/m"}]})",
                           R"({"Volumes":[7]})", R"({"Volumes":[{"Name":7}]})"})
    EXPECT_EQ(Played(Method::kList, body).reason, "malformed") << body;
}

TEST_F(ClientTest, Mount) {
  EXPECT_EQ(Played(Method::kMount, R"({"Mountpoint":"/m","Err":""})").mountpoint, "/m");
  EXPECT_EQ(Played(Method::kMount, R"({"MountPoint":"/m"})").mountpoint, "/m");
  for (const char* body : {"{}", "null", R"({"Mountpoint":""})", R"({"Mountpoint":null,"Err":""})"}) {
    Answer a = Played(Method::kMount, body);
    EXPECT_EQ(a.kind, Kind::kError) << body;
    EXPECT_NE(a.error.find("without a mountpoint"), std::string::npos);
  }
  for (const char* body : {R"({"Mountpoint":"m"})", R"({"Mountpoint":7})", R"({"Mountpoint":"/a\u0000b"})"})
    EXPECT_EQ(Played(Method::kMount, body).reason, "malformed") << body;
  EXPECT_EQ(Played(Method::kMount, "{\"Mountpoint\":\"/" + std::string(5000, 'x') + "\"}").reason,
            "malformed");
}

TEST_F(ClientTest, PathMayBeEmpty) {
  EXPECT_EQ(Played(Method::kPath, R"({"Mountpoint":"/m"})").mountpoint, "/m");
  Answer a = Played(Method::kPath, R"({"Err":""})");
  EXPECT_EQ(a.kind, Kind::kOk);
  EXPECT_EQ(a.mountpoint, "");
}

TEST_F(ClientTest, Activate) {
  Answer a = Played(Method::kActivate, R"({"Implements":["VolumeDriver","NetworkDriver",7]})");
  EXPECT_EQ(a.implements, (std::vector<std::string>{"VolumeDriver", "NetworkDriver"}));
  EXPECT_TRUE(Played(Method::kActivate, "{}").implements.empty());
  EXPECT_EQ(Played(Method::kActivate, R"({"Implements":"VolumeDriver"})").reason, "malformed");
}

TEST_F(ClientTest, Capabilities) {
  EXPECT_EQ(Played(Method::kCapabilities, R"({"Capabilities":{"Scope":"GLOBAL"}})").scope, "global");
  for (const char* body : {"{}", R"({"Capabilities":null})", R"({"Capabilities":{"Scope":"x"}})"})
    EXPECT_EQ(Played(Method::kCapabilities, body).scope, "local") << body;
  EXPECT_TRUE(
      Played(Method::kCapabilities, R"({"Capabilities":{"Scope":"global","MountOpts":true}})").mount_opts);
  for (const char* body :
       {"{}", R"({"Capabilities":{"MountOpts":"true"}})", R"({"Capabilities":{"MountOpts":null}})"})
    EXPECT_FALSE(Played(Method::kCapabilities, body).mount_opts) << body;
  Answer old = Played(Method::kCapabilities, "404 page not found\n", 404);
  EXPECT_EQ(old.kind, Kind::kOk) << "older than the method";
  EXPECT_EQ(old.scope, "local");
  EXPECT_EQ(Played(Method::kCapabilities, "oops", 500).kind, Kind::kUnknown);
}

TEST_F(ClientTest, WhatAPluginSaysOfItselfIsAskedOnceForASocket) {
  server_.Set("/Plugin.Activate", Turn::Json(R"({"Implements":["VolumeDriver"]})"));
  server_.Set("/VolumeDriver.Capabilities", Turn::Json(R"({"Capabilities":{"Scope":"global"}})"));
  auto ask = [&] {
    Answer a = client_.RunOne(Make(Method::kActivate)), c = client_.RunOne(Make(Method::kCapabilities));
    return a.implements == std::vector<std::string>{"VolumeDriver"} && c.scope == "global";
  };
  EXPECT_TRUE(ask());
  EXPECT_TRUE(ask());
  EXPECT_EQ(server_.requests().size(), 2u);
  server_.Stop();
  server_.Start();  // another file: the plugin was restarted
  EXPECT_TRUE(ask());
  EXPECT_EQ(server_.requests().size(), 4u);
  clock_.shift_ms += 60'000;
  EXPECT_TRUE(ask());
  EXPECT_EQ(server_.requests().size(), 6u);
}

TEST_F(ClientTest, NoAnswerOfAPluginAboutItselfIsAskedForAgain) {
  server_.Push("/VolumeDriver.Capabilities", Turn::Json("oops", 500));
  server_.Set("/VolumeDriver.Capabilities", Turn::Json(R"({"Capabilities":{"Scope":"global"}})"));
  EXPECT_EQ(client_.RunOne(Make(Method::kCapabilities)).kind, Kind::kUnknown);
  EXPECT_EQ(client_.RunOne(Make(Method::kCapabilities)).scope, "global");
}

TEST_F(ClientTest, TransportFailures) {
  Answer a = Played(Method::kMount, Turn::Raw(""));
  EXPECT_EQ(a.kind, Kind::kUnknown);
  EXPECT_EQ(a.reason, "lost");
  EXPECT_TRUE(a.sent);
  EXPECT_NE(a.error.find("driver p: Mount of volume v at unix://"), std::string::npos) << a.error;
  EXPECT_EQ(Played(Method::kMount, Turn::Raw("nonsense\r\n\r\n")).reason, "malformed");
  a = Played(Method::kList, std::string(10'001, ' '));
  EXPECT_EQ(a.reason, "too-large");

  server_.SetHandler([](const SeenRequest&) { return Turn::Hold(); });
  Call call = Make(Method::kMount);
  call.deadline_ms = clock_.MonotonicMs() + 40;
  a = client_.RunOne(call);
  EXPECT_EQ(a.reason, "timeout");
}

TEST_F(ClientTest, PluginThatIsNotThere) {
  Call call = Make(Method::kGet);
  call.driver = "missing";
  Answer a = client_.RunOne(call);
  EXPECT_EQ(a.kind, Kind::kUnknown);
  EXPECT_EQ(a.reason, "not-found");
  EXPECT_FALSE(a.sent);
  call.driver = "../p";
  EXPECT_EQ(client_.RunOne(call).reason, "invalid");
  // It may come up after us.
  ScriptedServer late(dir_ / "missing.sock");
  late.Set("/VolumeDriver.Get", Turn::Json(R"({"Volume":{"Name":"v"}})"));
  call.driver = "missing";
  EXPECT_EQ(client_.RunOne(call).kind, Kind::kOk);
}

TEST_F(ClientTest, WrongCallsAreNotSent) {
  std::vector<Call> calls = {Make(Method::kGet, ""), Make(Method::kGet, "a\nb"), Make(Method::kGet, "\xff"),
                             Make(Method::kMount),   Make(Method::kCreate),      Make(Method::kCreate)};
  calls[3].id = "";
  calls[4].options = {{"", "x"}};
  calls[5].options = {{"password", "secret\xff"}};
  for (const Answer& a : client_.Run(calls)) {
    EXPECT_EQ(a.kind, Kind::kUnknown);
    EXPECT_EQ(a.reason, "invalid");
    EXPECT_FALSE(a.sent);
    EXPECT_EQ(a.error.find("secret"), std::string::npos);
  }
  EXPECT_EQ(server_.connections(), 0);
}

TEST_F(ClientTest, AnswersStandInTheOrderOfTheCalls) {
  server_.SetHandler([](const SeenRequest& r) {
    auto body = ParseJson(r.body, "request");
    return Turn::Json("{\"Mountpoint\":\"/m/" + GetString(*body, "Name") + "\"}");
  });
  std::vector<Call> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(Make(Method::kMount, "v" + std::to_string(i)));
  calls[4].volume = "";
  auto answers = client_.Run(calls);
  ASSERT_EQ(answers.size(), calls.size());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(answers[i].mountpoint, i == 4 ? "" : "/m/v" + std::to_string(i));
  EXPECT_TRUE(client_.Run({}).empty());
}

TEST_F(ClientTest, BreakerOpensAndLetsAProbeThrough) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Played(Method::kGet, Turn::Raw("")).reason, "lost");
  EXPECT_EQ(client_.Breakers(), (std::map<std::string, std::string>{{"p", "open"}}));
  size_t sent = server_.requests().size();
  EXPECT_EQ(Played(Method::kGet, "{}").reason, "breaker-open");
  EXPECT_FALSE(client_.RunOne(Make(Method::kActivate)).sent);
  EXPECT_EQ(server_.requests().size(), sent);
  // Unmount always goes (promise 6); its failure does not keep the breaker open for longer.
  EXPECT_EQ(Played(Method::kUnmount, Turn::Raw("")).reason, "lost");
  EXPECT_EQ(server_.requests().size(), sent + 1);

  clock_.shift_ms += 1'000'000;
  EXPECT_EQ(client_.Breakers()["p"], "half-open");
  EXPECT_EQ(Played(Method::kGet, Turn::Raw("")).reason, "lost");  // the probe
  EXPECT_EQ(client_.Breakers()["p"], "open");
  EXPECT_EQ(Played(Method::kGet, "{}").reason, "breaker-open");

  clock_.shift_ms += 1'000'000;
  server_.SetHandler([](const SeenRequest&) { return Turn::Json("{}"); });
  auto answers = client_.Run({Make(Method::kList), Make(Method::kList)});
  EXPECT_EQ(answers[0].kind, Kind::kOk);
  EXPECT_EQ(answers[1].reason, "breaker-open") << "one probe at a time";
  EXPECT_EQ(client_.Breakers()["p"], "closed");
  EXPECT_EQ(client_.RunOne(Make(Method::kList)).kind, Kind::kOk);
}

TEST_F(ClientTest, UnmountThatIsAnsweredClosesTheBreaker) {
  for (int i = 0; i < 3; ++i) Played(Method::kGet, Turn::Raw(""));
  EXPECT_EQ(Played(Method::kUnmount, "{}").kind, Kind::kOk);
  EXPECT_EQ(client_.Breakers()["p"], "closed");
}

TEST_F(ClientTest, AnswersAreNoFailuresOfTheBreakersKind) {
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Played(Method::kGet, R"({"Err":"x"})", 500).kind, Kind::kError);
    EXPECT_EQ(Played(Method::kGet, "<html>", 502).reason, "not-json");
    EXPECT_EQ(Played(Method::kList, std::string(10'001, ' ')).reason, "too-large");
    Call late = Make(Method::kGet);
    late.deadline_ms = 0;
    EXPECT_EQ(client_.RunOne(late).reason, "timeout");
  }
  EXPECT_EQ(client_.Breakers()["p"], "closed");
  // In a row means in a row.
  for (int i = 0; i < 4; ++i) {
    Played(Method::kGet, Turn::Raw(""));
    Played(Method::kGet, Turn::Raw(""));
    Played(Method::kGet, "{}");
  }
  EXPECT_EQ(client_.Breakers()["p"], "closed");
}

TEST_F(ClientTest, OneRunIsOneObservation) {
  server_.SetHandler([](const SeenRequest&) { return Turn::Raw(""); });
  client_.Run(std::vector<Call>(10, Make(Method::kGet)));
  EXPECT_EQ(client_.Breakers()["p"], "closed");
}

TEST_F(ClientTest, BreakersAreApart) {
  for (int i = 0; i < 3; ++i) Played(Method::kGet, Turn::Raw(""));
  ScriptedServer other(dir_ / "q.sock");
  other.Set("/VolumeDriver.List", Turn::Json("{}"));
  Call call = Make(Method::kList);
  call.driver = "q";
  auto answers = client_.Run({Make(Method::kList), call});
  EXPECT_EQ(answers[0].reason, "breaker-open");
  EXPECT_EQ(answers[1].kind, Kind::kOk);
}

TEST_F(ClientTest, ManyThreads) {
  std::atomic<int> n{0};
  server_.SetHandler([&](const SeenRequest&) { return ++n % 3 == 0 ? Turn::Raw("") : Turn::Json("{}"); });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        client_.Run({Make(Method::kList), Make(Method::kUnmount)});
        client_.Breakers();
        client_.CloseIdle();
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_GT(n, 200);
}

TEST(MethodTest, Names) {
  for (const char* name :
       {"Activate", "Capabilities", "Get", "List", "Path", "Create", "Mount", "Unmount", "Remove"}) {
    Method method;
    ASSERT_TRUE(MethodFromName(name, &method)) << name;
    EXPECT_STREQ(MethodName(method), name);
  }
  Method method;
  EXPECT_FALSE(MethodFromName("get", &method));
  EXPECT_FALSE(MethodFromName("", &method));
}

TEST_F(ClientTest, AnyMemberOfAVolumeSaysThatItIsThere) {
  for (const char* body :
       {R"({"Volume":{"Name":"v"}})", R"({"Volume":{"Mountpoint":"/m"}})", R"({"Volume":{"Status":{"a":1}}})",
        R"({"Volume":{"CreatedAt":"2026-01-01T00:00:00Z"}})", R"({"Err":"","Foo":"x","Name":"v"})"})
    EXPECT_EQ(Played(Method::kGet, body).kind, Kind::kOk) << body;
  for (const char* body : {R"({"Volume":{"Status":{}}})", R"({"Volume":{"Status":"x"}})", R"({"Name":"w"})"})
    EXPECT_EQ(Played(Method::kGet, body).kind, Kind::kError) << body;
}

TEST_F(ClientTest, APluginWithoutCapabilitiesIsLocalHoweverItSaysSo) {
  for (int status : {404, 405, 501}) {
    Answer a = Played(Method::kCapabilities, "", status);
    EXPECT_EQ(a.kind, Kind::kOk) << status;
    EXPECT_EQ(a.scope, "local");
  }
  EXPECT_NE(Played(Method::kCapabilities, "", 500).kind, Kind::kOk);
}

TEST_F(ClientTest, WhatNoPluginCouldReadIsNotSent) {
  const std::string long_text(65 * 1024, 'x');
  for (const std::string& name :
       {std::string(), std::string("a\x7f"), std::string("a\n"), std::string("\xff"), long_text})
    EXPECT_EQ(client_.RunOne(Make(Method::kGet, name)).sent, false) << name.substr(0, 9);
  Call mount = Make(Method::kMount);
  for (const char* id : {"", "a\nb", "\xc3"}) {
    mount.id = id;
    EXPECT_FALSE(client_.RunOne(mount).sent) << id;
  }
  const std::pair<std::string, std::string> kOptions[] = {
      {"", "v"}, {"k\n", "v"}, {"k", "\xff"}, {"k", long_text}, {long_text, "v"}};
  for (const auto& [key, value] : kOptions) {
    Call create = Make(Method::kCreate);
    create.options = {{key, value}};
    Answer a = client_.RunOne(create);
    EXPECT_FALSE(a.sent) << key.substr(0, 9);
    EXPECT_EQ(a.error.find(value.substr(0, 20) + "x"), std::string::npos) << "the value may be a secret";
  }
  EXPECT_TRUE(server_.requests().empty());
}

}  // namespace
}  // namespace dvdi
