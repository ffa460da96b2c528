// Which blob is active on this node: policy_dir/state.json, checked at each operation.
#ifndef DVDI_POLICY_REVISION_H_
#define DVDI_POLICY_REVISION_H_

#include <memory>
#include <mutex>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "policy/runtime.h"

namespace dvdi {

// A blob with the configuration that it normalized: what decides an operation.
struct Revision {
  std::shared_ptr<const PolicyModule> module;
  Json config;         // the answer of `configure`
  std::string source;  // "built-in" or the blob's path
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
  // Installs a blob as active: validated, `canary` run, written to policy_dir/blobs/SHA256.wasm, then
  // state.json replaced by fsync and rename. The version watermark is kept in state.json; an older
  // version needs `allow_downgrade`.
  Result<std::shared_ptr<const Revision>> Install(std::string_view blob, bool allow_downgrade);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_REVISION_H_
