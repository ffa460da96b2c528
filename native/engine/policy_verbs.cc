// What operators do to policies. Each that changes something is told to the audit log, also where it was
// refused.
#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "engine/canary.h"
#include "engine/engine.h"
#include "engine/policy_show.h"
#include "engine/watch.h"
#include "sys/files.h"

namespace dvdi {
namespace {

constexpr uint64_t kMaxSignatureBytes = 64 * 1024;
constexpr int64_t kShadowOperations = 1'000;  // where neither a time nor a number is said
constexpr int64_t kMaxShadowOperations = 100'000;

Json Described(const PolicyCandidate& c) {
  Json j = {{"name", c.manifest().name},
            {"version", c.manifest().version},
            {"sha256", c.sha256()},
            {"source", c.revision->source}};
  if (!c.key_id.empty()) j["signed_by"] = c.key_id, j["comment"] = c.comment;
  return j;
}

Result<std::optional<std::string>> ReadSignature(Core& core, const Json& request, const std::string& path) {
  const std::string named = GetString(request, "signature");
  auto text = ReadNamedFile(core.env.sys, named.empty() ? path + ".minisig" : named, kMaxSignatureBytes);
  if (text.ok()) return std::optional<std::string>(std::move(*text));
  if (named.empty() && text.status().error_number() == ENOENT) return std::optional<std::string>();
  return text.status();
}

// A verb at work: which policy it is about, as soon as that is known, for the audit log.
struct Verb {
  Core& core;
  const Json& request;
  PolicyLife life;
  std::shared_ptr<const Revision> about;
  std::string detail;

  Verb(Core& c, const Json& r) : core(c), request(r), life(c.policy.get(), c.settings.limits) {}

  Result<PolicyCandidate> FromFile(const std::string& path) {
    DVDI_ASSIGN_OR_RETURN(PolicyTrust trust, TrustOf(core));
    DVDI_ASSIGN_OR_RETURN(auto blob, ReadNamedFile(core.env.sys, path, core.settings.limits.blob_bytes));
    DVDI_ASSIGN_OR_RETURN(auto signature, ReadSignature(core, request, path));
    auto c = life.Check(std::move(blob), std::move(signature), trust, GetString(request, "sha256"));
    if (c.ok()) about = c->revision;
    return c;
  }
  Result<PolicyCandidate> FromKept() {
    DVDI_ASSIGN_OR_RETURN(PolicyTrust trust, TrustOf(core));
    DVDI_ASSIGN_OR_RETURN(std::string sha256, life.Find(GetString(request, "policy")));
    DVDI_ASSIGN_OR_RETURN(auto c, life.CheckKept(sha256, trust));
    about = c.revision;
    return c;
  }
  Result<Json> Activate(const PolicyCandidate& c, const char* event) {
    DVDI_ASSIGN_OR_RETURN(Json canary, RunCanary(core, c, GetBool(request, "allow_differences")));
    DVDI_RETURN_IF_ERROR(life.Activate(c, GetBool(request, "allow_downgrade"), event).status());
    Json answer = Described(c);
    answer["canary"] = std::move(canary), answer["active"] = true;
    return answer;
  }

  Result<Json> Install() {
    const std::string path = GetString(request, "path");
    if (path.empty()) return Status(Code::kInvalid, "policy install wants the path of a blob");
    DVDI_ASSIGN_OR_RETURN(auto c, FromFile(path));
    if (!GetBool(request, "inactive")) return Activate(c, "installed");
    DVDI_ASSIGN_OR_RETURN(Json canary, RunCanary(core, c, true));
    DVDI_RETURN_IF_ERROR(life.Keep(c));
    Json answer = Described(c);
    answer["canary"] = std::move(canary), answer["active"] = false;
    return answer;
  }
  Result<Json> ActivateKept() {
    DVDI_ASSIGN_OR_RETURN(auto c, FromKept());
    return Activate(c, "activated");
  }
  Result<Json> Rollback() {
    DVDI_ASSIGN_OR_RETURN(PolicyState before, life.State());
    detail = "from " + before.active;
    DVDI_ASSIGN_OR_RETURN(EarlierPolicy back,
                          life.GoBack("", GetBool(request, "bar"), "rolled-back", GetString(request, "why")));
    about = back.revision;
    const PolicyManifest& m = about->module->manifest();
    return Json{
        {"name", m.name},          {"version", m.version},  {"sha256", about->module->sha256()},
        {"source", about->source}, {"from", before.active}, {"passed_over", std::move(back.passed_over)}};
  }
  Result<Json> Bar(bool bar) {
    DVDI_ASSIGN_OR_RETURN(std::string sha256, life.Find(GetString(request, "policy")));
    detail = sha256;
    DVDI_RETURN_IF_ERROR(bar ? life.Bar(sha256, GetString(request, "why")) : life.Unbar(sha256));
    DVDI_ASSIGN_OR_RETURN(PolicyState now, life.State());
    return Json{{"sha256", sha256}, {"barred", bar}, {"active", now.active}};
  }
  Result<Json> Shadow() {
    if (GetBool(request, "stop")) {
      DVDI_ASSIGN_OR_RETURN(PolicyState state, life.State());
      DVDI_RETURN_IF_ERROR(life.SetShadow(std::nullopt, "", "by an operator"));
      if (!state.shadow) return Json{{"shadow", nullptr}};
      detail = state.shadow->sha256;
      return ShowShadow(core, life, &*state.shadow);
    }
    const std::string path = GetString(request, "path");
    if (path.empty() && GetString(request, "policy").empty()) return ShowShadow(core, life, nullptr);
    const int64_t operations = GetInt(request, "operations"), for_ms = GetInt(request, "for_ms");
    if (operations < 0 || operations > kMaxShadowOperations || for_ms < 0)
      return Status(Code::kInvalid, "a shadow has a time, or 1 to " + std::to_string(kMaxShadowOperations) +
                                        " operations, or both");
    DVDI_ASSIGN_OR_RETURN(auto c, path.empty() ? FromKept() : FromFile(path));
    DVDI_ASSIGN_OR_RETURN(Json canary, RunCanary(core, c, true));
    if (!path.empty()) DVDI_RETURN_IF_ERROR(life.Keep(c));
    ShadowState shadow{c.sha256(), core.env.clock->WallMs(), 0, operations};
    if (for_ms > 0) shadow.until_ms = shadow.began_ms + for_ms;
    if (for_ms == 0 && shadow.operations == 0) shadow.operations = kShadowOperations;
    DVDI_RETURN_IF_ERROR(life.SetShadow(shadow, "", ""));
    DVDI_ASSIGN_OR_RETURN(Json answer, ShowShadow(core, life, nullptr));
    answer["canary"] = std::move(canary);
    return answer;
  }
};

}  // namespace

Result<Json> Engine::Policy(const Json& request) {
  Core& core = *core_;
  if (core.closing) return Status(Code::kRefused, "the engine is being closed");
  const std::string verb = GetString(request, "verb");
  Verb work(core, request);
  if (verb == "ls") return ShowPolicies(core, work.life);
  if (verb == "history") return Json{{"history", core.policy->folder().History()}};
  if (verb == "inspect") return InspectPolicy(core, work.life, request);
  const bool only_asked = verb == "shadow" && !GetBool(request, "stop") &&
                          GetString(request, "path").empty() && GetString(request, "policy").empty();
  if (only_asked) return work.Shadow();

  const char* event = nullptr;
  Result<Json> answer =
      Status(Code::kInvalid, "policy " + OneLine(verb, 40) +
                                 ": install, activate, shadow, rollback, ls, inspect, history, bar "
                                 "and unbar are accepted");
  if (verb == "install")
    answer = work.Install(), event = GetBool(request, "inactive") ? "kept" : "installed";
  else if (verb == "activate")
    answer = work.ActivateKept(), event = "activated";
  else if (verb == "rollback")
    answer = work.Rollback(), event = "rolled-back";
  else if (verb == "shadow")
    answer = work.Shadow(), event = GetBool(request, "stop") ? "shadow-ended" : "shadow-began";
  else if (verb == "bar" || verb == "unbar")
    answer = work.Bar(verb == "bar"), event = verb == "bar" ? "barred" : "unbarred";
  if (event == nullptr) return answer;
  const std::string path = GetString(request, "path");
  if (!answer.ok() && !path.empty()) answer = AboutFile(path, answer.status());
  if (work.detail.empty() && work.about == nullptr)
    work.detail = GetString(request, "path", GetString(request, "policy"));
  TellPolicy(core, "operator", event, work.about == nullptr ? nullptr : work.about->module.get(), work.detail,
             answer.status());
  return answer;
}

}  // namespace dvdi
