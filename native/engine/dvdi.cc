// dvdi.h over Engine: text in and out, no exception across.
#include "dvdi/dvdi.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/caught.h"
#include "base/json.h"
#include "engine/engine.h"
#include "sys/files.h"

struct dvdi_engine {
  std::shared_ptr<dvdi::Engine> engine;
};

namespace {

using dvdi::Caught;
using dvdi::Code;
using dvdi::Json;
using dvdi::Result;
using dvdi::Status;

char* Copy(const std::string& text) {
  auto out = static_cast<char*>(std::malloc(text.size() + 1));
  if (out != nullptr) std::memcpy(out, text.c_str(), text.size() + 1);
  return out;
}

std::string ErrorText(const Status& s) { return "{\"error\":" + s.ToJson() + "}"; }

dvdi_code Finish(const Status& s, const Json& answer, char** out) {
  if (out != nullptr) *out = Copy(s.ok() ? dvdi::Dump(answer) : ErrorText(s));
  return static_cast<dvdi_code>(s.code());
}

Result<Json> ReadObject(const char* text) {
  if (text == nullptr || *text == '\0') return Json::object();
  auto json = dvdi::ParseJson(text, "the request");
  if (json.ok() && !json->is_object()) return Status(Code::kInvalid, "the request is not an object");
  return json;
}

using Verb = Status (dvdi::Engine::*)(const Json&, dvdi::Engine::Done);

dvdi_code Start(dvdi_engine* handle, const char* request, dvdi_done done, void* user, Verb verb) {
  if (handle == nullptr || done == nullptr) return DVDI_INVALID;
  // Also where the verb throws behind a promise to call it.
  auto called = std::make_shared<std::atomic<bool>>(false);
  Status s = Caught([&]() -> Status {
    auto json = ReadObject(request);
    if (!json.ok()) return json.status();
    return (handle->engine.get()->*verb)(
        *json, [done, user, called](const Status& status, const Json& answer) {
          if (called->exchange(true)) return;
          std::string text = status.ok() ? dvdi::Dump(answer) : ErrorText(status);
          done(user, static_cast<dvdi_code>(status.code()), text.data(), text.size());
        });
  });
  if (s.ok() || called->exchange(true)) return DVDI_OK;
  // Not accepted: the reason still reaches the caller, by the same way.
  std::string text = ErrorText(s);
  done(user, static_cast<dvdi_code>(s.code()), text.data(), text.size());
  return DVDI_OK;
}

using Question = Result<Json> (dvdi::Engine::*)(const Json&);

dvdi_code Ask(dvdi_engine* handle, const char* request, char** answer, Question question) {
  if (handle == nullptr) return DVDI_INVALID;
  Json out;
  Status s = Caught([&]() -> Status {
    auto json = ReadObject(request);
    if (!json.ok()) return json.status();
    auto result = (handle->engine.get()->*question)(*json);
    if (result.ok()) out = std::move(*result);
    return result.status();
  });
  return Finish(s, out, answer);
}

}  // namespace

extern "C" {

const char* dvdi_version(void) { return DVDI_VERSION " (abi 1)"; }

const char* dvdi_code_name(int code) { return dvdi::CodeName(static_cast<Code>(code)); }

void dvdi_free(char* text) { std::free(text); }

dvdi_code dvdi_open(const char* options, dvdi_engine** out, char** error) {
  if (error != nullptr) *error = nullptr;
  if (out == nullptr) return DVDI_INVALID;
  *out = nullptr;
  Status s = Caught([&]() -> Status {
    DVDI_ASSIGN_OR_RETURN(Json json, ReadObject(options));
    std::string config = dvdi::GetString(json, "config");
    dvdi::EngineOptions engine_options;
    DVDI_ASSIGN_OR_RETURN(engine_options.settings,
                          dvdi::LoadSettings(config.empty() ? "/etc/dvdi/config.yaml" : config,
                                             !config.empty(), dvdi::GetMember(json, "settings")));
    engine_options.classic_mounts = dvdi::GetBool(json, "classic_mounts");
    if (!dvdi::GetBool(json, "keeper", true)) engine_options.keeper = dvdi::Keeping::kWaits;
    DVDI_ASSIGN_OR_RETURN(auto engine, dvdi::Engine::Open(dvdi::RealEnv(), std::move(engine_options)));
    *out = new dvdi_engine{std::move(engine)};
    return Status();
  });
  // Whatever of ours it was that could not be opened, from the settings to the ledger.
  if (!s.ok()) s = dvdi::NeedsRoot(std::move(s));
  if (!s.ok() && error != nullptr) *error = Copy(ErrorText(s));
  return static_cast<dvdi_code>(s.code());
}

dvdi_code dvdi_prepare(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Start(engine, request, done, user, &dvdi::Engine::Prepare);
}

dvdi_code dvdi_cleanup(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Start(engine, request, done, user, &dvdi::Engine::Cleanup);
}

dvdi_code dvdi_recover(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Start(engine, request, done, user, &dvdi::Engine::Recover);
}

dvdi_code dvdi_remove(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Start(engine, request, done, user, &dvdi::Engine::Remove);
}

dvdi_code dvdi_fence(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Start(engine, request, done, user, &dvdi::Engine::Fence);
}

dvdi_code dvdi_status(dvdi_engine* engine, const char* query, char** answer) {
  return Ask(engine, query, answer, &dvdi::Engine::StatusOf);
}

dvdi_code dvdi_ask(dvdi_engine* engine, const char* query, dvdi_done done, void* user) {
  return Start(engine, query, done, user, &dvdi::Engine::Ask);
}

dvdi_code dvdi_explain(dvdi_engine* engine, const char* query, char** answer) {
  return Ask(engine, query, answer, &dvdi::Engine::Explain);
}

dvdi_code dvdi_forget(dvdi_engine* engine, const char* request, char** answer) {
  return Ask(engine, request, answer, &dvdi::Engine::Forget);
}

dvdi_code dvdi_policy(dvdi_engine* engine, const char* request, char** answer) {
  return Ask(engine, request, answer, &dvdi::Engine::Policy);
}

void dvdi_close(dvdi_engine* engine, int wait_ms) {
  if (engine == nullptr) return;
  engine->engine->Close(wait_ms);
  delete engine;
}

}  // extern "C"
