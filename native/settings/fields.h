// One table of all settings: the loader, its messages and the test of the documentation read it.
#ifndef DVDI_SETTINGS_FIELDS_H_
#define DVDI_SETTINGS_FIELDS_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "settings/settings.h"

namespace dvdi {

// A member that holds a value.
struct SettingField {
  std::string name;     // "plugins.sockets"; in "drivers.*.max_in_flight" the star is a driver's name
  std::string accepts;  // for messages: "a list of absolute paths"
  // Takes the value; false where it is not what `accepts` says.
  std::function<bool(const Json& value, const std::string& driver, Settings* settings)> set;
};

const std::vector<SettingField>& SettingFields();

// Values as people write them: milliseconds ("30s", 1500), bytes ("64MiB", 4096).
bool ReadDuration(const Json& value, int64_t* ms);
bool ReadSize(const Json& value, int64_t* bytes);
// "/a/b": absolute, without "." and ".." and doubled or trailing slashes, without control characters.
bool IsSettingPath(std::string_view path);
// The NAME of {"secret": NAME}: a plain file name, no hidden one.
bool IsSecretName(std::string_view name);
// The name of an option as it is compared: in any case, without a prefix ("dvdi/"), '-' and '_', and without
// blanks and control characters, of which a reader may take those around a name for none of its own.
std::string OptionKey(std::string_view name);

}  // namespace dvdi

#endif  // DVDI_SETTINGS_FIELDS_H_
