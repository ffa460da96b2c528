// explain: records of operations as a timeline.
#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace dvdi::cli {
namespace {

// "name" of volume `index` of the operation's input, or "volume INDEX".
std::string VolumeOf(const Json& volumes, const Json& request) {
  // What operators do names its volume.
  if (std::string name = GetString(request, "name"); !name.empty()) return name;
  int64_t index = GetInt(request, "volume", -1);
  for (const auto& v : volumes)
    if (GetInt(v, "index", -2) == index) return GetString(v, "name");
  if (volumes.is_array() && index >= 0 && static_cast<size_t>(index) < volumes.size())
    return GetString(volumes[static_cast<size_t>(index)], "name");
  return index < 0 ? "" : "volume " + std::to_string(index);
}

std::string ErrorText(const Json& error) {
  return error.is_string() ? error.get<std::string>() : ErrorLine(error);
}

// One answer of a plugin.
std::string PluginAnswer(const Json& answer) {
  std::string kind = GetString(answer, "kind");
  if (kind == "ok") {
    std::string mountpoint = GetString(answer, "mountpoint");
    const Json& listed = GetMember(answer, "volumes");
    if (listed.is_array()) return "ok, names " + std::to_string(listed.size()) + " of our volumes";
    return mountpoint.empty() ? "ok" : "ok, mountpoint " + mountpoint;
  }
  std::string error = GetString(answer, "error");
  if (kind == "unknown")
    return "unknown (" + GetString(answer, "reason") +
           (GetBool(answer, "sent") ? ", it may have acted" : "") + ")" + (error.empty() ? "" : ": " + error);
  return kind + (error.empty() ? "" : ": " + error);
}

// A host call may hold several parts that ran side by side: a line for each.
std::vector<std::string> CallLines(const Json& volumes, const Json& call) {
  std::string name = GetString(call, "call");
  const Json& request = GetMember(call, "request");
  const Json& answer = GetMember(call, "answer");
  const Json& error = GetMember(answer, "error");
  const Json& ok = GetMember(answer, "ok");
  std::vector<std::string> lines;
  auto result = [&](const Json& part) {
    const Json& e = GetMember(part, "error");
    return e.is_null() ? std::string("ok") : "error: " + ErrorText(e);
  };
  if (name == "plugin_call" && GetMember(request, "calls").is_array()) {
    const Json& calls = GetMember(request, "calls");
    const Json& answers = GetMember(ok, "answers");
    for (size_t i = 0; i < calls.size(); ++i) {
      std::string about = VolumeOf(volumes, calls[i]);
      std::string line = GetString(calls[i], "method") + " " +
                         (about.empty() ? "of driver " + GetString(calls[i], "driver") : about);
      const Json& options = GetMember(calls[i], "options");
      if (options.is_object() && !options.empty()) line += " " + SafeJson(options);
      bool answered = answers.is_array() && i < answers.size();
      lines.push_back(line + " -> " + (answered ? PluginAnswer(answers[i]) : result(answer)));
    }
  } else if (name == "stage" && GetMember(request, "stages").is_array()) {
    const Json& stages = GetMember(request, "stages");
    const Json& answers = GetMember(ok, "stages");
    for (size_t i = 0; i < stages.size(); ++i) {
      std::string line =
          "stage " + VolumeOf(volumes, stages[i]) + (GetBool(stages[i], "read_only") ? " read-only" : "");
      std::string subpath = GetString(stages[i], "subpath"),
                  ownership = GetString(stages[i], "ownership", "none");
      if (!subpath.empty()) line += ", subpath " + subpath;
      if (ownership != "none") line += ", ownership " + ownership;
      bool answered = answers.is_array() && i < answers.size();
      lines.push_back(line + " -> " + result(answered ? answers[i] : answer));
    }
  } else if (name == "log") {
    lines.push_back(GetString(request, "level", "log") + ": " + GetString(request, "message"));
  } else {
    std::string line = name;
    if (request.is_object() && !request.empty()) line += " " + SafeJson(request);
    lines.push_back(line + " -> " +
                    (error.is_null() ? (ok.is_null() ? "ok" : SafeJson(ok)) : "error: " + ErrorText(error)));
  }
  return lines;
}

// What an export of the policy was given, or answered: kept as the text that crossed, byte for byte.
Json Crossed(const Json& op, const char* member, const char* export_name) {
  auto json = ParseJson(GetString(GetMember(op, member), export_name), "a recorded text");
  return json.ok() ? std::move(*json) : Json();
}

// The volumes as prepare saw them; where it did not come to that, as they were parsed.
Json VolumesOf(const Json& op) {
  for (const char* export_name : {"prepare", "cleanup"}) {
    Json volumes = GetMember(Crossed(op, "input", export_name), "volumes");
    if (volumes.is_array()) return volumes;
  }
  return GetMember(GetMember(Crossed(op, "answer", "parse"), "ok"), "volumes");
}

// "12 ms", "0.3 ms".
std::string Milliseconds(const Json& value) {
  double ms = value.is_number() ? value.get<double>() : 0;
  char text[64];
  ::snprintf(text, sizeof text, ms < 10 ? "%.1f ms" : "%.0f ms", ms);
  return text;
}

// The prepare that an end belongs to, or null: who asks why wants the decision, and the end of a use has
// none.
Json PrepareOf(Engine& engine, const Json& end) {
  constexpr int kLook = 20;
  if (GetString(end, "kind") != "cleanup" || GetString(end, "scope").empty()) return Json();
  auto answer = engine.Ask(dvdi_explain, {{"scope", GetString(end, "scope")}, {"last", kLook}});
  if (!answer.ok()) return Json();
  for (const Json& op : GetMember(*answer, "operations"))
    if (GetString(op, "kind") == "prepare" && GetString(op, "owner") == GetString(end, "owner") &&
        GetInt(op, "seq") < GetInt(end, "seq"))
      return op;
  return Json();
}

}  // namespace

std::string OperationText(const Json& op) {
  const Json volumes = VolumesOf(op);
  std::string text;
  auto line = [&](const std::string& left, const std::string& right, Color color = Color::kPlain) {
    std::string head = Clean(left);
    head.resize(std::max<size_t>(head.size() + 1, 12), ' ');
    text += "  " + head + Paint(color, Clean(right)) + "\n";
  };
  text +=
      Paint(Color::kBold, Clean(GetString(op, "kind") + " for " + GetString(op, "owner") + " " +
                                GetString(op, "scope") + " (operation " + GetString(op, "operation") + ")")) +
      "\n";
  int64_t started = GetInt(op, "started_ms");
  line("started", LocalTime(started) + (started > 0 ? " (" + Ago(started, NowMs()) + ")" : "") + ", took " +
                      Milliseconds(GetMember(op, "duration_ms")));
  const Json& policy = GetMember(op, "policy");
  if (policy.is_object())
    line("policy", GetString(policy, "name") + " " + GetString(policy, "version") + " (sha256 " +
                       GetString(policy, "sha256").substr(0, 12) + ")");
  else if (policy.is_string())
    line("policy", policy.get<std::string>());
  for (const auto& v : volumes) {
    std::string path = GetString(v, "container_path");
    std::string mode = GetString(v, "mode");
    line("volume", GetString(v, "name") + " of driver " + GetString(v, "driver") +
                       (path.empty() ? "" : " at " + path) + (mode.empty() ? "" : " (" + mode + ")"));
    const Json& volume_class = GetMember(v, "class");
    if (!volume_class.is_object()) continue;
    line("", "pool " + GetString(volume_class, "pool") + " for its class");
    for (const auto& passed : GetMember(volume_class, "passed_over"))
      line("", "not pool " + GetString(passed, "pool") + ": " + GetString(passed, "reason"));
  }
  for (const auto& call : GetMember(op, "calls")) {
    std::string took = Milliseconds(GetMember(call, "ms"));
    for (const auto& l : CallLines(volumes, call)) {
      line(took, l);
      took.clear();
    }
  }
  const Json decided = Crossed(op, "answer", "prepare");
  for (const auto& v : GetMember(GetMember(decided, "ok"), "volumes"))
    if (std::string message = GetString(v, "message"); !message.empty()) line("decided", message);
  for (const auto& note : GetMember(op, "notes"))
    if (note.is_string()) line("note", note.get<std::string>());
  if (GetBool(op, "cut")) line("", "(the record is cut here: records.max_bytes)");
  const Json& error = GetMember(op, "error");
  std::string outcome = GetString(op, "outcome");
  line("outcome", outcome + (error.is_null() ? "" : ": " + ErrorText(error)),
       outcome == "ok" ? Color::kGreen : Color::kRed);
  for (const auto& undone : GetMember(op, "undone"))
    line("undone", undone.is_string() ? undone.get<std::string>() : SafeJson(undone), Color::kYellow);
  return text;
}

int Explain(const Options& options) {
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  Json query = Json::object();
  if (!options.operation.empty()) query["operation"] = options.operation;
  if (!options.scope.empty()) query["scope"] = options.scope;
  if (!options.volume.empty()) {
    VolumeName volume = SplitVolumeName(options.volume, options.default_driver);
    query["name"] = volume.name;
    if (!volume.driver.empty()) query["driver"] = volume.driver;
  }
  if (!options.duration.empty()) {
    auto ms = ParseDuration(options.duration);
    if (!ms.ok()) return Failed(options, Status(ms.status()).WithContext("--since"));
    query["since_ms"] = NowMs() - *ms;
  }
  if (options.export_records) {
    const Status s = ExportRecords(*engine->engine, options, std::move(query));
    return s.ok() ? kExitOk : Failed(options, s);
  }
  query["last"] = options.last > 0 ? options.last : 1;
  auto answer = (*engine)->Ask(dvdi_explain, query);
  if (!answer.ok()) return Failed(options, answer.status());
  const Json& operations = GetMember(*answer, "operations");
  // A list may be empty; one operation that was named is there or is not.
  if (!options.operation.empty() && operations.empty())
    return Failed(options,
                  Status(Code::kNotFound, "no operation " + OneLine(options.operation, 255) + " is recorded",
                         "`dvdi explain --last 20` shows the last ones with their names"));
  if (options.global.json) {
    PrintJson(*answer);
    return kExitOk;
  }
  std::string text;
  for (const auto& op : operations) text += (text.empty() ? "" : "\n") + OperationText(op);
  if (options.last <= 0 && options.operation.empty() && operations.size() == 1)
    if (const Json prepare = PrepareOf(*engine->engine, operations[0]); prepare.is_object())
      text += "\n" + OperationText(prepare);
  if (text.empty()) PrintNote("no operation is recorded for that");
  PrintText(text);
  return kExitOk;
}

}  // namespace dvdi::cli
