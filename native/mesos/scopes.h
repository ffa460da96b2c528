// Which containers may have volumes: of all others nothing is asked, at their end or for their usage.
// One thread at a time.
#ifndef DVDI_MESOS_SCOPES_H_
#define DVDI_MESOS_SCOPES_H_

#include <cstdint>
#include <map>
#include <string>

namespace dvdi_mesos {

class Scopes {
 public:
  // A container of this scope is launched, or was found. A standalone container may have the ID of one that
  // ended before it: what is still under way for the former one is not for this one.
  void Begin(const std::string& scope) { of_[scope] = ++last_; }
  // The engine could not say what was there before: any container may have volumes.
  void SetUnread() { unread_ = true; }

  bool MayHave(const std::string& scope) const { return unread_ || of_.count(scope) != 0; }
  bool Any() const { return unread_ || !of_.empty(); }
  // Which launch of this scope is the last one, for the two below; 0 for one that was there before and is not
  // known.
  uint64_t Launch(const std::string& scope) const {
    const auto found = of_.find(scope);
    return found == of_.end() ? 0 : found->second;
  }
  // Whether nothing of this scope has begun since then.
  bool Still(const std::string& scope, uint64_t launch) const { return Launch(scope) == launch; }
  // That launch's volumes are given back.
  void End(const std::string& scope, uint64_t launch) {
    if (Still(scope, launch)) of_.erase(scope);
  }

 private:
  std::map<std::string, uint64_t> of_;
  uint64_t last_ = 0;
  bool unread_ = false;
};

}  // namespace dvdi_mesos

#endif  // DVDI_MESOS_SCOPES_H_
