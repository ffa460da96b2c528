// JSON on the C++ side (nlohmann), without its exceptions.
#ifndef DVDI_BASE_JSON_H_
#define DVDI_BASE_JSON_H_

// The library asserts what its own code must have done, at each value that is made, moved or dropped: a
// twelfth of an engine's time. Sanitizers' builds keep it, for a const object that is asked for a member that
// it lacks is caught by nothing else.
#ifndef DVDI_SANITIZED
#define JSON_ASSERT(x) static_cast<void>(0)
#endif

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"

namespace dvdi {

using Json = nlohmann::json;

// Parses one document of at most `max_depth` nested levels (nothing may follow it).
// kInvalid, with the byte offset, for anything else. `what` names the source in the message.
Result<Json> ParseJson(std::string_view text, std::string_view what, int max_depth = 64);

// Compact text; invalid UTF-8 is replaced, never thrown about.
std::string Dump(const Json& value);
// The same of what others are asked for: kInvalid, with the text, where one is not valid UTF-8. Replaced, two
// names would become one.
Result<std::string> DumpWhole(const Json& value);
// Appends the text as a JSON string, in quotes, as Dump writes one.
void AppendJson(std::string* to, std::string_view text);

// Members read without exceptions: the fallback where the key is missing or of another type.
std::string GetString(const Json& object, const char* key, std::string_view fallback = "");
int64_t GetInt(const Json& object, const char* key, int64_t fallback = 0);
bool GetBool(const Json& object, const char* key, bool fallback = false);
// The member, or a static null.
const Json& GetMember(const Json& object, const char* key);
// Puts the members of `more` into the object; nothing where it is no object, as what was kept may have been
// damaged.
void AddMembers(Json* object, const Json& more);
// The member whose name matches without case (as the reference client does), or a static null.
const Json& GetMemberNoCase(const Json& object, std::string_view key);

}  // namespace dvdi

#endif  // DVDI_BASE_JSON_H_
