#include "engine/policy_show.h"

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "engine/watch.h"
#include "policy/blob.h"
#include "sys/files.h"

namespace dvdi {
namespace {

constexpr int kExamples = 10;
constexpr uint64_t kMaxSignatureBytes = 64 * 1024;

Json Manifest(const PolicyManifest& m, const std::string& sha256, size_t bytes) {
  return {{"sha256", sha256}, {"name", m.name},       {"version", m.version}, {"description", m.description},
          {"abi", m.abi},     {"imports", m.imports}, {"bytes", bytes}};
}

const char* StateOf(const PolicyState& state, const std::string& sha256) {
  if (state.active.empty() ? sha256 == BuiltinPolicySha256() : state.active == sha256) return "active";
  if (state.IsBarred(sha256)) return "barred";
  if (state.shadow && state.shadow->sha256 == sha256) return "shadow";
  const auto& previous = state.previous;
  return std::find(previous.begin(), previous.end(), sha256) != previous.end() ? "previous" : "kept";
}

// What only the node's history has against it. The active one need not become so.
void AddWhyNot(const PolicyState& state, const PolicyCandidate& one, Json* answer) {
  if (std::string_view(StateOf(state, one.sha256())) == "active") return;
  const Status may = PolicyLife::MayBeActive(state, one.sha256(), one.manifest().version, false);
  if (!may.ok()) (*answer)["problem"] = may.message();
}

}  // namespace

Status AboutFile(const std::string& path, const Status& why) {
  Status named = why;
  // What is about another file, or says itself which, stays as it is.
  if (!why.path().empty() || why.message().find(path) != std::string::npos) return named;
  return std::move(named).WithContext(OneLine(path, 255));
}

Result<PolicyTrust> TrustOf(Core& core) {
  PolicyTrust trust;
  trust.unsigned_allowed = core.settings.UnsignedAllowed();
  for (const std::string& written : core.settings.policy_keys) {
    std::string text = written;
    const bool file = written.starts_with('/');
    if (file) {
      DVDI_ASSIGN_OR_RETURN(text, ReadOwnFile(core.env.sys, written));
    }
    DVDI_ASSIGN_OR_RETURN(
        auto key, ParseMinisignKey(text, file ? written : "the entry " + written + " of policies.keys"));
    trust.keys.push_back(key);
  }
  return trust;
}

Result<Json> ShowPolicies(Core& core, const PolicyLife& life) {
  DVDI_ASSIGN_OR_RETURN(PolicyState state, life.State());
  DVDI_ASSIGN_OR_RETURN(auto kept, life.Kept());
  DVDI_ASSIGN_OR_RETURN(PolicyTrust trust, TrustOf(core));
  Json list = Json::array(), barred = Json::array(), keys = Json::array();
  for (const KeptPolicy& k : kept) {
    Json one = {{"sha256", k.entry.sha256},
                {"name", k.manifest.name},
                {"version", k.manifest.version},
                {"state", StateOf(state, k.entry.sha256)},
                {"bytes", k.entry.bytes}};
    if (k.entry.kept_ms > 0) one["kept_ms"] = k.entry.kept_ms;
    if (k.builtin) one["source"] = "built-in";
    if (!k.key_id.empty()) one["signed_by"] = k.key_id, one["comment"] = k.comment;
    if (!k.problem.empty()) one["problem"] = k.problem;
    list.push_back(std::move(one));
  }
  for (const std::string& sha256 : state.barred)
    if (std::none_of(kept.begin(), kept.end(), [&](const auto& k) { return k.entry.sha256 == sha256; }))
      barred.push_back(sha256);
  for (const MinisignKey& key : trust.keys) keys.push_back(KeyIdText(key.id));
  return Json{{"policies", std::move(list)},
              {"barred", std::move(barred)},
              {"watermark", state.watermark},
              {"unsigned", trust.unsigned_allowed ? "allow" : "refuse"},
              {"keys", std::move(keys)}};
}

Result<Json> InspectPolicy(Core& core, const PolicyLife& life, const Json& request) {
  const std::string path = GetString(request, "path"), named = GetString(request, "policy");
  DVDI_ASSIGN_OR_RETURN(PolicyTrust trust, TrustOf(core));
  if (!path.empty()) {
    DVDI_ASSIGN_OR_RETURN(auto blob, ReadNamedFile(core.env.sys, path, core.settings.limits.blob_bytes));
    std::optional<std::string> signature;
    if (auto text = ReadNamedFile(core.env.sys, path + ".minisig", kMaxSignatureBytes); text.ok())
      signature = std::move(*text);
    else if (text.status().error_number() != ENOENT)
      return text.status();
    // What is no policy at all has nothing to be shown.
    auto manifest = InspectBlob(blob, core.settings.limits);
    if (!manifest.ok()) return AboutFile(path, manifest.status());
    Json answer = Manifest(*manifest, BlobSha256(blob), blob.size());
    auto checked = life.Check(std::move(blob), std::move(signature), trust, "");
    if (!checked.ok()) answer["problem"] = checked.status().message();
    if (checked.ok() && !checked->key_id.empty())
      answer["signed_by"] = checked->key_id, answer["comment"] = checked->comment;
    if (auto state = life.State(); checked.ok() && state.ok()) AddWhyNot(*state, *checked, &answer);
    return answer;
  }
  DVDI_ASSIGN_OR_RETURN(PolicyState state, life.State());
  std::string sha256 = state.active.empty() ? BuiltinPolicySha256() : state.active;
  if (!named.empty()) {
    DVDI_ASSIGN_OR_RETURN(sha256, life.Find(named));
  }
  auto checked = life.CheckKept(sha256, trust);
  DVDI_ASSIGN_OR_RETURN(auto blob, life.Bytes(sha256));
  DVDI_ASSIGN_OR_RETURN(auto manifest, InspectBlob(blob, core.settings.limits));
  Json answer = Manifest(manifest, sha256, blob.size());
  answer["state"] = StateOf(state, sha256);
  answer["source"] = sha256 == BuiltinPolicySha256() ? "built-in" : core.policy->folder().BlobPath(sha256);
  if (!checked.ok()) {
    answer["problem"] = checked.status().message();
    return answer;
  }
  answer["config"] = checked->revision->config;
  AddWhyNot(state, *checked, &answer);
  if (!checked->key_id.empty()) answer["signed_by"] = checked->key_id, answer["comment"] = checked->comment;
  return answer;
}

Result<Json> ShowShadow(Core& core, const PolicyLife& life, const ShadowState* ended) {
  DVDI_ASSIGN_OR_RETURN(PolicyState state, life.State());
  if (ended == nullptr && !state.shadow) {
    // The last one that ended is what people ask for.
    const Json history = core.policy->folder().History();
    for (auto e = history.rbegin(); e != history.rend(); ++e) {
      if (GetString(*e, "event") != "shadow-began") continue;
      const ShadowState last{GetString(*e, "sha256"), GetInt(*e, "at_ms") - 60'000, 0, 0};
      DVDI_ASSIGN_OR_RETURN(Json shown, ShadowSoFar(core, last, kExamples));
      shown["sha256"] = last.sha256;
      return Json{{"shadow", nullptr}, {"last", std::move(shown)}};
    }
    return Json{{"shadow", nullptr}};
  }
  const ShadowState& shadow = ended != nullptr ? *ended : *state.shadow;
  DVDI_ASSIGN_OR_RETURN(Json shown, ShadowSoFar(core, shadow, kExamples));
  shown["sha256"] = shadow.sha256, shown["began_ms"] = shadow.began_ms, shown["until_ms"] = shadow.until_ms;
  shown["operations"] = shadow.operations, shown["over"] = ended != nullptr || ShadowIsOver(core, shadow);
  return Json{{"shadow", std::move(shown)}};
}

}  // namespace dvdi
