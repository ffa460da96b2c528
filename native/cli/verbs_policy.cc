// dvdi policy: what operators do to policies, and what they get to see of them.
#include <cstdio>

#include "base/text.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace dvdi::cli {
namespace {

const char* NameOf(Verb verb) {
  switch (verb) {
    case Verb::kPolicyInstall: return "install";
    case Verb::kPolicyActivate: return "activate";
    case Verb::kPolicyShadow: return "shadow";
    case Verb::kPolicyRollback: return "rollback";
    case Verb::kPolicyLs: return "ls";
    case Verb::kPolicyInspect: return "inspect";
    case Verb::kPolicyHistory: return "history";
    case Verb::kPolicyBar: return "bar";
    default: return "unbar";
  }
}

Result<Json> RequestOf(const Options& o) {
  Json request = {{"verb", NameOf(o.verb)}};
  auto text = [&](const char* member, const std::string& value) {
    if (!value.empty()) request[member] = value;
  };
  auto flag = [&](const char* member, bool value) {
    if (value) request[member] = true;
  };
  text("path", o.file), text("signature", o.signature), text("sha256", o.sha256), text("policy", o.policy);
  text("why", o.why);
  flag("allow_downgrade", o.allow_downgrade), flag("allow_differences", o.allow_differences);
  flag("inactive", o.inactive), flag("stop", o.stop), flag("bar", o.bar);
  if (o.operations > 0) request["operations"] = o.operations;
  if (!o.duration.empty()) {
    auto ms = ParseDuration(o.duration);
    if (!ms.ok()) return Status(ms.status()).WithContext("--for");
    request["for_ms"] = *ms;
  }
  return request;
}

// A member of a list that is to be text.
std::string TextOf(const Json& value) { return value.is_string() ? value.get<std::string>() : Dump(value); }

std::string Short(const std::string& sha256) { return sha256.substr(0, 12); }

std::string Title(const Json& policy) {
  return Clean(GetString(policy, "name") + " " + GetString(policy, "version") + " (sha256 " +
               GetString(policy, "sha256") + ")");
}

std::string Counts(const Json& counts) {
  std::string out;
  for (const char* outcome : {"same", "different", "undecidable", "failed", "skipped"})
    if (const int64_t n = GetInt(counts, outcome); n > 0)
      out += (out.empty() ? "" : ", ") + std::to_string(n) + " " + outcome;
  return out.empty() ? "none" : out;
}

void PrintExamples(const Json& examples) {
  for (const Json& e : examples) {
    std::string line = GetString(e, "operation") + ": " + GetString(e, "why", GetString(e, "outcome"));
    const Json &was = GetMember(e, "was"), &now = GetMember(e, "now");
    if (!was.is_null()) line += "; was " + OneLine(Dump(was), 200);
    if (!now.is_null()) line += "; now " + OneLine(Dump(now), 200);
    ::printf("  %s\n", Clean(line).c_str());
  }
}

void PrintCanary(const Json& answer) {
  const Json& canary = GetMember(answer, "canary");
  if (!canary.is_object()) return;
  ::printf("canary: %lld checks; recorded operations decided once more: %s\n",
           static_cast<long long>(GetInt(canary, "checks")), Counts(canary).c_str());
  PrintExamples(GetMember(canary, "examples"));
}

void PrintShadow(const Json& answer) {
  const Json& shadow = GetMember(answer, "shadow");
  const Json& last = GetMember(answer, "last");
  if (!shadow.is_object() && !last.is_object()) {
    PrintText("no policy decides in the shadow of the active one\n");
    return;
  }
  const Json& shown = shadow.is_object() ? shadow : last;
  std::string bounds;
  if (const int64_t until = GetInt(shown, "until_ms"); until > 0) bounds += ", until " + LocalTime(until);
  if (const int64_t n = GetInt(shown, "operations"); n > 0)
    bounds += ", for " + std::to_string(n) + " operations";
  if (!shadow.is_object() || GetBool(shown, "over")) bounds = ", over";
  ::printf("shadow: %s%s\ndecisions: %s\n", Clean(GetString(shown, "sha256")).c_str(), bounds.c_str(),
           Counts(GetMember(shown, "decisions")).c_str());
  PrintExamples(GetMember(shown, "examples"));
}

void PrintList(const Json& answer) {
  Table table({"SHA256", "NAME", "VERSION", "STATE", "SIGNED BY", "KEPT"});
  for (const Json& p : GetMember(answer, "policies")) {
    const std::string state = GetString(p, "state");
    const std::string problem = GetString(p, "problem");
    table.Add({Short(GetString(p, "sha256")), GetString(p, "name"), GetString(p, "version"),
               problem.empty() ? state : state + ": " + problem,
               GetString(p, "signed_by", GetString(p, "source", "-")), LocalTime(GetInt(p, "kept_ms"))},
              state == "active"   ? Color::kGreen
              : state == "barred" ? Color::kRed
                                  : Color::kPlain,
              3);
  }
  PrintText(table.Text());
  for (const Json& sha256 : GetMember(answer, "barred"))
    ::printf("%s\n", Clean("barred, not kept: " + TextOf(sha256)).c_str());
}

void PrintHistory(const Json& answer) {
  Table table({"WHEN", "WHAT", "POLICY", "SHA256", "WHY"});
  for (const Json& e : GetMember(answer, "history"))
    table.Add({LocalTime(GetInt(e, "at_ms")), GetString(e, "event"),
               GetString(e, "name") + " " + GetString(e, "version"), Short(GetString(e, "sha256")),
               GetString(e, "why", "-")});
  PrintText(table.empty() ? "nothing was ever done to the policies of this node\n" : table.Text());
}

void PrintInspected(const Json& a) {
  auto line = [](const char* what, const std::string& text) {
    if (!text.empty()) ::printf("%-12s %s\n", what, Clean(text).c_str());
  };
  line("policy", GetString(a, "name") + " " + GetString(a, "version"));
  line("description", GetString(a, "description"));
  line("sha256", GetString(a, "sha256"));
  line("bytes", std::to_string(GetInt(a, "bytes")));
  line("abi", std::to_string(GetInt(a, "abi")));
  std::string imports;
  for (const Json& i : GetMember(a, "imports")) imports += (imports.empty() ? "" : ", ") + TextOf(i);
  line("imports", imports);
  line("state", GetString(a, "state"));
  line("source", GetString(a, "source"));
  line("signed by", GetString(a, "signed_by"));
  line("comment", GetString(a, "comment"));
  line("problem", GetString(a, "problem"));
}

void Print(Verb verb, const Json& a) {
  switch (verb) {
    case Verb::kPolicyInstall:
    case Verb::kPolicyActivate:
      ::printf("%s: %s\n", GetBool(a, "active", true) ? "active policy" : "kept, not active",
               Title(a).c_str());
      if (const std::string key = GetString(a, "signed_by"); !key.empty())
        ::printf("%s\n", Clean("signed by: " + key + " (" + GetString(a, "comment") + ")").c_str());
      return PrintCanary(a);
    case Verb::kPolicyRollback:
      ::printf("active policy: %s\n", Title(a).c_str());
      for (const Json& p : GetMember(a, "passed_over"))
        ::printf("%s\n",
                 Clean("passed over: " + GetString(p, "sha256") + ": " + GetString(p, "why")).c_str());
      return;
    case Verb::kPolicyShadow: PrintShadow(a); return PrintCanary(a);
    case Verb::kPolicyLs: return PrintList(a);
    case Verb::kPolicyHistory: return PrintHistory(a);
    case Verb::kPolicyInspect: return PrintInspected(a);
    default:
      ::printf("%s: %s\n", GetBool(a, "barred") ? "barred" : "not barred any more",
               Clean(GetString(a, "sha256")).c_str());
  }
}

}  // namespace

int Policy(const Options& options) {
  auto request = RequestOf(options);
  if (!request.ok()) return Failed(options, request.status());
  auto engine = OpenEngine(options);
  if (!engine.ok()) return Failed(options, engine.status());
  auto answer = (*engine)->Ask(dvdi_policy, *request);
  if (!answer.ok()) return Failed(options, answer.status());
  if (options.global.json)
    PrintJson(*answer);
  else
    Print(options.verb, *answer);
  return kExitOk;
}

}  // namespace dvdi::cli
