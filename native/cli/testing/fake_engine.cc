// dvdi.h answered from a script, so that tests see what the command asks for and what it makes of an
// answer. DVDI_FAKE_SCRIPT names a JSON file:
//   {CALL: {"code": n, "answer": {…}, "began": FILE, "hold": FIFO}, "status": {WHAT: the same},
//    "explain_after": {SEQ: the same}, …}
// where CALL is open, prepare, cleanup, recover, remove, fence, status, explain, forget, policy, and
// what is left out is OK with {}. FILE is made when the call begins; the answer waits for an end of FIFO's
// writer. Every call is a line of DVDI_FAKE_LOG: {"call", "request", …}.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "dvdi/dvdi.h"

using dvdi::Json;

struct dvdi_engine {
  Json script;
  std::mutex mutex;
  std::vector<std::thread> threads;
};

namespace {

void Log(Json line) {
  const char* path = ::getenv("DVDI_FAKE_LOG");
  if (path == nullptr) return;
  dvdi::UniqueFd file(::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::string text = dvdi::Dump(line) + "\n";
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::abort();
}

Json ParseOrNull(const char* text) {
  auto parsed = dvdi::ParseJson(text == nullptr ? "" : text, "a request");
  return parsed.ok() ? *parsed : Json();
}

Json Script() {
  const char* path = ::getenv("DVDI_FAKE_SCRIPT");
  if (path == nullptr) return Json::object();
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return ParseOrNull(text.str().c_str());
}

void PlayTiming(const Json& entry) {
  std::string began = dvdi::GetString(entry, "began"), hold = dvdi::GetString(entry, "hold");
  if (!began.empty()) dvdi::UniqueFd(::open(began.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (hold.empty()) return;
  dvdi::UniqueFd fifo(::open(hold.c_str(), O_RDONLY | O_CLOEXEC));
  char byte;
  while (::read(fifo.get(), &byte, 1) > 0) {
  }
}

dvdi_code CodeOf(const Json& entry) { return static_cast<dvdi_code>(dvdi::GetInt(entry, "code")); }

std::string AnswerOf(const Json& entry) {
  const Json& answer = dvdi::GetMember(entry, "answer");
  return dvdi::Dump(answer.is_null() ? Json::object() : answer);
}

uint64_t NamespaceOf(pid_t pid) {
  struct stat st;
  std::string path = "/proc/" + (pid > 0 ? std::to_string(pid) : "self") + "/ns/mnt";
  return ::stat(path.c_str(), &st) == 0 ? st.st_ino : 0;
}

dvdi_code Async(dvdi_engine* engine, const char* call, const char* request, dvdi_done done, void* user) {
  Json asked = ParseOrNull(request);
  Json line = {{"call", call}, {"request", asked}};
  if (int64_t pid = dvdi::GetInt(dvdi::GetMember(asked, "process"), "pid"); pid > 0) {
    uint64_t theirs = NamespaceOf(static_cast<pid_t>(pid));
    line["own_namespace"] = theirs != 0 && theirs != NamespaceOf(0);
  }
  Log(line);
  Json entry = dvdi::GetMember(engine->script, call);
  if (dvdi::GetBool(entry, "not_accepted")) return CodeOf(entry);
  std::lock_guard<std::mutex> lock(engine->mutex);
  engine->threads.emplace_back([entry, done, user] {
    PlayTiming(entry);
    std::string answer = AnswerOf(entry);
    done(user, CodeOf(entry), answer.data(), answer.size());
  });
  return DVDI_OK;
}

dvdi_code Sync(const Json& entry, const char* call, const char* request, char** answer) {
  Log({{"call", call}, {"request", ParseOrNull(request)}});
  *answer = ::strdup(AnswerOf(entry).c_str());
  return CodeOf(entry);
}

}  // namespace

extern "C" {

const char* dvdi_version(void) { return "9.8.7 (abi 1)"; }

const char* dvdi_code_name(int code) { return dvdi::CodeName(static_cast<dvdi::Code>(code)); }

void dvdi_free(char* text) { ::free(text); }

dvdi_code dvdi_open(const char* options, dvdi_engine** out, char** error) {
  Json script = Script();
  const Json& entry = dvdi::GetMember(script, "open");
  *out = nullptr;
  char* answer = nullptr;
  dvdi_code code = Sync(entry, "open", options, &answer);
  if (code != DVDI_OK && error != nullptr)
    *error = answer;
  else
    ::free(answer);
  if (code == DVDI_OK) *out = new dvdi_engine{std::move(script), {}, {}};
  return code;
}

dvdi_code dvdi_prepare(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Async(engine, "prepare", request, done, user);
}
dvdi_code dvdi_cleanup(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Async(engine, "cleanup", request, done, user);
}
dvdi_code dvdi_recover(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Async(engine, "recover", request, done, user);
}

dvdi_code dvdi_remove(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Async(engine, "remove", request, done, user);
}
dvdi_code dvdi_fence(dvdi_engine* engine, const char* request, dvdi_done done, void* user) {
  return Async(engine, "fence", request, done, user);
}

dvdi_code dvdi_status(dvdi_engine* engine, const char* query, char** answer) {
  std::string what = dvdi::GetString(ParseOrNull(query), "what");
  return Sync(dvdi::GetMember(dvdi::GetMember(engine->script, "status"), what.c_str()), "status", query,
              answer);
}
dvdi_code dvdi_explain(dvdi_engine* engine, const char* query, char** answer) {
  int64_t after = dvdi::GetInt(ParseOrNull(query), "after", -1);
  const dvdi::Json& newer = dvdi::GetMember(engine->script, "explain_after");
  const dvdi::Json& of_scope = dvdi::GetMember(dvdi::GetMember(engine->script, "explain_scope"),
                                               dvdi::GetString(ParseOrNull(query), "scope").c_str());
  if (of_scope.is_object()) return Sync(of_scope, "explain", query, answer);
  return Sync(after >= 0 ? dvdi::GetMember(newer, std::to_string(after).c_str())
                         : dvdi::GetMember(engine->script, "explain"),
              "explain", query, answer);
}
dvdi_code dvdi_forget(dvdi_engine* engine, const char* request, char** answer) {
  return Sync(dvdi::GetMember(engine->script, "forget"), "forget", request, answer);
}
dvdi_code dvdi_policy(dvdi_engine* engine, const char* request, char** answer) {
  return Sync(dvdi::GetMember(engine->script, "policy"), "policy", request, answer);
}

void dvdi_close(dvdi_engine* engine, int wait_ms) {
  if (engine == nullptr) return;
  Log({{"call", "close"}, {"wait_ms", wait_ms}});
  for (auto& thread : engine->threads) thread.join();
  delete engine;
}

}  // extern "C"
