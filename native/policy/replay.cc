#include "policy/replay.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "policy/answer.h"
#include "policy/replay_tape.h"

namespace dvdi {
namespace {

using Outcome = ReplayResult::Outcome;

constexpr const char* kExports[] = {"parse", "prepare", "cleanup", "recover"};

void DropFromEach(Json* list, const char* member) {
  if (!list->is_array()) return;
  for (Json& item : *list)
    if (item.is_object()) item.erase(member);
}

// What is compared of an answer: texts for people do not count. Null where it is no answer at all; *why says
// what is wrong with it then.
Json Decision(const std::string& export_name, const std::string& text, std::string* why) {
  Json said;
  auto ok = ParsePolicyAnswer(export_name, text, &said);
  if (!ok.ok()) {
    if (said.is_null()) {
      *why = ok.status().message();
      return Json();
    }
    Json error = Json::object();
    for (const char* member : {"code", "volume", "driver"})
      if (std::string value = GetString(said, member); !value.empty()) error[member] = std::move(value);
    return {{"error", std::move(error)}};
  }
  Json decided = std::move(*ok);
  if (decided.is_object()) {
    const bool asked_for = export_name == "parse";
    if (asked_for || export_name == "prepare") {
      decided.erase("notes");
      Json none;
      Json& volumes = decided.contains("volumes") ? decided["volumes"] : none;
      DropFromEach(&volumes, asked_for ? "from" : "message");
      if (asked_for && volumes.is_array())
        for (Json& v : volumes)
          if (v.is_object() && GetMember(v, "class").is_object()) v["class"].erase("passed_over");
    } else {
      decided.erase("report");
    }
  }
  return {{"ok", std::move(decided)}};
}

ReplayResult Ended(Outcome outcome, const std::string& export_name, const char* at, Json was, Json now,
                   std::string why) {
  ReplayResult r;
  r.outcome = outcome, r.export_name = export_name, r.at = at, r.why = std::move(why);
  r.was = std::move(was), r.now = std::move(now);
  return r;
}

ReplayResult Skipped(std::string why) {
  return Ended(Outcome::kSkipped, "", "", Json(), Json(), std::move(why));
}

// Where the engine answers an import at all (engine/front, engine/ask_policy).
bool MayCall(const std::string& export_name, std::string_view import) {
  if (export_name == "prepare" || import == "log") return true;
  return export_name != "parse" && (import == "now" || import == "random");
}

// One export: same, or how it came out.
ReplayResult ReplayExport(PolicyInstance& instance, const std::string& name, const Json& input,
                          const Json& record, const std::string& recorded_answer) {
  std::string why;
  const Json was = recorded_answer.empty() ? Json() : Decision(name, recorded_answer, &why);
  const bool failed_then = was.is_null() && GetString(GetMember(record, "error"), "code") == "policy";
  const bool prepare = name == "prepare";
  const bool cut = GetBool(record, "cut");
  Json calls = prepare ? GetMember(record, "calls") : Json();
  // The one that had no room any more.
  while (cut && !calls.empty() && GetMember(calls.back(), "answer").is_null()) calls.erase(calls.size() - 1);
  ReplayTape tape(calls);
  size_t asked = 0;
  auto answer = instance.Call(
      name, Dump(input), [&](std::string_view import, std::string_view request) -> Result<std::string> {
        if (!MayCall(name, import))
          return Status(Code::kPolicy, "the policy called " + std::string(import) + " in " + name);
        ++asked;
        if (auto recorded = tape.Answer(import, request)) return Dump(*recorded);
        return Status(Code::kRefused, "the record has no answer to " + std::string(import));
      });
  if (!tape.ended().is_null()) {
    if (cut && asked > calls.size()) return Skipped("the record was cut where it goes on");
    // What the operation would have done next is only known where it came to its end.
    const bool different = tape.ended_by_effect() && !was.is_null();
    return Ended(different ? Outcome::kDifferent : Outcome::kUndecidable, name, "call", Json(), tape.ended(),
                 different ? "it does what was not done" : "the record has no answer to what it asks for");
  }
  Json now;
  if (answer.ok()) {
    now = Decision(name, *answer, &why);
  } else if (answer.status().code() != Code::kPolicy) {
    // Of the engine, such as an input that is too long now.
    return Skipped(answer.status().message());
  } else {
    why = answer.status().message();
  }
  if (now.is_null()) {
    if (failed_then) return {};
    return Ended(Outcome::kFailed, name, "failure", Json(), Json(), why);
  }
  if (was.is_null())
    return Ended(failed_then ? Outcome::kDifferent : Outcome::kUndecidable, name, "answer", was, now,
                 failed_then ? "it answers where the other one failed"
                             : "it answers where the operation was cut short");
  if (was != now) {
    auto different = Ended(Outcome::kDifferent, name, "answer", was, now, "it decides otherwise");
    if (prepare) different.missing = tape.FirstMissing();
    return different;
  }
  if (Json missing = tape.FirstMissing(); !missing.is_null())
    return Ended(Outcome::kDifferent, name, "call", std::move(missing), Json(),
                 "it does not do what was done");
  return {};
}

}  // namespace

const char* OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSame: return "same";
    case Outcome::kDifferent: return "different";
    case Outcome::kUndecidable: return "undecidable";
    case Outcome::kFailed: return "failed";
    case Outcome::kSkipped: return "skipped";
  }
  return "skipped";
}

Json ReplayResult::ToJson() const {
  Json j = {{"outcome", OutcomeName(outcome)}};
  if (!why.empty()) j["why"] = why;
  if (at.empty()) return j;
  j["export"] = export_name, j["at"] = at;
  if (at != "failure") j["was"] = was, j["now"] = now;
  if (!missing.is_null()) j["missing"] = missing;
  return j;
}

bool DecidesAlike(const PolicyModule& policy, const DecisionTexts& texts) {
  if (texts.inputs.empty()) return false;
  auto instance = policy.Begin();
  for (const char* name : kExports) {
    const auto input = texts.inputs.find(name), answer = texts.answers.find(name);
    if (input == texts.inputs.end()) continue;
    if (answer == texts.answers.end()) return false;
    auto next = texts.calls.begin();
    const auto end = std::string_view(name) == "prepare" ? texts.calls.end() : next;
    auto at_end = [&] {
      next = std::find_if(next, end, [](const auto& call) { return AlwaysAnswered(call.import) == nullptr; });
      return next == end;
    };
    auto host = [&](std::string_view import, std::string_view request) -> Result<std::string> {
      if (const char* always = AlwaysAnswered(import)) return std::string(always);
      if (at_end() || next->import != import || next->request != request)
        return Status(Code::kRefused, "another call");
      return (next++)->answer;
    };
    auto now = instance->Call(name, input->second, host);
    if (!now.ok() || *now != answer->second || !at_end()) return false;
  }
  return true;
}

ReplayResult Replay(const PolicyModule& policy, const Json& config, const Json& record) {
  if (GetBool(record, "cut")) return Skipped("the record was cut");
  return ReplayBegun(policy, config, record);
}

ReplayResult ReplayBegun(const PolicyModule& policy, const Json& config, const Json& record) {
  const Json &inputs = GetMember(record, "input"), &answers = GetMember(record, "answer");
  std::vector<std::pair<std::string, Json>> asked;
  for (const char* name : kExports) {
    const Json& text = GetMember(inputs, name);
    if (!text.is_string()) continue;
    if (GetBool(record, "cut") && GetString(answers, name) == "null") return Skipped("the record was cut");
    auto input = ParseJson(text.get_ref<const std::string&>(), "the input of " + std::string(name), 80);
    if (!input.ok() || !input->is_object())
      return Skipped("the record's input of " + std::string(name) + " is none");
    if (!config.is_null()) (*input)["config"] = config;
    asked.emplace_back(name, std::move(*input));
  }
  if (asked.empty()) return Skipped("no policy had a part in that operation");
  auto instance = policy.Begin();
  for (const auto& [name, input] : asked) {
    ReplayResult r = ReplayExport(*instance, name, input, record, GetString(answers, name.c_str()));
    if (r.outcome != Outcome::kSame) return r;
  }
  return {};
}

}  // namespace dvdi
