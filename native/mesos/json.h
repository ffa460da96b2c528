// Reading JSON that came from the engine, or from a user's hand: nothing here throws for what is in it.
#ifndef DVDI_MESOS_JSON_H_
#define DVDI_MESOS_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace dvdi_mesos {
using Json = nlohmann::json;

// null for what is no JSON.
inline Json Parse(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json() : json;
}

// Whatever bytes are in it.
inline std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

inline const Json& Member(const Json& json, const char* name) {
  static const Json none;
  if (!json.is_object()) return none;
  auto found = json.find(name);
  return found == json.end() ? none : *found;
}

inline std::string Text(const Json& json, const char* name) {
  const Json& value = Member(json, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

inline uint64_t Count(const Json& json, const char* name) {
  const Json& value = Member(json, name);
  return value.is_number_unsigned() ? value.get<uint64_t>() : 0;
}

}  // namespace dvdi_mesos

#endif  // DVDI_MESOS_JSON_H_
