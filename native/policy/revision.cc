#include "policy/revision.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/guards.h"
#include "base/text.h"
#include "policy/answer.h"
#include "policy/blob.h"
#include "policy/state_file.h"
#include "sys/files.h"

namespace dvdi {
namespace {

constexpr uint64_t kMaxStateBytes = 256 * 1024;
constexpr uint64_t kMaxBlobBytes = 64u << 20;  // the runtime's own limit is stricter
// Exists from the first installation on: without it, a lost state.json would bring the built-in blob back.
constexpr const char* kMarker = "used";
constexpr const char* kStateName = "state.json";

// What changes whenever state.json is replaced or rewritten.
using FileIdentity = std::tuple<uint64_t, uint64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;

FileIdentity Identity(const struct stat& st) {
  return {st.st_dev,          st.st_ino,         st.st_size,        st.st_mtim.tv_sec,
          st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec};
}

}  // namespace

struct PolicySelector::State {
  State(const Env& e, PolicyRuntime* r, std::string dir, Json s)
      : env(e), runtime(r), policy_dir(std::move(dir)), settings(std::move(s)) {}

  const Env env;
  PolicyRuntime* const runtime;
  const std::string policy_dir;
  const Json settings;

  std::mutex mutex;
  std::shared_ptr<const Revision> builtin;
  std::shared_ptr<const Revision> installed;  // what `identity` names
  FileIdentity identity;

  std::string Path(const std::string& name) const { return policy_dir + "/" + name; }
  std::string StatePath() const { return Path(kStateName); }

  // Prepare fails closed: no message of this kind leads to another blob.
  Status Closed(const Status& why) const {
    return Status(Code::kPolicy, "no policy decides on this node: " + why.message(),
                  why.hint().empty() ? "install a policy again: dvdi policy install FILE --allow-downgrade"
                                     : why.hint())
        .WithPath(why.path().empty() ? StatePath() : why.path());
  }

  // The imports that make sense before there is an operation.
  Result<std::string> Host(std::string_view name, std::string_view) const {
    if (name == "log") return std::string(R"({"ok":{}})");
    if (name == "now") return Dump(Json{{"ok", {{"unix_ms", env.clock->WallMs()}, {"left_ms", 1'000}}}});
    if (name == "random") {
      uint32_t value = 0;
      env.random->Fill(&value, sizeof value);
      return Dump(Json{{"ok", {{"u32", value}}}});
    }
    return Dump(Json{{"error",
                      {{"code", "refused"},
                       {"message", std::string(name) + " is not available outside of an operation"}}}});
  }

  Result<Json> Ask(const PolicyModule& module, const std::string& export_name, const Json& input) const {
    auto host = [this](std::string_view name, std::string_view request) { return Host(name, request); };
    DVDI_ASSIGN_OR_RETURN(std::string answer, module.Call(export_name, Dump(input), host));
    return ParsePolicyAnswer(export_name, answer);
  }

  // A module with the configuration that it made of the settings.
  Result<std::shared_ptr<const Revision>> Configure(std::shared_ptr<const PolicyModule> module,
                                                    std::string source) const {
    const Json input = {{"settings", settings}, {"engine", {{"version", DVDI_VERSION}, {"abi", 1}}}};
    auto config = Ask(*module, "configure", input);
    if (!config.ok()) {
      // A blob that failed is kPolicy; one that answered has something to say about the settings.
      if (config.status().code() == Code::kPolicy) return config.status();
      return Status(Code::kInvalid, "the policy refuses its settings: " + config.status().message(),
                    config.status().hint());
    }
    auto revision = std::make_shared<Revision>();
    revision->module = std::move(module);
    revision->config = std::move(*config);
    revision->source = std::move(source);
    return std::shared_ptr<const Revision>(std::move(revision));
  }

  Result<std::shared_ptr<const Revision>> Builtin() {
    if (builtin == nullptr) {
      DVDI_ASSIGN_OR_RETURN(auto module, runtime->Load(BuiltinPolicy()));
      DVDI_ASSIGN_OR_RETURN(builtin, Configure(std::move(module), "built-in"));
    }
    return builtin;
  }

  // state.json and the blob that it names. `st` is of the state.json that was read.
  Result<std::shared_ptr<const Revision>> Read(struct stat* st) const {
    Sys* sys = env.sys;
    DVDI_ASSIGN_OR_RETURN(SysFd folder, OpenOwnFolder(sys, policy_dir, false));
    DVDI_ASSIGN_OR_RETURN(PolicyState state, ReadState(folder.get(), st));
    if (std::find(state.barred.begin(), state.barred.end(), state.active) != state.barred.end())
      return Status(Code::kPolicy, StatePath() + ": the active blob " + state.active + " is barred",
                    "install another policy: dvdi policy install FILE");
    const std::string blobs = Path("blobs"), name = state.active + ".wasm";
    DVDI_ASSIGN_OR_RETURN(SysFd blob_folder, OpenOwnFolder(sys, blobs, false));
    DVDI_ASSIGN_OR_RETURN(std::string blob,
                          ReadOwnFileAt(sys, blob_folder.get(), name, kMaxBlobBytes, blobs + "/" + name));
    if (Sha256Hex(blob) != state.active)
      return Status(Code::kPolicy, blobs + "/" + name + " is damaged: its SHA-256 is another",
                    "install that policy again: dvdi policy install FILE");
    DVDI_ASSIGN_OR_RETURN(auto module, runtime->Load(blob));
    if (module->manifest().version != state.version)
      return Status(Code::kPolicy, StatePath() + " is damaged: it names version " + state.version +
                                       ", the blob is " + module->manifest().version);
    return Configure(std::move(module), blobs + "/" + name);
  }

  Result<PolicyState> ReadState(int folder, struct stat* st) const {
    DVDI_ASSIGN_OR_RETURN(std::string text,
                          ReadOwnFileAt(env.sys, folder, kStateName, kMaxStateBytes, StatePath(), st));
    auto state = ParsePolicyState(text);
    if (!state.ok()) return Status(Code::kPolicy, StatePath() + " is damaged: " + state.status().message());
    return state;
  }

  Result<std::shared_ptr<const Revision>> Current() {
    auto revision = Select();
    if (!revision.ok() && !DVDI_GUARD(policy_fails_closed)) return Builtin();
    return revision;
  }

  Result<std::shared_ptr<const Revision>> Select() {
    if (policy_dir.empty()) return Builtin();
    struct stat st;
    const int r = env.sys->FstatAt(AT_FDCWD, StatePath().c_str(), &st, AT_SYMLINK_NOFOLLOW);
    if (r == 0 && installed != nullptr && Identity(st) == identity) return installed;
    installed = nullptr;
    if (r == -ENOENT) {
      struct stat marker;
      const int m = env.sys->FstatAt(AT_FDCWD, Path(kMarker).c_str(), &marker, AT_SYMLINK_NOFOLLOW);
      if (m == -ENOENT) return Builtin();
      if (m < 0) return Closed(Status::FromErrno(-m, "cannot stat " + Path(kMarker), Path(kMarker)));
      return Closed(Status(Code::kPolicy, StatePath() + " is missing, though a policy was installed here"));
    }
    if (r < 0) return Closed(Status::FromErrno(-r, "cannot stat " + StatePath(), StatePath()));
    auto revision = Read(&st);
    if (!revision.ok()) {
      // Settings that the policy refuses are told as such; everything else is a policy that is not there.
      if (revision.status().code() == Code::kInvalid) return revision.status();
      return Closed(revision.status());
    }
    installed = *revision;
    identity = Identity(st);
    return installed;
  }

  Status Refused(std::string why, std::string hint) const {
    return Status(Code::kRefused, "the policy is not installed: " + std::move(why), std::move(hint))
        .WithPath(policy_dir);
  }

  // What is known of earlier installations; the default where there were none.
  Result<PolicyState> Before(int folder, bool allow_downgrade) const {
    struct stat st;
    auto state = ReadState(folder, &st);
    if (state.ok()) return state;
    struct stat marker;
    const bool used = env.sys->FstatAt(folder, kMarker, &marker, AT_SYMLINK_NOFOLLOW) != -ENOENT;
    if (state.status().error_number() == ENOENT && !used) return PolicyState();
    // Without it nobody knows the watermark, nor what is barred.
    if (!allow_downgrade)
      return Refused(state.status().message(),
                     "restore the file, or say that no older version is to be feared: --allow-downgrade");
    const std::string aside = "state.json.damaged-" + std::to_string(env.clock->WallMs());
    const int r = env.sys->RenameAt(folder, kStateName, folder, aside.c_str());
    if (r < 0 && r != -ENOENT)
      return Status::FromErrno(-r, "cannot keep the damaged " + StatePath() + " aside", StatePath());
    return PolicyState();
  }

  Result<std::shared_ptr<const Revision>> Install(std::string_view blob, bool allow_downgrade) {
    if (policy_dir.empty()) return Refused("no policy folder is set", "set policy_dir");
    Sys* sys = env.sys;
    // Everything that the blob can be refused for comes before the first write.
    DVDI_ASSIGN_OR_RETURN(auto module, runtime->Load(blob));
    const std::string sha = module->sha256(), version = module->manifest().version;
    const std::string blobs = Path("blobs"), name = sha + ".wasm";
    DVDI_ASSIGN_OR_RETURN(auto revision, Configure(module, blobs + "/" + name));
    auto canary = Ask(*module, "canary", Json{{"config", revision->config}});
    if (!canary.ok())
      return Status(Code::kPolicy,
                    "the policy is not installed: its canary failed: " + canary.status().message(),
                    canary.status().hint());
    if (GetInt(*canary, "checks", -1) < 0)
      return Status(Code::kPolicy,
                    "the policy is not installed: its canary does not say how many checks it made");

    DVDI_ASSIGN_OR_RETURN(SysFd folder, OpenOwnFolder(sys, policy_dir, true));
    SysFd lock(sys, sys->OpenAt(folder.get(), "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (lock.get() < 0) return Status::FromErrno(-lock.get(), "cannot open " + Path("lock"), Path("lock"));
    if (const int r = sys->TryLock(lock.get()); r == -EAGAIN || r == -EACCES)
      return Refused("another installation is under way", "try again");
    else if (r < 0)
      return Status::FromErrno(-r, "cannot lock " + Path("lock"), Path("lock"));

    DVDI_ASSIGN_OR_RETURN(PolicyState state, Before(folder.get(), allow_downgrade));
    if (std::find(state.barred.begin(), state.barred.end(), sha) != state.barred.end())
      return Refused("the blob " + sha + " is barred", "install another version");
    const auto mark = ParseSemVer(state.watermark);
    const bool older = mark && *ParseSemVer(version) < *mark;
    if (older && !allow_downgrade)
      return Refused("version " + version + " is older than " + state.watermark + ", which was active here",
                     "to go back on purpose: --allow-downgrade");

    DVDI_ASSIGN_OR_RETURN(SysFd blob_folder, OpenOwnFolder(sys, blobs, true));
    DVDI_RETURN_IF_ERROR(ReplaceFile(env, blob_folder.get(), name, blob, blobs + "/" + name, true));
    state.active = sha;
    state.version = version;
    if (!older) state.watermark = version;
    state.installed_ms = env.clock->WallMs();
    DVDI_RETURN_IF_ERROR(ReplaceFile(env, folder.get(), kStateName, ToText(state), StatePath(), true));
    // Behind state.json: a first installation that dies before it leaves the built-in blob in force.
    DVDI_RETURN_IF_ERROR(ReplaceFile(env, folder.get(), kMarker, "", Path(kMarker), true));

    struct stat st;
    if (const int r = sys->FstatAt(folder.get(), kStateName, &st, AT_SYMLINK_NOFOLLOW); r < 0)
      return Status::FromErrno(-r, "cannot stat " + StatePath(), StatePath());
    installed = revision;
    identity = Identity(st);
    return revision;
  }
};

PolicySelector::PolicySelector(const Env& env, PolicyRuntime* runtime, std::string policy_dir, Json settings)
    : state_(std::make_unique<State>(env, runtime, std::move(policy_dir), std::move(settings))) {}

PolicySelector::~PolicySelector() = default;

Result<std::shared_ptr<const Revision>> PolicySelector::Current() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  try {
    return state_->Current();
  } catch (const std::exception& e) {
    return Status(Code::kInternal, std::string("cannot select the policy: ") + e.what());
  }
}

Result<std::shared_ptr<const Revision>> PolicySelector::Install(std::string_view blob, bool allow_downgrade) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  try {
    return state_->Install(blob, allow_downgrade);
  } catch (const std::exception& e) {
    return Status(Code::kInternal, std::string("cannot install the policy: ") + e.what());
  }
}

}  // namespace dvdi
