// YAML as people write it in settings and statements, into JSON.
#ifndef DVDI_BASE_YAML_H_
#define DVDI_BASE_YAML_H_

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"

namespace dvdi {

struct YamlDocument {
  Json value;
  // The line (from 1) of each member and item, by JSON pointer ("/plugins/sockets/0").
  std::map<std::string, int> lines;
};

struct YamlBounds {
  size_t bytes = 1 << 20;
  int depth = 32;
  // Whether the lines are wanted: each costs the length of all keys that it is below.
  bool lines = true;
};

// One document (none at all is null), its scalars read by the core schema of YAML 1.2: true, false, null,
// integers and decimals are what they look like; everything else, everything quoted, and "yes", "no", "on",
// "off" are text. Refused, with the line: anchors and aliases, tags other than the core ones, merge keys,
// keys that are no scalars, duplicate keys, a second document, numbers that JSON cannot hold, what is too
// long or too deep. `what` names the source in the message.
Result<YamlDocument> ParseYamlDocument(std::string_view text, std::string_view what,
                                       const YamlBounds& bounds = {});
// The value alone, in memory of the text's order.
Result<Json> ParseYaml(std::string_view text, std::string_view what);

// "~1a" for "/a": one token of a JSON pointer.
std::string JsonPointerToken(std::string_view key);

}  // namespace dvdi

#endif  // DVDI_BASE_YAML_H_
