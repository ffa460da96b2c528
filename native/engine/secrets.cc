#include "engine/secrets.h"

#include <algorithm>
#include <cctype>

#include "base/guards.h"
#include "base/json.h"
#include "base/text.h"
#include "engine/secret_file.h"
#include "settings/fields.h"

namespace dvdi {
namespace {

constexpr const char* kBlank = " \t\r\n";

// As the settings compare option names: case, '-', '_', blanks and a prefix as Marathon's "dvdi/" make no
// difference.
bool IsListed(const Settings& settings, std::string_view name) {
  if (name.empty() || settings.secret_options.empty()) return false;
  const std::string key = OptionKey(name);
  return std::any_of(settings.secret_options.begin(), settings.secret_options.end(),
                     [&](const std::string& listed) { return OptionKey(listed) == key; });
}

// A value that was just taken has its handle already: the policy compares declarations, of which two that are
// the same must not seem to contradict each other. So far back it is looked for.
constexpr size_t kLookBack = 1024;

// The handle of the next value. `random` null: by its number.
std::string HandleOf(Random* random, const std::string& value, SecretList* taken) {
  for (size_t i = 0; i < std::min(taken->size(), kLookBack); ++i) {
    const auto& [handle, known] = (*taken)[taken->size() - 1 - i];
    if (known == value) return handle;
  }
  std::string handle = random != nullptr
                           // No text of a user can be mistaken for it.
                           ? "dvdi-secret-" + random->HexId(16)
                           : "dvdi-setting-" + std::to_string(taken->size() + 1);
  taken->push_back({handle, value});
  return handle;
}

struct Span {
  size_t begin, end;   // of a JSON string, quotes included, of a list or an object, or of a number or word
  bool pairs = false;  // a text in which the values are
};

// The values to hide in a JSON text: those of listed members, of {"key": listed, "value": …} pairs, and those
// in the variables of a Marathon app's environment, which may be DVDI_VOLUME_OPTS. The text need not be
// valid: what is not understood is left alone, and the policy's reader refuses it.
class JsonSecrets {
 public:
  JsonSecrets(const Settings& settings, const std::string& text) : settings_(settings), text_(text) {}

  std::vector<Span> Find() {
    for (size_t at = 0; at < text_.size();) {
      char c = text_[at];
      if (c == '"') {
        size_t end = EndOfString(at);
        OnString({at, end});
        at = end;
        continue;
      }
      if (size_t end = EndOfBare(at); end > at) {
        // A number is written into an option as it is. A name without quotes is no JSON's, but a value may be
        // behind it.
        const bool hidden = after_colon_ && listed_;
        if (after_colon_) OnValue({at, end});
        if (!hidden) SetMember(text_.substr(at, end - at));
        at = end;
        continue;
      }
      if (c == '{' || c == '[') Open(at);
      if (c == '}' || c == ']') Close(at);
      if (c == ',') SetMember("");
      if (c == ':') after_colon_ = true;
      ++at;
    }
    while (!frames_.empty()) EndFrame(text_.size());  // of a text that breaks off
    std::sort(found_.begin(), found_.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
    return found_;
  }

 private:
  struct Frame {
    size_t begin, values;  // in the text; of its "value" members in values_
    bool hidden, is_value, key_is_listed = false;
  };
  // The name of what comes behind a colon.
  void SetMember(std::string name) {
    member_ = std::move(name);
    listed_ = IsListed(settings_, member_);
    after_colon_ = false;
  }
  // A list or an object under a listed name is hidden as a whole: no reader takes it for a value, but what is
  // in it was meant to be one, and the record shows what was refused.
  void Open(size_t at) {
    const bool value = after_colon_ && !IsReference(at);
    const bool hidden = value && listed_;
    frames_.push_back({at, values_.size(), hidden, value && !hidden && member_ == "value"});
    SetMember("");
  }
  // One that closes nothing is passed over: where nobody can say where a value ends, it ends with the text.
  void Close(size_t at) {
    SetMember("");
    const char open = text_[at] == '}' ? '{' : '[';
    if (!frames_.empty() && text_[frames_.back().begin] == open) EndFrame(at + 1);
  }
  void EndFrame(size_t end) {
    const Frame f = frames_.back();
    frames_.pop_back();
    const auto values = values_.begin() + static_cast<long>(f.values);
    if (f.key_is_listed) found_.insert(found_.end(), values, values_.end());
    values_.erase(values, values_.end());
    if (f.hidden) found_.push_back({f.begin, end});
    if (f.is_value) values_.push_back({f.begin, end});
  }
  size_t EndOfString(size_t at) const {
    for (++at; at < text_.size(); ++at) {
      if (text_[at] == '\\')
        ++at;
      else if (text_[at] == '"')
        return at + 1;
    }
    return text_.size();
  }
  // The end of what stands there without quotes, or `at` where nothing does. A listed value goes on as far as
  // it can: of a text that is no JSON nobody knows which words are its own.
  size_t EndOfBare(size_t at) const {
    const unsigned char c = static_cast<unsigned char>(text_[at]);
    if (std::isspace(c) != 0 || std::string_view("{}[]:,").find(text_[at]) != std::string_view::npos)
      return at;
    const bool listed = after_colon_ && listed_;
    if (!listed && std::isalnum(c) == 0 && c != '-') return at;
    size_t end = std::min(text_.find_first_of(listed ? ",]}\r\n" : ",]}: \t\r\n\"", at), text_.size());
    while (listed && std::isspace(static_cast<unsigned char>(text_[end - 1])) != 0) --end;
    return end;
  }
  size_t SkipSpace(size_t at) const { return std::min(text_.find_first_not_of(kBlank, at), text_.size()); }
  // Whether {"secret": NAME} stands there, and nothing else in it. It is no value.
  bool IsReference(size_t at) const {
    if (text_[at] != '{') return false;
    at = SkipSpace(at + 1);
    if (text_.compare(at, 8, "\"secret\"") != 0) return false;
    at = SkipSpace(at + 8);
    if (at >= text_.size() || text_[at] != ':') return false;
    at = SkipSpace(at + 1);
    if (at >= text_.size() || text_[at] != '"') return false;
    at = SkipSpace(EndOfString(at));
    return at < text_.size() && text_[at] == '}';
  }
  std::string Decode(const Span& s) const {
    auto json = ParseJson(std::string_view(text_).substr(s.begin, s.end - s.begin), "text");
    return json.ok() && json->is_string() ? json->get<std::string>() : "";
  }
  void OnString(Span s) {
    if (!after_colon_) return SetMember(Decode(s));
    if (!listed_ && !frames_.empty() && member_ == "key")
      frames_.back().key_is_listed = IsListed(settings_, Decode(s));
    OnValue(s);
  }
  void OnValue(Span s) {
    after_colon_ = false;
    if (listed_)
      found_.push_back(s);
    else if (text_[s.begin] == '"' && member_.rfind("DVDI_", 0) == 0)
      found_.push_back({s.begin, s.end, true});
    else if (!frames_.empty() && member_ == "value")
      values_.push_back(s);
  }

  const Settings& settings_;
  const std::string& text_;
  std::vector<Frame> frames_;
  std::vector<Span> values_;  // of "value" members, those of inner frames behind those of outer ones
  std::vector<Span> found_;
  std::string member_;
  bool listed_ = false, after_colon_ = false;
};

// Where the value of a listed option begins in a field, or npos. At the first `levels` equals signs a name
// may end: "password=x" has one, "volume-opt=password=x" two.
size_t ValueOfListed(const Settings& settings, const std::string& field, int levels) {
  size_t begin = 0;
  for (int i = 0; i < levels; ++i) {
    size_t equals = field.find('=', begin);
    if (equals == std::string::npos) break;
    std::string_view name = std::string_view(field).substr(begin, equals - begin);
    begin = equals + 1;
    if (IsListed(settings, name)) return begin;
  }
  return std::string::npos;
}

// The end of the field that begins there. `quoted`: it is one of encoding/csv's, whose text goes to *field.
size_t EndOfField(const std::string& text, size_t at, bool quoted, std::string* field) {
  size_t end = at;
  if (quoted) {
    for (++end; end < text.size(); ++end) {
      if (text[end] == '"') {
        if (end + 1 >= text.size() || text[end + 1] != '"') break;
        ++end;
      }
      *field += text[end];
    }
  }
  end = std::min(text.find(',', std::min(end, text.size())), text.size());
  if (!quoted) *field = text.substr(at, end - at);
  return end;
}

// Where each list or object of a text ends. It is looked at once, however many begin and do not end.
class NestedEnds {
 public:
  explicit NestedEnds(const std::string& text) : text_(text) {}
  // Of the one that begins there, or `at` where none does, or none that ends.
  size_t Of(size_t at) {
    const size_t begin = text_.find_first_not_of(kBlank, at);
    if (begin == std::string::npos || (text_[begin] != '[' && text_[begin] != '{')) return at;
    if (ends_.empty()) Read();
    return ends_[begin] != 0 ? ends_[begin] : at;
  }

 private:
  void Read() {
    ends_.resize(text_.size());
    std::vector<size_t> open;
    for (size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == '[' || text_[i] == '{') open.push_back(i);
      if ((text_[i] != ']' && text_[i] != '}') || open.empty()) continue;
      ends_[open.back()] = i + 1;
      open.pop_back();
    }
  }

  const std::string& text_;
  std::vector<size_t> ends_;
};

// Whether a field has no name, so that its form refuses it and shows it.
bool HasNoName(const std::string& field, bool csv) {
  const size_t begin = field.find_first_not_of(kBlank);
  if (begin == std::string::npos) return false;
  const size_t size = field.find_last_not_of(kBlank) + 1 - begin;
  const std::string_view text = std::string_view(field).substr(begin, size);
  if (csv && (text == "ro" || text == "readonly" || text == "volume-nocopy")) return false;
  return text.find('=') == std::string_view::npos || text[0] == '=';
}

// NAME=VALUE in comma-separated text. `csv`: docker's --mount, whose fields may be quoted as encoding/csv has
// it. Behind a listed value, what a comma in it has cut off is hidden too: it names nothing, or lies within
// the value's brackets. It stays a field that no reader takes.
std::string TakeFromPairs(Random* random, const Settings& settings, const std::string& text, bool csv,
                          SecretList* taken) {
  std::string out;
  bool listed = false;   // the field before is a listed value's
  size_t nested_to = 0;  // where that value's brackets end
  NestedEnds ends(text);
  for (size_t at = 0; at <= text.size();) {
    const bool quoted = csv && at < text.size() && text[at] == '"';
    std::string field;
    size_t end = EndOfField(text, at, quoted, &field);
    size_t value = ValueOfListed(settings, field, csv ? 2 : 1);
    if (at < nested_to || (listed && HasNoName(field, csv))) {
      for (std::string next; end < text.size(); next.clear()) {
        const size_t to = EndOfField(text, end + 1, false, &next);
        if (end + 1 >= nested_to && (!HasNoName(next, csv) || (csv && next[0] == '"'))) break;
        end = to;
      }
      out += HandleOf(random, text.substr(at, end - at), taken);
    } else if (value == std::string::npos) {
      out.append(text, at, end - at);
      listed = false;
    } else {
      std::string name = field.substr(0, value);
      std::string put = name + HandleOf(random, field.substr(value), taken);
      bool plain = put.find_first_of(",\"\r\n") == std::string::npos;
      if (csv && !plain) {
        std::string again;
        for (char c : put) again += c == '"' ? std::string("\"\"") : std::string(1, c);
        put = '"' + again + '"';
      }
      out += put;
      listed = !quoted;
      if (!quoted) nested_to = std::max(nested_to, ends.Of(at + value));
    }
    if (end >= text.size()) break;
    out += ',';
    at = end + 1;
  }
  return out;
}

std::string TakeFromJson(Random* random, const Settings& settings, const std::string& text,
                         SecretList* taken) {
  std::string out;
  size_t at = 0;
  for (const Span& s : JsonSecrets(settings, text).Find()) {
    if (s.begin < at) continue;
    std::string raw = text.substr(s.begin, s.end - s.begin);
    if (raw == "null") continue;
    out.append(text, at, s.begin - at);
    // What cannot be read is hidden all the same: the policy refuses the text anyway, and shows it. A list
    // stays one, which is refused as it was.
    std::string value = raw;
    bool known = false;
    if (raw[0] == '"')
      if (auto json = ParseJson(raw, "text"); json.ok() && json->is_string())
        value = json->get<std::string>(), known = true;
    if (s.pairs && known) {
      const std::string without = TakeFromPairs(random, settings, value, false, taken);
      out += without == value ? raw : Dump(Json(without));
      at = s.end;
      continue;
    }
    const bool nested = raw[0] == '[' || raw[0] == '{';
    out += (nested ? "[\"" : "\"") + HandleOf(random, value, taken) + (nested ? "\"]" : "\"");
    at = s.end;
  }
  out.append(text, at);
  return out;
}

}  // namespace

Result<std::string> ResolveSecret(const Env& env, const Settings& settings, const SecretList& inline_secrets,
                                  const std::string& driver, const std::string& name) {
  for (const auto& [handle, value] : inline_secrets)
    if (handle == name) return value;
  if (!IsSecretName(name))
    return Status(Code::kInvalid, "secret name " + OneLine(name, 60) + " is not a plain file name");
  // Before it is looked for: whether it is there is not told either.
  if (DVDI_GUARD(secret_bound) && !settings.SecretAllowed(driver, name))
    return Status(
        Code::kRefused,
        "the settings of this node do not let secret " + name + " go to driver " + OneLine(driver, 128),
        "use one that may; or list it in their drivers." + OneLine(driver, 128) + ".secrets");
  auto text = ReadSecretFile(env, settings.secrets_dir, name);
  if (!text.ok() && text.status().code() == Code::kNotFound && !settings.credentials_dir.empty())
    text = ReadCredential(env, settings.credentials_dir, name);
  if (text.ok()) return text;
  return Status(text.status().code(), "secret " + name + ": " + text.status().message(),
                text.status().code() == Code::kNotFound
                    ? "put the value into a file of that name, mode 0600, in " + settings.secrets_dir +
                          " (mode 0700), or give it to the service with LoadCredential="
                    : text.status().hint());
}

Status TakeSettingSecrets(Settings* settings, SecretList* taken) {
  if (!DVDI_GUARD(secret_handles) || settings->secret_options.empty()) return Status();
  auto without =
      ParseJson(TakeFromJson(nullptr, *settings, Dump(settings->policy), taken), "the settings", 80);
  if (!without.ok()) return without.status();
  settings->policy = std::move(*without);
  return Status();
}

const std::string* SettingSecret(const SecretList& secrets, const std::string& text) {
  for (const auto& [handle, value] : secrets)
    if (handle == text) return &value;
  return nullptr;
}

bool IsSecretOption(const Settings& settings, std::string_view name) { return IsListed(settings, name); }

std::string TakeSecrets(Random* random, const Settings& settings, const std::string& form,
                        const std::string& text, SecretList* taken) {
  if (!DVDI_GUARD(secret_handles) || settings.secret_options.empty()) return text;
  if (form == "volume") return text;  // it has no options
  if (form == "mount" || form == "env") return TakeFromPairs(random, settings, text, form == "mount", taken);
  return TakeFromJson(random, settings, text, taken);
}

}  // namespace dvdi
