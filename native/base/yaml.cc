#include "base/yaml.h"

#include <yaml.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "base/text.h"

namespace dvdi {
namespace {

constexpr std::string_view kCoreTag = "tag:yaml.org,2002:";
constexpr std::string_view kMark = "\xEF\xBB\xBF";

std::string_view View(const yaml_char_t* text) {
  return text == nullptr ? std::string_view() : reinterpret_cast<const char*>(text);
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool LooksDecimal(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  size_t e = text.find_first_of("eE");
  if (e != std::string_view::npos) {
    std::string_view exponent = text.substr(e + 1);
    if (!exponent.empty() && (exponent[0] == '-' || exponent[0] == '+')) exponent.remove_prefix(1);
    if (!IsDigits(exponent)) return false;
    text = text.substr(0, e);
  }
  size_t dot = text.find('.');
  if (dot == std::string_view::npos) return IsDigits(text);
  std::string_view whole = text.substr(0, dot), part = text.substr(dot + 1);
  if (whole.empty()) return IsDigits(part);
  return IsDigits(whole) && (part.empty() || IsDigits(part));
}

// Why a plain scalar cannot be taken, or its value.
struct Plain {
  Json value;
  const char* error = nullptr;
};

template <class Int>
bool ReadInt(std::string_view digits, int base, Int* out) {
  auto [end, err] = std::from_chars(digits.data(), digits.data() + digits.size(), *out, base);
  return err == std::errc() && end == digits.data() + digits.size();
}

Plain ReadInteger(std::string_view text, std::string_view digits, int base) {
  constexpr const char* kRange = "a number out of range";
  if (text[0] == '-') {
    int64_t n;
    if (!ReadInt(text, base, &n)) return {{}, kRange};
    return {n};
  }
  uint64_t n;
  if (!ReadInt(digits, base, &n)) return {{}, kRange};
  if (n <= INT64_MAX) return {static_cast<int64_t>(n)};
  return {n};
}

Plain ReadPlain(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return {nullptr};
  if (text == "true" || text == "True" || text == "TRUE") return {true};
  if (text == "false" || text == "False" || text == "FALSE") return {false};
  bool sign = text[0] == '-' || text[0] == '+';
  std::string_view rest = sign ? text.substr(1) : text;
  if (IsDigits(rest)) return ReadInteger(text, rest, 10);
  if (text.size() > 2 && text[0] == '0' && text[1] == 'x' &&
      text.find_first_not_of("0123456789abcdefABCDEF", 2) == std::string_view::npos)
    return ReadInteger(text, text.substr(2), 16);
  if (text.size() > 2 && text[0] == '0' && text[1] == 'o' &&
      text.find_first_not_of("01234567", 2) == std::string_view::npos)
    return ReadInteger(text, text.substr(2), 8);
  if (LooksDecimal(text)) {
    double d;
    auto [end, err] = std::from_chars(rest.data(), rest.data() + rest.size(), d);
    if (err != std::errc() || end != rest.data() + rest.size() || !std::isfinite(d))
      return {{}, "a number out of range"};
    return {text[0] == '-' ? -d : d};
  }
  for (std::string_view special : {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"})
    if (rest == special) return {{}, "a number that JSON cannot hold"};
  return {std::string(text)};
}

class Loader {
 public:
  Loader(std::string_view text, std::string_view what, const YamlBounds& bounds)
      : text_(text), what_(what), bounds_(bounds) {}
  ~Loader() {
    if (made_) yaml_parser_delete(&parser_);
  }
  Result<YamlDocument> Load();

 private:
  // A collection that is being filled.
  struct Open {
    Json value;
    std::string pointer;  // of the collection
    std::optional<std::string> key;
  };

  Status Next();
  Status Wrong(const std::string& why, size_t line) const {
    return Status(Code::kInvalid, std::string(what_) + ", line " + std::to_string(line) + ": " + why);
  }
  size_t Line() const { return event_->start_mark.line + 1; }
  Status CheckPlainNode(const yaml_char_t* anchor, const yaml_char_t* tag, std::string_view core);
  Result<Json> Scalar();
  Status Begin(Json empty);
  Status Add(Json value);
  Status AddKey();
  Status End();
  std::string PointerOfNext() const;

  std::string_view text_;
  const std::string_view what_;
  const YamlBounds bounds_;
  yaml_parser_t parser_;
  bool made_ = false;
  struct EventDelete {
    void operator()(yaml_event_t* e) const {
      yaml_event_delete(e);
      delete e;
    }
  };
  std::unique_ptr<yaml_event_t, EventDelete> event_;
  std::vector<Open> open_;
  YamlDocument document_;
  bool have_root_ = false;
};

Status Loader::Next() {
  event_.reset();
  auto event = std::make_unique<yaml_event_t>();
  if (yaml_parser_parse(&parser_, event.get()) == 0) {
    std::string problem = parser_.problem != nullptr ? parser_.problem : "not enough memory";
    return Wrong("not YAML: " + OneLine(problem), parser_.problem_mark.line + 1);
  }
  event_.reset(event.release());
  return OkStatus();
}

Status Loader::CheckPlainNode(const yaml_char_t* anchor, const yaml_char_t* tag, std::string_view core) {
  if (anchor != nullptr)
    return Wrong("anchors (&" + OneLine(View(anchor), 60) + ") are not accepted", Line());
  std::string_view name = View(tag);
  if (tag == nullptr || name == "!" || (name.starts_with(kCoreTag) && name.substr(kCoreTag.size()) == core))
    return OkStatus();
  return Wrong("the tag " + OneLine(name, 100) + " is not accepted here", Line());
}

Result<Json> Loader::Scalar() {
  const auto& s = event_->data.scalar;
  std::string_view text(reinterpret_cast<const char*>(s.value), s.length);
  std::string_view tag = View(s.tag);
  std::string_view core = tag.starts_with(kCoreTag) ? tag.substr(kCoreTag.size()) : "";
  if (s.anchor != nullptr || (s.tag != nullptr && tag != "!" && core.empty()))
    DVDI_RETURN_IF_ERROR(CheckPlainNode(s.anchor, s.tag, "str"));
  bool untagged = s.tag == nullptr;
  if (core == "str" || tag == "!" || (untagged && s.style != YAML_PLAIN_SCALAR_STYLE))
    return Json(std::string(text));
  Plain plain = ReadPlain(text);
  if (plain.error != nullptr)
    return Wrong(OneLine(text, 60) + " is " + plain.error + "; quote it if it is meant as text", Line());
  const Json& v = plain.value;
  if (untagged || (core == "null" && v.is_null()) || (core == "bool" && v.is_boolean()) ||
      (core == "int" && v.is_number_integer()) || (core == "float" && v.is_number()))
    return plain.value;
  return Wrong(OneLine(text, 60) + " does not fit its tag " + OneLine(tag, 100), Line());
}

std::string Loader::PointerOfNext() const {
  if (open_.empty() || !bounds_.lines) return "";
  const Open& top = open_.back();
  return top.pointer + "/" +
         (top.value.is_array() ? std::to_string(top.value.size()) : JsonPointerToken(*top.key));
}

Status Loader::Begin(Json empty) {
  if (open_.size() >= static_cast<size_t>(bounds_.depth))
    return Wrong("nested deeper than " + std::to_string(bounds_.depth) + " levels", Line());
  if (!open_.empty() && open_.back().value.is_object() && !open_.back().key)
    return Wrong("a key must be a scalar", Line());
  std::string pointer = PointerOfNext();
  // A member's line is that of its key.
  document_.lines.emplace(pointer, static_cast<int>(Line()));
  open_.push_back({std::move(empty), std::move(pointer), std::nullopt});
  return OkStatus();
}

Status Loader::AddKey() {
  const auto& s = event_->data.scalar;
  std::string key(reinterpret_cast<const char*>(s.value), s.length);
  DVDI_RETURN_IF_ERROR(CheckPlainNode(s.anchor, s.tag, "str"));
  if (key == "<<" && s.style == YAML_PLAIN_SCALAR_STYLE)
    return Wrong("merge keys (<<) are not accepted", Line());
  Open& top = open_.back();
  if (top.value.contains(key)) return Wrong("the key " + OneLine(key, 60) + " stands here twice", Line());
  top.key = std::move(key);
  document_.lines.emplace(PointerOfNext(), static_cast<int>(Line()));
  return OkStatus();
}

Status Loader::Add(Json value) {
  if (open_.empty()) {
    document_.value = std::move(value);
    return OkStatus();
  }
  Open& top = open_.back();
  if (top.value.is_array()) {
    top.value.push_back(std::move(value));
  } else {
    top.value[*top.key] = std::move(value);
    top.key.reset();
  }
  return OkStatus();
}

Status Loader::End() {
  Json done = std::move(open_.back().value);
  open_.pop_back();
  return Add(std::move(done));
}

Result<YamlDocument> Loader::Load() {
  if (text_.size() > bounds_.bytes)
    return Status(Code::kInvalid,
                  std::string(what_) + " is longer than " + std::to_string(bounds_.bytes) + " bytes");
  if (!IsValidUtf8(text_)) return Status(Code::kInvalid, std::string(what_) + " is not UTF-8");
  if (yaml_parser_initialize(&parser_) == 0) return Status(Code::kSystem, "not enough memory to read YAML");
  made_ = true;
  yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
  // Told the encoding, the library takes an editor's mark of it for a column of the first line.
  if (text_.starts_with(kMark)) text_.remove_prefix(kMark.size());
  yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text_.data()), text_.size());
  for (;;) {
    DVDI_RETURN_IF_ERROR(Next());
    switch (event_->type) {
      case YAML_STREAM_END_EVENT: return std::move(document_);
      case YAML_DOCUMENT_START_EVENT:
        if (have_root_) return Wrong("a second document; only one is accepted", Line());
        have_root_ = true;
        break;
      case YAML_ALIAS_EVENT:
        return Wrong("aliases (*" + OneLine(View(event_->data.alias.anchor), 60) + ") are not accepted",
                     Line());
      case YAML_SCALAR_EVENT:
        if (!open_.empty() && open_.back().value.is_object() && !open_.back().key) {
          DVDI_RETURN_IF_ERROR(AddKey());
        } else {
          document_.lines.emplace(PointerOfNext(), static_cast<int>(Line()));
          DVDI_ASSIGN_OR_RETURN(Json value, Scalar());
          DVDI_RETURN_IF_ERROR(Add(std::move(value)));
        }
        break;
      case YAML_SEQUENCE_START_EVENT: {
        const auto& s = event_->data.sequence_start;
        DVDI_RETURN_IF_ERROR(CheckPlainNode(s.anchor, s.tag, "seq"));
        DVDI_RETURN_IF_ERROR(Begin(Json::array()));
        break;
      }
      case YAML_MAPPING_START_EVENT: {
        const auto& m = event_->data.mapping_start;
        DVDI_RETURN_IF_ERROR(CheckPlainNode(m.anchor, m.tag, "map"));
        DVDI_RETURN_IF_ERROR(Begin(Json::object()));
        break;
      }
      case YAML_SEQUENCE_END_EVENT:
      case YAML_MAPPING_END_EVENT: DVDI_RETURN_IF_ERROR(End()); break;
      case YAML_NO_EVENT:
      case YAML_STREAM_START_EVENT:
      case YAML_DOCUMENT_END_EVENT: break;
    }
  }
}

}  // namespace

std::string JsonPointerToken(std::string_view key) {
  std::string out;
  for (char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

Result<YamlDocument> ParseYamlDocument(std::string_view text, std::string_view what,
                                       const YamlBounds& bounds) {
  return Loader(text, what, bounds).Load();
}

Result<Json> ParseYaml(std::string_view text, std::string_view what) {
  auto document = ParseYamlDocument(text, what, {.lines = false});
  if (!document.ok()) return document.status();
  return std::move(document->value);
}

}  // namespace dvdi
