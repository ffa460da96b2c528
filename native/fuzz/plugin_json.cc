// What a plugin's answer means, whatever JSON (or none) its body is, and what is sent for names and options
// of any kind.
//
// Input: a choice of method, a choice of status, the volume's name, then the body; the name is "vol" where
// its part is empty.
#include "base/json.h"
#include "fuzz/fuzz.h"
#include "plugin/protocol.h"

namespace dvdi::fuzz {
namespace {

void ExpectUsable(const std::string& path) {
  FUZZ_EXPECT(path.empty() || (path[0] == '/' && path.find('\0') == std::string::npos), "mountpoint " + path);
}

void ExpectJson(const std::string& text, const char* what) {
  FUZZ_EXPECT(text.empty() || ParseJson(text, what, 70).ok(), std::string(what) + " is not JSON: " + text);
}

// What is sent says what was asked for.
void ExpectBody(const Call& call) {
  auto body = ParseJson(CallBody(call), "body");
  FUZZ_EXPECT(body.ok() && body->is_object(), "a body is an object");
  if (body->contains("Name"))
    FUZZ_EXPECT(GetString(*body, "Name") == call.volume, "the name arrives as it is");
  const Json& options = GetMember(*body, "Opts");
  for (const auto& [key, value] : call.options)
    if (call.method == Method::kCreate || call.method == Method::kMount)
      FUZZ_EXPECT(GetString(options, key.c_str()) == value || key.find('\0') != std::string::npos,
                  "an option arrives as it is");
}

}  // namespace
}  // namespace dvdi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dvdi;
  using namespace dvdi::fuzz;
  static constexpr int kStatus[] = {200, 500, 404, 204, 400, 405, 501, 301};
  static constexpr Method kMethods[] = {Method::kGet,      Method::kList,  Method::kCapabilities,
                                        Method::kActivate, Method::kMount, Method::kCreate,
                                        Method::kUnmount,  Method::kPath,  Method::kTiers,
                                        Method::kRemove,   Method::kFence};
  Input input(data, size);
  Call call;
  call.driver = "driver", call.id = "0123";
  call.method = kMethods[input.Choice(std::size(kMethods))];
  PluginReply reply;
  reply.outcome = PluginReply::Outcome::kAnswer, reply.sent = true;
  reply.status = kStatus[input.Choice(std::size(kStatus))];
  call.volume = input.Part();
  if (call.volume.empty()) call.volume = "vol";
  reply.body = input.Rest();
  call.options = {{call.volume, reply.body.substr(0, 64)}, {"size", "5"}};
  if (CheckCall(call).ok()) {
    if (call.method != Method::kMount) ExpectBody(call);
  } else {
    ExpectLine(CheckCall(call).message(), "why a call is not sent");
  }

  const Answer answer = ReadAnswer(call, reply);
  ExpectLine(answer.error, "an answer's error");
  ExpectLine(answer.created_at, "created_at");
  FUZZ_EXPECT((answer.kind == Answer::Kind::kOk) == answer.error.empty(), "an error where it is not ok");
  FUZZ_EXPECT((answer.kind == Answer::Kind::kUnknown) != answer.reason.empty(),
              "a reason where it is unknown");
  ExpectUsable(answer.mountpoint);
  ExpectJson(answer.status_json, "status");
  ExpectJson(answer.body_json, "body");
  for (const auto& volume : answer.volumes) {
    FUZZ_EXPECT(!volume.name.empty(), "a listed volume has a name");
    ExpectUsable(volume.mountpoint);
  }
  for (const auto& interface : answer.implements) ExpectLine(interface, "implements");
  const bool ok = answer.kind == Answer::Kind::kOk;
  FUZZ_EXPECT(!ok || call.method != Method::kMount || !answer.mountpoint.empty(), "Mount names a mountpoint");
  // Promise 11: what is no JSON says nothing, least of all that there is no such volume.
  FUZZ_EXPECT(answer.kind != Answer::Kind::kError || ParseJson(reply.body, "body").ok(),
              "an error of the plugin's own is JSON");
  return 0;
}
