// Which blob is active on this node: policy_dir/state.json, checked at each operation.
#ifndef DVDI_POLICY_REVISION_H_
#define DVDI_POLICY_REVISION_H_

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "policy/folder.h"
#include "policy/runtime.h"

namespace dvdi {

// A blob with the configuration that it normalized: what decides an operation.
struct Revision {
  std::shared_ptr<const PolicyModule> module;
  Json config;         // the answer of `configure`
  std::string source;  // "built-in" or the blob's path
};

// What decides beside the active one.
struct ShadowRevision {
  std::shared_ptr<const Revision> revision;
  ShadowState bounds;
};

// Thread-safe. A test may put another one in its place.
class PolicySelector {
 public:
  // `settings` is what `configure` gets as {"settings": …}. The runtime must outlive this.
  PolicySelector(const Env& env, PolicyRuntime* runtime, std::string policy_dir, Json settings);
  virtual ~PolicySelector();

  // The revision for an operation that begins now: what state.json names (re-read when its inode,
  // size or time changed), or the built-in blob where no policy was ever installed. kPolicy where
  // state.json or the blob is unreadable, damaged, barred or not owned by us (prepare fails closed).
  virtual Result<std::shared_ptr<const Revision>> Current();
  // The shadow that belongs to the revision that Current gave last; null where there is none, or where it
  // cannot be loaded.
  std::shared_ptr<const ShadowRevision> Shadow();
  // Lets go of what a swap has left in memory: Current leaves that to whoever has given its answer.
  void Tidy();
  // A blob of the folder, active or not, made ready to decide.
  Result<std::shared_ptr<const Revision>> Installed(const std::string& sha256) const {
    return Installed(sha256, nullptr);
  }

  // A module with the configuration that it makes of the settings. kInvalid where it refuses them.
  Result<std::shared_ptr<const Revision>> Configure(std::shared_ptr<const PolicyModule> module,
                                                    std::string source) const {
    return Configure(std::move(module), std::move(source), nullptr);
  }
  // Calls an export outside of any operation: the imports that need one answer with an error.
  Result<Json> Ask(const PolicyModule& module, const std::string& export_name, const Json& input) const;
  // Saves the next Current from reading what was just written: `st` is of that state.json.
  void Prime(std::shared_ptr<const Revision> revision, const PolicyState& state, const struct stat& st);

  const Env& env() const { return env_; }
  PolicyRuntime* runtime() const { return runtime_; }
  const PolicyFolder& folder() const { return folder_; }

 private:
  struct Known;
  using Left = std::vector<std::shared_ptr<const void>>;
  // As above; what is needed no more lives on in `left`, where one is given.
  Result<std::shared_ptr<const Revision>> Installed(const std::string& sha256, Left* left) const;
  Result<std::shared_ptr<const Revision>> Configure(std::shared_ptr<const PolicyModule> module,
                                                    std::string source, Left* left) const;
  Result<Json> Ask(PolicyInstance* instance, const std::string& export_name, const Json& input) const;
  Result<std::shared_ptr<const Revision>> Select();
  // A blob of the folder, or what is still in memory of it.
  Result<std::shared_ptr<const Revision>> Ready(const std::string& sha256);
  Result<std::shared_ptr<const Revision>> Builtin();
  Status Closed(const Status& why) const;
  Result<std::string> Host(std::string_view name) const;

  const Env env_;
  PolicyRuntime* const runtime_;
  const PolicyFolder folder_;
  const Json settings_;
  std::mutex mutex_;
  std::unique_ptr<Known> known_;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_REVISION_H_
