// The host calls of a record, which answer those of a replay.
#ifndef DVDI_POLICY_REPLAY_TAPE_H_
#define DVDI_POLICY_REPLAY_TAPE_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace dvdi {

// The answer to a host call that is neither matched nor compared; null for all others.
const char* AlwaysAnswered(std::string_view import);

// Used by one thread, for one replay.
class ReplayTape {
 public:
  // `calls`: the member of that name of a record.
  explicit ReplayTape(const Json& calls);

  // The recorded answer to a host call: {"ok": …} or {"error": …}. nullopt where an item of it has none (any
  // more); ended() says which then.
  std::optional<Json> Answer(std::string_view import, std::string_view request);

  // The item that has no recorded answer; null as long as all had one.
  const Json& ended() const { return ended_; }
  bool ended_by_effect() const { return ended_by_effect_; }
  // The first recorded effect that nobody asked for, or null.
  Json FirstMissing() const;

 private:
  struct Recorded {
    Json item;  // as a result shows it
    Json answer;
    bool effect = false, used = false;
  };
  void Record(const std::string& import, const Json& request, const Json& answer);
  void Add(const std::string& key, Json item, Json answer, bool effect);
  // The next answer to that key, or null.
  const Json* Take(const std::string& key);

  std::vector<Recorded> recorded_;
  // By key, in the record's order, those that are not used yet; the next one last.
  std::map<std::string, std::vector<size_t>> unused_;
  Json ended_;
  bool ended_by_effect_ = false;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_REPLAY_TAPE_H_
