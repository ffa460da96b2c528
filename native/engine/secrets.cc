#include "engine/secrets.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "engine/files.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr size_t kMaxSecretBytes = 64 << 10;

bool IsListed(const Settings& settings, std::string_view name) {
  // Marathon writes options as "dvdi/NAME".
  size_t slash = name.rfind('/');
  if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
  const auto& list = settings.secret_options;
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::string NewHandle(const std::string& value, SecretList* taken) {
  // Random, so that no text of a user can be mistaken for it.
  std::string handle = "dvdi-secret-" + Random::Real()->HexId(16);
  taken->push_back({handle, value});
  return handle;
}

struct Span {
  size_t begin, end;  // of a JSON string, quotes included
};

// The values to hide in a JSON text: those of listed members, and of {"key": listed, "value": …} pairs. The text
// need not be valid: what is not understood is left alone, and the policy's reader refuses it.
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
      if (c == '{') frames_.push_back({});
      if (c == '}' && !frames_.empty()) {
        const Frame& f = frames_.back();
        if (f.key_is_listed && f.value.end > 0) found_.push_back(f.value);
        frames_.pop_back();
      }
      if (c == ',' || c == '{' || c == '[' || c == ']' || c == '}') after_colon_ = false, member_.clear();
      if (c == ':') after_colon_ = true;
      ++at;
    }
    std::sort(found_.begin(), found_.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
    return found_;
  }

 private:
  struct Frame {
    bool key_is_listed = false;
    Span value{0, 0};
  };
  size_t EndOfString(size_t at) const {
    for (++at; at < text_.size(); ++at) {
      if (text_[at] == '\\')
        ++at;
      else if (text_[at] == '"')
        return at + 1;
    }
    return text_.size();
  }
  std::string Decode(const Span& s) const {
    auto json = ParseJson(std::string_view(text_).substr(s.begin, s.end - s.begin), "text");
    return json.ok() && json->is_string() ? json->get<std::string>() : "";
  }
  void OnString(Span s) {
    if (!after_colon_) {
      member_ = Decode(s);
      return;
    }
    after_colon_ = false;
    if (IsListed(settings_, member_)) {
      found_.push_back(s);
    } else if (!frames_.empty() && member_ == "key") {
      frames_.back().key_is_listed = IsListed(settings_, Decode(s));
    } else if (!frames_.empty() && member_ == "value") {
      frames_.back().value = s;
    }
  }

  const Settings& settings_;
  const std::string& text_;
  std::vector<Frame> frames_;
  std::vector<Span> found_;
  std::string member_;
  bool after_colon_ = false;
};

std::string TakeFromJson(const Settings& settings, const std::string& text, SecretList* taken) {
  std::string out;
  size_t at = 0;
  for (const Span& s : JsonSecrets(settings, text).Find()) {
    if (s.begin < at) continue;
    auto json = ParseJson(std::string_view(text).substr(s.begin, s.end - s.begin), "text");
    if (!json.ok() || !json->is_string()) continue;
    out.append(text, at, s.begin - at);
    out += '"' + NewHandle(json->get<std::string>(), taken) + '"';
    at = s.end;
  }
  out.append(text, at);
  return out;
}

// NAME=VALUE in comma-separated text, where a field may stand in double quotes.
std::string TakeFromPairs(const Settings& settings, const std::string& text, SecretList* taken) {
  std::string out;
  size_t at = 0;
  while (at <= text.size()) {
    bool quoted = at < text.size() && text[at] == '"';
    size_t end = at;
    if (quoted) {
      end = text.find('"', at + 1);
      end = end == std::string::npos ? text.size() : text.find(',', end);
    } else {
      end = text.find(',', at);
    }
    if (end == std::string::npos) end = text.size();
    std::string field = text.substr(at, end - at);
    for (const auto& name : settings.secret_options) {
      size_t place = field.find(name + "=");
      bool begins = place == 0 || (place != std::string::npos && (field[place - 1] == '=' || field[place - 1] == '"' ||
                                                                  field[place - 1] == ' '));
      if (!begins) continue;
      size_t from = place + name.size() + 1;
      size_t to = field.size() - (quoted && field.back() == '"' && field.size() > from ? 1 : 0);
      field = field.substr(0, from) + NewHandle(field.substr(from, to - from), taken) + field.substr(to);
      break;
    }
    out += field;
    if (end >= text.size()) break;
    out += ',';
    at = end + 1;
  }
  return out;
}

}  // namespace

Result<std::string> ResolveSecret(const Env& env, const Settings& settings, const SecretList& inline_secrets,
                                  const std::string& name) {
  for (const auto& [handle, value] : inline_secrets)
    if (handle == name) return value;
  bool plain = !name.empty() && name.size() <= 128 && name[0] != '.' &&
               name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
                   std::string::npos;
  if (!plain) return Status(Code::kInvalid, "secret name " + OneLine(name, 60) + " is not a plain file name");
  auto text = ReadOwnFile(env, settings.secrets_dir + "/" + name);
  if (!text.ok())
    return Status(Code::kNotFound, "secret " + name + ": " + text.status().message(),
                  "put the value into a file of that name, mode 0600, in " + settings.secrets_dir);
  if (text->size() > kMaxSecretBytes) return Status(Code::kInvalid, "secret " + name + " is larger than 64 KiB");
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  return text;
}

std::string TakeSecrets(const Settings& settings, const std::string& form, const std::string& text,
                        SecretList* taken) {
  if (settings.secret_options.empty()) return text;
  if (form == "volume") return text;  // it has no options
  if (form == "mount" || form == "env") return TakeFromPairs(settings, text, taken);
  return TakeFromJson(settings, text, taken);
}

}  // namespace dvdi
