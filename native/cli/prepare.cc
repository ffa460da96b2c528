#include "cli/prepare.h"

#include <unistd.h>

#include <cstdio>

#include "base/text.h"
#include "cli/print.h"

namespace dvdi::cli {
namespace {

// What the policy said about a volume; where it said nothing, the same from the facts.
std::string VolumeMessage(const Json& volume) {
  std::string message = GetString(volume, "message");
  if (!message.empty()) return message;
  std::string name = GetString(volume, "name"), what = GetString(volume, "what");
  if (what == "created") return "created new volume " + name;
  int64_t last_used = GetInt(volume, "last_used");
  std::string used = last_used > 0 ? " (last used " + Ago(last_used, NowMs()) + ")" : "";
  if (what == "existed") return name + " exists already";
  return (what == "shared" ? "shared " : "re-attached ") + name + used;
}

}  // namespace

Json PrepareRequest(const Options& options, const std::string& owner, const std::string& scope,
                    Json sources) {
  Json request = {{"owner", owner},
                  {"scope", scope},
                  {"sources", std::move(sources)},
                  {"targets", "make"},
                  {"deadline_ms", options.global.timeout_ms}};
  if (!options.default_driver.empty()) request["default_driver"] = options.default_driver;
  return request;
}

void PrintPrepared(const Json& answer, bool json) {
  if (json) {
    ::dprintf(STDERR_FILENO, "%s\n", SafeJson(answer).c_str());
    return;
  }
  const Json& volumes = GetMember(answer, "volumes");
  for (const auto& v : volumes) PrintNote(VolumeMessage(v));
  if (volumes.empty()) PrintNote("note: no volume was declared");
  for (const auto& note : GetMember(answer, "notes"))
    if (note.is_string()) PrintNote("note: " + note.get<std::string>());
}

namespace {

// One thing that would be done.
std::string CallText(const Json& call) {
  std::string what = GetString(call, "call"), text;
  std::string volume = GetString(call, "name") + " of driver " + GetString(call, "driver");
  if (what == "stage") {
    text = "give " + GetString(call, "name") + " at " + GetString(call, "target");
    std::string subpath = GetString(call, "subpath"), ownership = GetString(call, "ownership", "none");
    if (!subpath.empty()) text += ", its folder " + subpath;
    if (GetBool(call, "read_only")) text += ", read-only";
    if (ownership != "none") text += ", ownership " + ownership;
    return text;
  }
  text = what + " " + volume;
  const Json& options = GetMember(call, "options");
  return options.is_object() && !options.empty() ? text + " " + SafeJson(options) : text;
}

}  // namespace

void PrintDecision(const Json& answer, bool json) {
  if (json) {
    PrintJson(answer);
    return;
  }
  std::string text;
  for (const auto& v : GetMember(answer, "volumes")) {
    std::string line = GetString(v, "name") + " of driver " + GetString(v, "driver") + " at " +
                       GetString(v, "container_path") + " (" + GetString(v, "mode") + ", " +
                       GetString(v, "access") + ", create " + GetString(v, "create") + ")";
    const Json& options = GetMember(v, "options");
    if (options.is_object() && !options.empty()) line += ", options " + SafeJson(options);
    if (std::string pool = GetString(GetMember(v, "class"), "pool"); !pool.empty())
      line += ", from pool " + pool;
    std::string state = GetString(v, "state", "none");
    line += state == "none" ? "; not attached on this node" : "; " + state + " on this node";
    for (const auto& user : GetMember(v, "users"))
      line += ", used by " + GetString(user, "owner") + " " + GetString(user, "scope");
    text += Clean(line) + "\n";
  }
  if (text.empty()) text = "no volume is declared\n";
  for (const auto& call : GetMember(answer, "calls")) text += Clean("would " + CallText(call)) + "\n";
  for (const auto& note : GetMember(answer, "notes"))
    if (note.is_string()) text += Clean("note: " + note.get<std::string>()) + "\n";
  const Json& error = GetMember(answer, "error");
  if (error.is_object()) text += "would fail: " + ErrorLine(error) + "\n";
  PrintText(text);
}

int CloseWait(const Options& options, int otherwise_ms) {
  return options.global.timeout_ms > 0 ? static_cast<int>(options.global.timeout_ms) : otherwise_ms;
}

}  // namespace dvdi::cli
