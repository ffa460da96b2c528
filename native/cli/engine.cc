#include "cli/engine.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cli/print.h"
#include "cli/progress.h"

namespace dvdi::cli {
namespace {

// The answer of one call as a Result: `text` is {"error": …} where the code is not OK.
Result<Json> Answer(dvdi_code code, std::string_view text) {
  if (code == DVDI_OK) return ParseJson(text.empty() ? "{}" : text, "the engine's answer");
  auto json = ParseJson(text, "the engine's answer");
  const Json& error = json.ok() ? GetMember(*json, "error") : GetMember(Json(), "");
  return ReadError(static_cast<Code>(code), error,
                   std::string("the engine refused the request: ") + dvdi_code_name(code));
}

Result<Json> TakeAnswer(dvdi_code code, char* text) {
  auto answer = Answer(code, text == nullptr ? "" : text);
  dvdi_free(text);
  return answer;
}

}  // namespace

struct Pending::Shared {
  UniqueFd event;
  std::mutex mutex;
  std::condition_variable done;
  bool answered = false;
  dvdi_code code = DVDI_OK;
  std::string text;

  // `user` owns one reference, given back here: the callback comes exactly once.
  static void Done(void* user, dvdi_code code, const char* json, size_t length) {
    std::unique_ptr<std::shared_ptr<Shared>> held(static_cast<std::shared_ptr<Shared>*>(user));
    Shared& shared = **held;
    {
      std::lock_guard<std::mutex> lock(shared.mutex);
      shared.code = code;
      if (json != nullptr) shared.text.assign(json, length);
      shared.answered = true;
    }
    shared.done.notify_all();
    uint64_t one = 1;
    while (::write(shared.event.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
  }
};

int Pending::fd() const { return shared_->event.get(); }

Result<Json> Pending::Take() {
  std::unique_lock<std::mutex> lock(shared_->mutex);
  shared_->done.wait(lock, [this] { return shared_->answered; });
  return Answer(shared_->code, shared_->text);
}

Json OpenOptions(const GlobalOptions& options) {
  Json settings = Json::object();
  auto set = [&](const char* key, const std::string& value) {
    if (!value.empty()) settings[key] = value;
  };
  set("state_dir", options.state_dir);
  set("runtime_dir", options.runtime_dir);
  set("policy_dir", options.policy_dir);
  set("node", options.node);
  if (!options.plugin_dirs.empty()) settings["plugins"]["sockets"] = options.plugin_dirs;
  if (!options.spec_dirs.empty()) settings["plugins"]["specs"] = options.spec_dirs;
  Json open = {{"settings", settings}};
  if (!options.keeper) open["keeper"] = false;
  if (!options.config.empty()) open["config"] = options.config;
  return open;
}

Result<std::unique_ptr<Engine>> Engine::Open(const GlobalOptions& options) {
  DVDI_ASSIGN_OR_RETURN(const std::string request, DumpWhole(OpenOptions(options)));
  dvdi_engine* engine = nullptr;
  char* error = nullptr;
  dvdi_code code = dvdi_open(request.c_str(), &engine, &error);
  if (code != DVDI_OK || engine == nullptr)
    return TakeAnswer(code == DVDI_OK ? DVDI_INTERNAL : code, error).status();
  dvdi_free(error);
  return std::unique_ptr<Engine>(new Engine(engine));
}

Engine::~Engine() { Close(0); }

void Engine::Close(int wait_ms) {
  if (engine_ != nullptr) dvdi_close(engine_, wait_ms);
  engine_ = nullptr;
}

Result<Pending> Engine::Start(AsyncCall call, const Json& request) {
  DVDI_ASSIGN_OR_RETURN(const std::string request_text, DumpWhole(request));
  auto shared = std::make_shared<Pending::Shared>();
  shared->event.reset(::eventfd(0, EFD_CLOEXEC));
  if (!shared->event.valid()) return Status::FromErrno(errno, "cannot make an eventfd");
  auto* held = new std::shared_ptr<Pending::Shared>(shared);
  dvdi_code code = call(engine_, request_text.c_str(), &Pending::Shared::Done, held);
  if (code != DVDI_OK) {
    delete held;
    return Answer(code, "{}").status();
  }
  return Pending(std::move(shared));
}

Result<Json> Engine::Do(AsyncCall call, const Json& request, const std::string& what) {
  auto pending = Start(call, request);
  if (!pending.ok()) return pending.status();
  if (what.empty()) return pending->Take();
  Progress progress(what);
  for (;;) {
    struct pollfd fd = {pending->fd(), POLLIN, 0};
    if (::poll(&fd, 1, progress.WaitMs()) > 0) return pending->Take();
    progress.Tick();
  }
}

Result<Json> Engine::Ask(SyncCall call, const Json& request) {
  DVDI_ASSIGN_OR_RETURN(const std::string request_text, DumpWhole(request));
  char* text = nullptr;
  dvdi_code code = call(engine_, request_text.c_str(), &text);
  return TakeAnswer(code, text);
}

bool Engine::RecoverRuns(bool quiet) {
  auto answer = Do(dvdi_recover, {{"owner", "run"}, {"wait_ms", 0}});
  if (!answer.ok()) {
    PrintNote("note: cleaning up after ended runs failed: " + ErrorLine(answer.status()));
    return false;
  }
  const Json& ended = GetMember(*answer, "ended");
  const Json& undone = GetMember(*answer, "undone");
  if (!quiet && ended.is_array()) {
    for (const auto& scope : ended)
      PrintNote("note: cleaned up after the run " +
                (scope.is_string() ? scope.get<std::string>() : Dump(scope)));
  }
  return (ended.is_array() && !ended.empty()) || (undone.is_array() && !undone.empty());
}

}  // namespace dvdi::cli
