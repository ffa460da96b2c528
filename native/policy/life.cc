#include "policy/life.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/guards.h"
#include "base/text.h"
#include "policy/blob.h"

namespace dvdi {
namespace {

// What a revision's source is called that is no file, and what operators call it.
constexpr std::string_view kBuiltinSource = "built-in";

Status NotInstalled(const Status& why) {
  return Status(why.code(), "the policy is not installed: " + why.message(), why.hint());
}

Status NotInstalled(Code code, const std::string& why, const std::string& hint) {
  return NotInstalled(Status(code, why, hint));
}

Json Event(const char* event, const PolicyModule& module) {
  return {{"event", event},
          {"sha256", module.sha256()},
          {"name", module.manifest().name},
          {"version", module.manifest().version}};
}

}  // namespace

Result<PolicyCandidate> PolicyLife::Check(std::string blob, std::optional<std::string> signature,
                                          const PolicyTrust& trust, const std::string& pinned) const {
  const std::string sha256 = BlobSha256(blob);
  if (!pinned.empty() && sha256 != pinned)
    return NotInstalled(Code::kRefused, "its SHA-256 is " + sha256 + ", not " + pinned,
                        "this is another blob than the one that was meant: fetch it again");
  return CheckBytes(std::move(blob), sha256, std::move(signature), trust);
}

Result<PolicyCandidate> PolicyLife::CheckBytes(std::string blob, const std::string& sha256,
                                               std::optional<std::string> signature,
                                               const PolicyTrust& trust) const {
  PolicyCandidate c;
  // Who made it comes first: nothing of a stranger's is read, compiled or run.
  if (signature) {
    // With no key to hold it against, a signature says as little as none.
    if (!trust.keys.empty() || !trust.unsigned_allowed) {
      auto parsed = ParseMinisignSignature(*signature, "its signature");
      if (!parsed.ok()) return NotInstalled(parsed.status());
      if (Status s = VerifyMinisign(blob, *parsed, trust.keys); !s.ok()) return NotInstalled(s);
      c.key_id = KeyIdText(parsed->key_id), c.comment = OneLine(parsed->trusted_comment);
      c.signature = std::move(*signature);
    }
  } else if (DVDI_GUARD(policy_signed) && !trust.unsigned_allowed) {
    return NotInstalled(Code::kRefused, "it is not signed",
                        "put its signature beside it (FILE.minisig), or say where it is: --signature FILE; "
                        "policies.unsigned: allow takes unsigned blobs, for development");
  }
  DVDI_ASSIGN_OR_RETURN(auto module, selector_.runtime()->Load(blob, sha256));
  DVDI_ASSIGN_OR_RETURN(c.revision, selector_.Configure(module, selector_.folder().BlobPath(sha256)));
  auto canary = selector_.Ask(*module, "canary", Json{{"config", c.revision->config}});
  if (!canary.ok())
    return NotInstalled(Code::kPolicy, "its canary failed: " + canary.status().message(),
                        canary.status().hint());
  c.checks = GetInt(*canary, "checks", -1);
  if (c.checks < 0) return NotInstalled(Code::kPolicy, "its canary does not say how many checks it made", "");
  c.blob = std::move(blob);
  return c;
}

Result<std::string> PolicyLife::Bytes(const std::string& sha256) const {
  if (sha256 == BuiltinPolicySha256()) return std::string(BuiltinPolicy());
  return selector_.folder().ReadBlob(sha256);
}

Result<PolicyCandidate> PolicyLife::CheckKept(const std::string& sha256, const PolicyTrust& trust) const {
  DVDI_ASSIGN_OR_RETURN(std::string blob, Bytes(sha256));
  PolicyTrust own = trust;
  std::optional<std::string> signature;
  // What this library holds inside needs nobody's word.
  if (sha256 == BuiltinPolicySha256()) {
    own.unsigned_allowed = true;
  } else {
    DVDI_ASSIGN_OR_RETURN(signature, selector_.folder().ReadSignature(sha256));
  }
  return CheckBytes(std::move(blob), sha256, std::move(signature), own);
}

Result<PolicyState> PolicyLife::Change(
    const std::function<Status(const PolicyFolder::Writer&, PolicyState*, Json* history)>& change,
    std::shared_ptr<const Revision> active, bool forget_damaged) const {
  DVDI_ASSIGN_OR_RETURN(auto writer, selector_.folder().Write());
  DVDI_ASSIGN_OR_RETURN(PolicyState state, writer.Before(forget_damaged));
  Json history;
  DVDI_RETURN_IF_ERROR(change(writer, &state, &history));
  struct stat st;
  DVDI_RETURN_IF_ERROR(writer.PutState(state, &st));
  if (active != nullptr) selector_.Prime(std::move(active), state, st);
  if (!history.is_null()) writer.AddHistory(std::move(history));
  writer.Prune(state);
  return state;
}

Status PolicyLife::Keep(const PolicyCandidate& c) const {
  DVDI_ASSIGN_OR_RETURN(auto writer, selector_.folder().Write());
  DVDI_RETURN_IF_ERROR(writer.PutBlob(c.sha256(), c.blob, c.signature));
  writer.AddHistory(Event("kept", *c.revision->module));
  return Status();
}

Status PolicyLife::MayBeActive(const PolicyState& state, const std::string& sha256,
                               const std::string& version, bool allow_downgrade, bool* older) {
  if (state.IsBarred(sha256))
    return NotInstalled(Code::kRefused, "the blob " + sha256 + " is barred",
                        "install another version, or say that it is good after all: dvdi policy unbar");
  const auto mark = ParseSemVer(state.watermark);
  const bool before = mark && *ParseSemVer(version) < *mark;
  if (older != nullptr) *older = before;
  if (before && !allow_downgrade)
    return NotInstalled(
        Code::kRefused,
        "version " + version + " is older than " + state.watermark + ", which was active here",
        "to go back on purpose: --allow-downgrade");
  return Status();
}

Result<std::shared_ptr<const Revision>> PolicyLife::Activate(const PolicyCandidate& c, bool allow_downgrade,
                                                             const char* event) const {
  const std::string &sha256 = c.sha256(), &version = c.manifest().version;
  auto change = [&](const PolicyFolder::Writer& writer, PolicyState* state, Json* history) -> Status {
    bool older = false;
    DVDI_RETURN_IF_ERROR(MayBeActive(*state, sha256, version, allow_downgrade, &older));
    DVDI_RETURN_IF_ERROR(writer.PutBlob(sha256, c.blob, c.signature));
    const std::string_view builtin = BuiltinPolicy();
    // Where a state was lost nobody knows what decided before, and not the built-in one.
    DVDI_ASSIGN_OR_RETURN(const bool used, selector_.folder().Used());
    if (state->active.empty() && !used && c.blob != builtin) {
      // It decided until now, so it is what can be gone back to.
      state->active = BuiltinPolicySha256();
      DVDI_RETURN_IF_ERROR(writer.PutBlob(state->active, builtin, ""));
    }
    state->Activate(sha256, version, selector_.env().clock->WallMs());
    if (!older) state->watermark = version;
    *history = Event(event, *c.revision->module);
    if (!c.key_id.empty()) (*history)["key"] = c.key_id;
    return Status();
  };
  DVDI_RETURN_IF_ERROR(Change(change, c.revision, allow_downgrade).status());
  return c.revision;
}

Result<std::shared_ptr<const Revision>> PolicyLife::Install(std::string_view blob,
                                                            bool allow_downgrade) const {
  PolicyTrust anybody;
  anybody.unsigned_allowed = true;
  DVDI_ASSIGN_OR_RETURN(PolicyCandidate c, Check(std::string(blob), std::nullopt, anybody, ""));
  return Activate(c, allow_downgrade, "installed");
}

Result<EarlierPolicy> PolicyLife::Earlier(const PolicyState& state) const {
  EarlierPolicy earlier;
  Status first;
  for (const std::string& sha256 : state.Earlier()) {
    auto revision = selector_.Installed(sha256);
    if (revision.ok()) {
      earlier.revision = *std::move(revision);
      return earlier;
    }
    const Status& why = revision.status();
    if (why.error_number() != 0 && why.error_number() != ENOENT) return why;
    if (first.ok()) first = why;
    earlier.passed_over.push_back({{"sha256", sha256}, {"why", why.message()}});
  }
  if (!first.ok()) return first;
  return Status(
      Code::kNotFound, "there is no policy to go back to: none before this one is left",
      "`dvdi policy ls` lists those that `dvdi policy activate` takes; or install another one: dvdi "
      "policy install FILE");
}

Result<EarlierPolicy> PolicyLife::GoBack(const std::string& from, bool bar, const char* event,
                                         const std::string& why) const {
  DVDI_ASSIGN_OR_RETURN(PolicyState before, State());
  if (!from.empty() && before.active != from)
    return Status(Code::kRefused, "the policy " + from + " is not the active one any more");
  // Everything that can fail comes before the state is touched.
  DVDI_ASSIGN_OR_RETURN(EarlierPolicy earlier, Earlier(before));
  const PolicyModule& module = *earlier.revision->module;
  auto change = [&](const PolicyFolder::Writer&, PolicyState* state, Json* history) -> Status {
    if (state->active != before.active || state->Earlier() != before.Earlier())
      return Status(Code::kRefused, "the active policy was changed meanwhile", "look at `dvdi policy ls`");
    if (bar) state->Bar(before.active);
    state->GoBack(module.sha256(), module.manifest().version, selector_.env().clock->WallMs());
    *history = Event(event, module);
    (*history)["from"] = before.active;
    if (bar) (*history)["barred"] = true;
    if (!why.empty()) (*history)["why"] = why;
    if (!earlier.passed_over.empty()) (*history)["passed_over"] = earlier.passed_over;
    return Status();
  };
  DVDI_RETURN_IF_ERROR(Change(change, earlier.revision, false).status());
  return earlier;
}

Status PolicyLife::Bar(const std::string& sha256, const std::string& why) const {
  DVDI_ASSIGN_OR_RETURN(PolicyState before, State());
  if (before.active.empty())
    return Status(Code::kRefused, "no policy was ever installed on this node: there is nothing to bar");
  if (before.active == sha256) {
    Status back = GoBack(sha256, true, "rolled-back", why).status();
    return back.ok() ? back : std::move(back).WithContext("the active policy is left before it is barred");
  }
  auto change = [&](const PolicyFolder::Writer&, PolicyState* state, Json* history) -> Status {
    if (state->active == sha256)
      return Status(Code::kRefused, "the blob became the active one meanwhile", "try again");
    state->Bar(sha256);
    *history = {{"event", "barred"}, {"sha256", sha256}};
    if (!why.empty()) (*history)["why"] = why;
    return Status();
  };
  return Change(change, nullptr, false).status();
}

Status PolicyLife::Unbar(const std::string& sha256) const {
  auto change = [&](const PolicyFolder::Writer&, PolicyState* state, Json* history) -> Status {
    if (!state->IsBarred(sha256)) return Status(Code::kNotFound, "the blob " + sha256 + " is not barred");
    std::erase(state->barred, sha256);
    *history = {{"event", "unbarred"}, {"sha256", sha256}};
    return Status();
  };
  return Change(change, nullptr, false).status();
}

Status PolicyLife::SetShadow(const std::optional<ShadowState>& shadow, const std::string& only,
                             const std::string& why) const {
  auto change = [&](const PolicyFolder::Writer&, PolicyState* state, Json* history) -> Status {
    if (state->active.empty())
      return Status(Code::kRefused,
                    "the built-in policy is active, and a shadow is kept beside an installed one",
                    "install one first: dvdi policy install FILE; or: dvdi policy activate built-in");
    if (shadow) {
      if (state->IsBarred(shadow->sha256))
        return Status(Code::kRefused, "the blob " + shadow->sha256 + " is barred",
                      "unbar it first: dvdi policy unbar");
      if (state->active == shadow->sha256)
        return Status(Code::kRefused,
                      "the blob is the active one already: it has nothing to be compared with");
      *history = {{"event", "shadow-began"}, {"sha256", shadow->sha256}};
    } else {
      if (!state->shadow || (!only.empty() && state->shadow->sha256 != only))
        return Status(Code::kNotFound, "there is no shadow to end");
      *history = {{"event", "shadow-ended"}, {"sha256", state->shadow->sha256}};
    }
    if (!why.empty()) (*history)["why"] = why;
    state->shadow = shadow;
    return Status();
  };
  return Change(change, nullptr, false).status();
}

Result<PolicyState> PolicyLife::State() const {
  auto state = selector_.folder().ReadState();
  if (state.ok() || state.status().error_number() != ENOENT) return state;
  DVDI_ASSIGN_OR_RETURN(bool used, selector_.folder().Used());
  if (used) return state.status();
  return PolicyState();
}

Result<std::vector<KeptPolicy>> PolicyLife::Kept() const {
  DVDI_ASSIGN_OR_RETURN(auto entries, selector_.folder().Blobs());
  const std::string builtin = BuiltinPolicySha256();
  if (std::none_of(entries.begin(), entries.end(), [&](const auto& e) { return e.sha256 == builtin; }))
    entries.insert(entries.begin(), {builtin, 0, static_cast<int64_t>(BuiltinPolicy().size())});
  std::vector<KeptPolicy> kept;
  for (auto& entry : entries) {
    KeptPolicy one;
    one.entry = entry;
    auto blob = Bytes(entry.sha256);
    if (blob.ok()) {
      if (auto manifest = InspectBlob(*blob, limits_); manifest.ok())
        one.manifest = std::move(*manifest);
      else
        one.problem = manifest.status().message();
    } else {
      one.problem = blob.status().message();
    }
    if (entry.sha256 == builtin) {
      one.builtin = true;
    } else if (auto text = selector_.folder().ReadSignature(entry.sha256); text.ok() && *text) {
      if (auto signature = ParseMinisignSignature(**text, "its signature"); signature.ok())
        one.key_id = KeyIdText(signature->key_id), one.comment = OneLine(signature->trusted_comment);
    }
    kept.push_back(std::move(one));
  }
  return kept;
}

Result<std::string> PolicyLife::Find(const std::string& text) const {
  if (IsSha256(text)) return text;
  if (text == kBuiltinSource) return BuiltinPolicySha256();
  DVDI_ASSIGN_OR_RETURN(auto kept, Kept());
  std::vector<std::string> found;
  bool by_hash = false;
  for (const KeptPolicy& k : kept) {
    const bool hash = text.size() >= 6 && k.entry.sha256.starts_with(text);
    by_hash |= hash;
    if (hash || text == k.manifest.name || text == k.manifest.version ||
        text == k.manifest.name + "@" + k.manifest.version)
      found.push_back(k.entry.sha256);
  }
  if (found.empty())
    return Status(Code::kNotFound, "no policy " + OneLine(text, 120) + " is kept on this node",
                  "`dvdi policy ls` lists those that are");
  if (found.size() > 1 && by_hash)
    return Status(Code::kInvalid, "several policies begin with " + OneLine(text, 80),
                  "give more of the hash");
  return found.back();
}

}  // namespace dvdi
