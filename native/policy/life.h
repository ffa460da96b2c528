// The life of a blob on a node: checked, kept, active, shadow, taken back, barred. docs/policies.md tells it
// to operators. What operations have to say of a blob (canary, shadow, failures) is the engine's to ask.
#ifndef DVDI_POLICY_LIFE_H_
#define DVDI_POLICY_LIFE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "policy/revision.h"
#include "policy/signature.h"

namespace dvdi {

// Whose blobs are taken, from the engine's settings.
struct PolicyTrust {
  std::vector<MinisignKey> keys;
  bool unsigned_allowed = false;
};

// A blob that passed every check of its own.
struct PolicyCandidate {
  std::string blob, signature;  // signature: its text; "" where there is none
  std::string key_id, comment;  // who signed it, and the signed comment; "" where nobody did
  std::shared_ptr<const Revision> revision;
  int64_t checks = 0;  // of its canary

  const PolicyManifest& manifest() const { return revision->module->manifest(); }
  const std::string& sha256() const { return revision->module->sha256(); }
};

// What is kept in the folder.
struct KeptPolicy {
  PolicyFolder::Entry entry;
  PolicyManifest manifest;  // empty where the blob is damaged
  std::string key_id, comment;
  std::string problem;   // why it could not be read, or ""
  bool builtin = false;  // inside this library, whether it is kept in the folder or not
};

struct EarlierPolicy {
  std::shared_ptr<const Revision> revision;
  Json passed_over = Json::array();  // [{"sha256", "why"}], the last one first
};

// Thread-safe, and safe beside other processes.
class PolicyLife {
 public:
  // `limits`: what a blob's bytes are held against when it is only looked at.
  PolicyLife(PolicySelector* selector, const PolicyLimits& limits) : selector_(*selector), limits_(limits) {}

  // Everything that a blob can be refused for by itself, without a write: signature, pinned SHA-256 ("" for
  // none), bytes, code, settings, its canary. kRefused for what is not trusted, kPolicy for what is no
  // policy, kInvalid for settings that it refuses.
  Result<PolicyCandidate> Check(std::string blob, std::optional<std::string> signature,
                                const PolicyTrust& trust, const std::string& pinned) const;
  // The same of one that is kept.
  Result<PolicyCandidate> CheckKept(const std::string& sha256, const PolicyTrust& trust) const;

  // Keeps it; no more than that.
  Status Keep(const PolicyCandidate& candidate) const;
  // kRefused for a blob that is barred, and for one whose version is older than the newest that was ever
  // active, unless `allow_downgrade`. `older`, where given: whether it is. `version` is one.
  static Status MayBeActive(const PolicyState& state, const std::string& sha256, const std::string& version,
                            bool allow_downgrade, bool* older = nullptr);
  // Keeps it and makes it the active one. kRefused for one that is barred, and for an older version than the
  // newest that was ever active unless `allow_downgrade`. `event` for the history.
  Result<std::shared_ptr<const Revision>> Activate(const PolicyCandidate& candidate, bool allow_downgrade,
                                                   const char* event) const;
  // Check and Activate of a blob that nobody signed.
  Result<std::shared_ptr<const Revision>> Install(std::string_view blob, bool allow_downgrade) const;

  // What GoBack goes to: the last one of state.Earlier() that can decide. One that cannot, since it is
  // damaged, not kept any more or refuses the settings, is passed over. kNotFound where there is nothing to
  // go back to; the last one's error where none can decide, or where it is the system's and may pass.
  Result<EarlierPolicy> Earlier(const PolicyState& state) const;
  // Back to the one before; what is left, or passed over, is gone back to no more. `from`: only where that
  // one is still active ("" for whichever); `bar`: it may not become active again. Errors as of Earlier.
  Result<EarlierPolicy> GoBack(const std::string& from, bool bar, const char* event,
                               const std::string& why) const;
  // One that is active is gone back from first.
  Status Bar(const std::string& sha256, const std::string& why) const;
  Status Unbar(const std::string& sha256) const;
  // A shadow takes the place of the one before it. nullopt ends it; `only`: where it is of that blob.
  Status SetShadow(const std::optional<ShadowState>& shadow, const std::string& only,
                   const std::string& why) const;

  // The state; one without an active blob where nothing was ever installed.
  Result<PolicyState> State() const;
  // Those of the folder, the oldest first, and the built-in one, which is always there.
  Result<std::vector<KeptPolicy>> Kept() const;
  // The bytes of one of these.
  Result<std::string> Bytes(const std::string& sha256) const;
  // The SHA-256 that an operator means by a hash, its beginning (6 letters at least), NAME, VERSION,
  // NAME@VERSION or "built-in"; the newest kept where several are of one name. kNotFound, kInvalid where it
  // is not clear.
  Result<std::string> Find(const std::string& text) const;

 private:
  // Check, of a blob whose SHA-256 is known.
  Result<PolicyCandidate> CheckBytes(std::string blob, const std::string& sha256,
                                     std::optional<std::string> signature, const PolicyTrust& trust) const;
  // Changes the state under the lock; `history` is what the history gets, null for nothing.
  Result<PolicyState> Change(
      const std::function<Status(const PolicyFolder::Writer&, PolicyState*, Json* history)>& change,
      std::shared_ptr<const Revision> active, bool forget_damaged) const;

  PolicySelector& selector_;
  const PolicyLimits limits_;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_LIFE_H_
