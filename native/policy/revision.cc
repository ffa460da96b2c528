#include "policy/revision.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <optional>
#include <tuple>
#include <utility>

#include "base/guards.h"
#include "policy/answer.h"

namespace dvdi {
namespace {

// So many revisions are kept ready for a swap back.
constexpr size_t kRecent = 4;

// What changes whenever state.json is replaced or rewritten.
using FileIdentity = std::tuple<uint64_t, uint64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;

FileIdentity Identity(const struct stat& st) {
  return {st.st_dev,          st.st_ino,         st.st_size,        st.st_mtim.tv_sec,
          st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec};
}

}  // namespace

// What was read last; under the mutex.
struct PolicySelector::Known {
  std::shared_ptr<const Revision> builtin;
  std::shared_ptr<const Revision> installed;  // what `identity` names
  FileIdentity identity;
  std::optional<ShadowState> bounds;             // of the shadow, as that state.json has them
  std::shared_ptr<const ShadowRevision> shadow;  // loaded when it is first asked for
  bool shadow_failed = false;
  std::deque<std::shared_ptr<const Revision>> recent;  // of the folder, the last used one first
  Left left;                                           // until Tidy, or the next swap

  void Use(std::shared_ptr<const Revision> revision) {
    std::erase(recent, revision);
    recent.push_front(std::move(revision));
    if (recent.size() <= kRecent) return;
    left.push_back(std::move(recent.back()));
    recent.pop_back();
  }
};

PolicySelector::PolicySelector(const Env& env, PolicyRuntime* runtime, std::string policy_dir, Json settings)
    : env_(env),
      runtime_(runtime),
      folder_(env, std::move(policy_dir)),
      settings_(std::move(settings)),
      known_(std::make_unique<Known>()) {}

PolicySelector::~PolicySelector() = default;

// Prepare fails closed: no message of this kind leads to another blob.
Status PolicySelector::Closed(const Status& why) const {
  return Status(Code::kPolicy, "no policy decides on this node: " + why.message(),
                why.hint().empty() ? "install a policy again: dvdi policy install FILE --allow-downgrade"
                                   : why.hint())
      .WithPath(why.path().empty() ? folder_.StatePath() : why.path());
}

// The imports that make sense before there is an operation.
Result<std::string> PolicySelector::Host(std::string_view name) const {
  if (name == "log") return std::string(R"({"ok":{}})");
  if (name == "now") return Dump(Json{{"ok", {{"unix_ms", env_.clock->WallMs()}, {"left_ms", 1'000}}}});
  if (name == "random") {
    uint32_t value = 0;
    env_.random->Fill(&value, sizeof value);
    return Dump(Json{{"ok", {{"u32", value}}}});
  }
  return Dump(Json{
      {"error",
       {{"code", "refused"}, {"message", std::string(name) + " is not available outside of an operation"}}}});
}

Result<Json> PolicySelector::Ask(PolicyInstance* instance, const std::string& export_name,
                                 const Json& input) const {
  auto host = [this](std::string_view name, std::string_view) { return Host(name); };
  DVDI_ASSIGN_OR_RETURN(std::string answer, instance->Call(export_name, Dump(input), host));
  return ParsePolicyAnswer(export_name, answer);
}

Result<Json> PolicySelector::Ask(const PolicyModule& module, const std::string& export_name,
                                 const Json& input) const {
  return Ask(module.Begin().get(), export_name, input);
}

Result<std::shared_ptr<const Revision>> PolicySelector::Configure(std::shared_ptr<const PolicyModule> module,
                                                                  std::string source, Left* left) const {
  const Json input = {{"settings", settings_}, {"engine", {{"version", DVDI_VERSION}, {"abi", 1}}}};
  const std::shared_ptr<PolicyInstance> instance = module->Begin();
  if (left != nullptr) left->push_back(instance);
  auto config = Ask(instance.get(), "configure", input);
  if (!config.ok()) {
    // A blob that failed is kPolicy, and what the system said has an errno; a blob that answered has
    // something to say about the settings.
    if (config.status().code() == Code::kPolicy || config.status().error_number() != 0)
      return config.status();
    return Status(Code::kInvalid, "the policy refuses its settings: " + config.status().message(),
                  config.status().hint());
  }
  auto revision = std::make_shared<Revision>();
  revision->module = std::move(module);
  revision->config = std::move(*config);
  revision->source = std::move(source);
  return std::shared_ptr<const Revision>(std::move(revision));
}

Result<std::shared_ptr<const Revision>> PolicySelector::Builtin() {
  if (known_->builtin == nullptr) {
    DVDI_ASSIGN_OR_RETURN(auto module, runtime_->Load(BuiltinPolicy(), BuiltinPolicySha256()));
    DVDI_ASSIGN_OR_RETURN(known_->builtin, Configure(std::move(module), "built-in"));
  }
  return known_->builtin;
}

Result<std::shared_ptr<const Revision>> PolicySelector::Installed(const std::string& sha256,
                                                                  Left* left) const {
  // This library holds its bytes: a disk that spoils the folder's copy takes no policy away.
  if (sha256 == BuiltinPolicySha256()) {
    DVDI_ASSIGN_OR_RETURN(auto builtin, runtime_->Load(BuiltinPolicy(), sha256));
    return Configure(std::move(builtin), "built-in", left);
  }
  // What decides is the compiled form, and that has a checksum of its own: where it is there, its blob is
  // not read and hashed once more.
  DVDI_ASSIGN_OR_RETURN(uint64_t bytes, folder_.BlobBytes(sha256));
  auto module = runtime_->Kept(sha256, bytes);
  if (module == nullptr) {
    DVDI_ASSIGN_OR_RETURN(std::string blob, folder_.ReadBlob(sha256));
    DVDI_ASSIGN_OR_RETURN(module, runtime_->Load(blob, sha256));
  }
  return Configure(std::move(module), folder_.BlobPath(sha256), left);
}

Result<std::shared_ptr<const Revision>> PolicySelector::Ready(const std::string& sha256) {
  auto& recent = known_->recent;
  auto it = std::find_if(recent.begin(), recent.end(),
                         [&](const auto& revision) { return revision->module->sha256() == sha256; });
  if (it != recent.end()) return *it;
  return Installed(sha256, &known_->left);
}

Result<std::shared_ptr<const Revision>> PolicySelector::Select() {
  if (folder_.path().empty()) return Builtin();
  struct stat st;
  const int r = folder_.StatState(&st);
  Known& known = *known_;
  if (r == 0 && known.installed != nullptr && Identity(st) == known.identity) return known.installed;
  known.installed = nullptr, known.bounds.reset(), known.shadow = nullptr;
  known.shadow_failed = false;
  known.left.clear();
  if (r == -ENOENT) {
    auto used = folder_.Used();
    if (!used.ok()) return Closed(used.status());
    if (!*used) return Builtin();
    return Closed(
        Status(Code::kPolicy, folder_.StatePath() + " is missing, though a policy was installed here"));
  }
  if (r < 0) return Closed(Status::FromErrno(-r, "cannot stat " + folder_.StatePath(), folder_.StatePath()));
  auto state = folder_.ReadState(&st);
  if (!state.ok()) return Closed(state.status());
  if (state->IsBarred(state->active))
    return Closed(Status(Code::kPolicy,
                         folder_.StatePath() + ": the active blob " + state->active + " is barred",
                         "install another policy: dvdi policy install FILE"));
  auto revision = Ready(state->active);
  if (!revision.ok()) {
    // Settings that the policy refuses are told as such; everything else is a policy that is not there.
    if (revision.status().code() == Code::kInvalid) return revision.status();
    return Closed(revision.status());
  }
  if (const std::string& version = (*revision)->module->manifest().version; version != state->version)
    return Closed(Status(Code::kPolicy, folder_.StatePath() + " is damaged: it names version " +
                                            state->version + ", the blob is " + version));
  known.installed = *revision, known.identity = Identity(st), known.bounds = state->shadow;
  known.Use(*revision);
  return known.installed;
}

Result<std::shared_ptr<const Revision>> PolicySelector::Current() {
  std::lock_guard<std::mutex> lock(mutex_);
  try {
    auto revision = Select();
    if (!revision.ok() && !DVDI_GUARD(policy_fails_closed)) return Builtin();
    return revision;
  } catch (const std::exception& e) {
    return Status(Code::kInternal, std::string("cannot select the policy: ") + e.what());
  }
}

void PolicySelector::Tidy() {
  Left left;  // ends behind the lock
  std::lock_guard<std::mutex> lock(mutex_);
  left.swap(known_->left);
}

std::shared_ptr<const ShadowRevision> PolicySelector::Shadow() {
  std::lock_guard<std::mutex> lock(mutex_);
  Known& known = *known_;
  if (!known.bounds || known.shadow_failed) return nullptr;
  if (known.shadow == nullptr) {
    auto revision = Ready(known.bounds->sha256);
    known.shadow_failed = !revision.ok();
    if (revision.ok())
      known.shadow = std::make_shared<ShadowRevision>(ShadowRevision{*revision, *known.bounds});
  }
  return known.shadow;
}

void PolicySelector::Prime(std::shared_ptr<const Revision> revision, const PolicyState& state,
                           const struct stat& st) {
  std::lock_guard<std::mutex> lock(mutex_);
  Known& known = *known_;
  known.Use(revision);
  known.installed = std::move(revision), known.identity = Identity(st), known.bounds = state.shadow;
  known.shadow = nullptr, known.shadow_failed = false;
}

}  // namespace dvdi
