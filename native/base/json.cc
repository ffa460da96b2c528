#include "base/json.h"

#include <strings.h>

#include <algorithm>

#include "base/text.h"

namespace dvdi {
namespace {
const Json kNull;

// The brackets that open, in strings too: most texts have fewer than may be open at once.
int Opening(std::string_view text) {
  int found = 0;
  for (char c : text) found += (c | 0x20) == '{' ? 1 : 0;  // '[' | 0x20 is '{' too
  return found;
}

// Levels of brackets that are open at once at most, outside of strings. More than that is for the parser to
// say.
int Depth(std::string_view text) {
  int depth = 0, deepest = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '{':
      case '[': deepest = std::max(deepest, ++depth); break;
      case '}':
      case ']': --depth; break;
      case '"':
        for (++i; i < text.size() && text[i] != '"'; ++i)
          if (text[i] == '\\') ++i;
        break;
      default: break;
    }
  }
  return deepest;
}

std::string DumpByLibrary(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The brackets and the strings of printable ASCII, which are nearly all of a text, are written here: the
// library decodes each string letter by letter, which took an engine a twenty-fifth of its time.
void AppendValue(std::string* to, const Json& value) {
  char mark = 0;  // before the next member
  switch (value.type()) {
    case Json::value_t::object:
      for (auto it = value.begin(); it != value.end(); ++it, mark = ',') {
        to->push_back(mark == 0 ? '{' : mark);
        AppendJson(to, it.key());
        to->push_back(':');
        AppendValue(to, *it);
      }
      *to += mark == 0 ? "{}" : "}";
      return;
    case Json::value_t::array:
      for (auto it = value.begin(); it != value.end(); ++it, mark = ',') {
        to->push_back(mark == 0 ? '[' : mark);
        AppendValue(to, *it);
      }
      *to += mark == 0 ? "[]" : "]";
      return;
    case Json::value_t::string: AppendJson(to, value.get_ref<const std::string&>()); return;
    default: *to += DumpByLibrary(value);
  }
}

// A key or a text in it that is not valid UTF-8, or null. As deep as its maker made it.
const std::string* NotUtf8(const Json& value) {
  if (value.is_string())
    return IsValidUtf8(value.get_ref<const std::string&>()) ? nullptr : &value.get_ref<const std::string&>();
  if (!value.is_structured()) return nullptr;
  for (auto it = value.begin(); it != value.end(); ++it) {
    if (value.is_object() && !IsValidUtf8(it.key())) return &it.key();
    if (const std::string* found = NotUtf8(*it); found != nullptr) return found;
  }
  return nullptr;
}

}  // namespace

Result<Json> ParseJson(std::string_view text, std::string_view what, int max_depth) {
  // Before it is parsed: a filter that the parser asks at each bracket makes it half as fast.
  if (Opening(text) > max_depth && Depth(text) > max_depth)
    return Status(Code::kInvalid, std::string(what) + " is nested deeper than " + std::to_string(max_depth));
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::parse_error& e) {
    return Status(Code::kInvalid,
                  std::string(what) + " is not JSON (at byte " + std::to_string(e.byte) + ")");
  } catch (const std::exception& e) {
    return Status(Code::kInvalid, std::string(what) + " is not JSON");
  }
}

std::string Dump(const Json& value) {
  std::string text;
  AppendValue(&text, value);
  return text;
}

Result<std::string> DumpWhole(const Json& value) {
  if (const std::string* text = NotUtf8(value); text != nullptr)
    return Status(Code::kInvalid, "\"" + OneLine(*text, 200) + "\" is not valid UTF-8",
                  "Write it in UTF-8: another encoding of the terminal, or of a script, gives other bytes");
  return Dump(value);
}

void AppendJson(std::string* to, std::string_view text) {
  size_t escapes = 0;
  bool plain = true;
  for (unsigned char c : text) {
    escapes += c == '"' || c == '\\';
    plain &= c >= 0x20 && c < 0x7f;
  }
  if (!plain) {
    *to += DumpByLibrary(Json(text));
    return;
  }
  *to += '"';
  if (escapes == 0) {
    *to += text;
  } else {
    const size_t begin = to->size();
    to->resize(begin + text.size() + escapes);
    char* at = to->data() + begin;
    for (char c : text) {
      if (c == '"' || c == '\\') *at++ = '\\';
      *at++ = c;
    }
  }
  *to += '"';
}

const Json& GetMember(const Json& object, const char* key) {
  if (!object.is_object()) return kNull;
  auto it = object.find(key);
  return it == object.end() ? kNull : *it;
}

void AddMembers(Json* object, const Json& more) {
  if (more.is_object()) object->update(more);
}

const Json& GetMemberNoCase(const Json& object, std::string_view key) {
  if (!object.is_object()) return kNull;
  for (auto it = object.begin(); it != object.end(); ++it)
    if (it.key().size() == key.size() && strncasecmp(it.key().data(), key.data(), key.size()) == 0)
      return *it;
  return kNull;
}

std::string GetString(const Json& object, const char* key, std::string_view fallback) {
  const Json& m = GetMember(object, key);
  return m.is_string() ? m.get<std::string>() : std::string(fallback);
}

int64_t GetInt(const Json& object, const char* key, int64_t fallback) {
  const Json& m = GetMember(object, key);
  return m.is_number_integer() ? m.get<int64_t>() : fallback;
}

bool GetBool(const Json& object, const char* key, bool fallback) {
  const Json& m = GetMember(object, key);
  return m.is_boolean() ? m.get<bool>() : fallback;
}

}  // namespace dvdi
