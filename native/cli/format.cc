#include "cli/format.h"

#include <algorithm>
#include <cctype>

#include "cli/print.h"

namespace dvdi::cli {
namespace {

constexpr size_t kMaxTemplate = 64 * 1024;
constexpr const char* kFunctions[] = {"json", "upper", "lower", "title", "join", "len", "index", "truncate"};
constexpr const char* kUnsupported[] = {
    "if",    "else",    "end",  "range",    "with", "define", "template", "block", "printf",
    "print", "println", "and",  "or",       "not",  "eq",     "ne",       "lt",    "gt",
    "le",    "ge",      "html", "urlquery", "js",   "call",   "continue", "break"};

bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

bool Is(const char* const* begin, const char* const* end, std::string_view word) {
  return std::any_of(begin, end, [&](const char* w) { return word == w; });
}

Status Wrong(const std::string& what) {
  return Status(Code::kInvalid, "--format: " + what,
                "{{.Member}}, {{json .}} and the functions json, upper, lower, title, join, len, index and "
                "truncate are known");
}

// Go's escapes in the text between actions: docker takes \t and \n there.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] == '\\' && (next == 't' || next == 'n')) {
      out += next == 't' ? '\t' : '\n';
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string Trimmed(std::string_view text, bool left, bool right) {
  constexpr char kSpace[] = " \t\r\n";
  if (left) text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  if (right) text = text.substr(0, text.find_last_not_of(kSpace) + 1);
  return std::string(text);
}

std::string Members(const Json& object) {
  std::string out;
  for (const auto& [key, unused] : object.items()) {
    (void)unused;
    out += (out.empty() ? "" : ", ") + key;
  }
  return out;
}

}  // namespace

// One action, `{{…}}`, as a pipeline of commands.
class Format::Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  Result<Node> Pipeline() {
    DVDI_ASSIGN_OR_RETURN(Node node, Command());
    for (SkipSpace(); at_ < text_.size() && text_[at_] == '|'; SkipSpace()) {
      ++at_;
      DVDI_ASSIGN_OR_RETURN(Node next, Command());
      if (next.kind != Node::Kind::kCall) return Wrong("what follows | must be a function");
      next.arguments.push_back(std::move(node));
      node = std::move(next);
    }
    if (at_ < text_.size()) return Wrong("\"" + std::string(text_.substr(at_)) + "\" is not understood");
    return node;
  }

 private:
  void SkipSpace() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool AtEnd() {
    SkipSpace();
    return at_ == text_.size() || text_[at_] == '|' || text_[at_] == ')';
  }

  Result<Node> Command() {
    SkipSpace();
    if (AtEnd()) return Wrong("an action is empty");
    size_t begin = at_;
    if (!std::isalpha(static_cast<unsigned char>(text_[at_]))) {
      DVDI_ASSIGN_OR_RETURN(Node operand, Operand());
      if (!AtEnd()) return Wrong("\"" + std::string(text_.substr(begin)) + "\" is not understood");
      return operand;
    }
    while (at_ < text_.size() && IsWord(text_[at_])) ++at_;
    Node call;
    call.kind = Node::Kind::kCall;
    call.text = std::string(text_.substr(begin, at_ - begin));
    if (Is(std::begin(kUnsupported), std::end(kUnsupported), call.text))
      return Wrong("\"" + call.text + "\" of Go's templates is not supported");
    if (!Is(std::begin(kFunctions), std::end(kFunctions), call.text))
      return Wrong("there is no function \"" + call.text + "\" (a member begins with a dot)");
    while (!AtEnd()) {
      DVDI_ASSIGN_OR_RETURN(Node argument, Operand());
      call.arguments.push_back(std::move(argument));
    }
    return call;
  }

  Result<Node> Operand() {
    SkipSpace();
    Node node;
    char c = text_[at_];
    if (c == '.') {
      do {
        size_t begin = ++at_;
        while (at_ < text_.size() && IsWord(text_[at_])) ++at_;
        if (at_ > begin) node.path.emplace_back(text_.substr(begin, at_ - begin));
        if (at_ == begin && (!node.path.empty() || (at_ < text_.size() && text_[at_] == '.')))
          return Wrong("a member's name is missing behind a dot");
      } while (at_ < text_.size() && text_[at_] == '.');
      return node;
    }
    if (c == '"' || c == '`') {
      node.kind = Node::Kind::kText;
      size_t end = ++at_;
      while (end < text_.size() && text_[end] != c) end += c == '"' && text_[end] == '\\' ? 2 : 1;
      if (end >= text_.size()) return Wrong("a text has no end");
      std::string_view raw = text_.substr(at_, end - at_);
      node.text = c == '`' ? std::string(raw) : "";
      for (size_t i = 0; c == '"' && i < raw.size(); ++i) {
        bool escaped = raw[i] == '\\';
        if (escaped) ++i;
        node.text += escaped && raw[i] == 't' ? '\t' : escaped && raw[i] == 'n' ? '\n' : raw[i];
      }
      at_ = end + 1;
      return node;
    }
    if (std::isdigit(static_cast<unsigned char>(c))) {
      node.kind = Node::Kind::kNumber;
      for (int digits = 0; at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]));
           ++at_) {
        if (++digits > 9) return Wrong("a number is too large");
        node.number = node.number * 10 + (text_[at_] - '0');
      }
      return node;
    }
    if (c == '(') {
      size_t begin = ++at_;
      int depth = 1;
      while (at_ < text_.size() && depth > 0)
        depth += text_[at_] == '(' ? 1 : text_[at_] == ')' ? -1 : 0, ++at_;
      if (depth > 0) return Wrong("a parenthesis has no end");
      return Reader(text_.substr(begin, at_ - begin - 1)).Pipeline();
    }
    return Wrong("\"" + std::string(text_.substr(at_)) + "\" is not understood");
  }

  const std::string_view text_;
  size_t at_ = 0;
};

Result<Format> Format::Parse(std::string_view text) {
  Format format;
  if (text.size() > kMaxTemplate) return Wrong("the template is longer than 64 KiB");
  if (text == "json") text = "{{json .}}";
  if (text.substr(0, 6) == "table " || text.substr(0, 7) == "table\\t" || text.substr(0, 6) == "table\t") {
    format.table_ = true;
    text.remove_prefix(6);
  }
  bool trim = false;
  while (!text.empty()) {
    size_t open = text.find("{{");
    std::string_view literal = text.substr(0, open);
    bool trim_right = open != std::string_view::npos && text.substr(open + 2, 2) == "- ";
    if (std::string plain = Trimmed(Unescape(literal), trim, trim_right); !plain.empty())
      format.pieces_.push_back({false, std::move(plain), {}});
    if (open == std::string_view::npos) break;
    size_t close = text.find("}}", open);
    if (close == std::string_view::npos) return Wrong("an action \"{{\" has no end");
    std::string_view action = text.substr(open + 2, close - open - 2);
    if (trim_right) action.remove_prefix(1);
    trim = action.size() >= 2 && action.substr(action.size() - 2) == " -";
    if (trim) action.remove_suffix(1);
    Piece piece;
    piece.action = true;
    DVDI_ASSIGN_OR_RETURN(piece.node, Reader(action).Pipeline());
    format.pieces_.push_back(std::move(piece));
    text.remove_prefix(close + 2);
  }
  return format;
}

Result<Json> Format::Evaluate(const Node& node, const Json& value) {
  switch (node.kind) {
    case Node::Kind::kText: return Json(node.text);
    case Node::Kind::kNumber: return Json(node.number);
    case Node::Kind::kCall: return CallFunction(node, value);
    case Node::Kind::kField: break;
  }
  const Json* at = &value;
  std::string seen;
  for (const std::string& name : node.path) {
    if (at->is_null()) return Json();
    if (!at->is_object()) return Wrong("\"" + seen + "\" has no members");
    if (!at->contains(name)) {
      // What a plugin says of itself has the members that it likes.
      if (!seen.empty()) return Json();
      return Wrong("there is no member ." + name + "; there are " + Members(*at));
    }
    at = &(*at)[name];
    seen += "." + name;
  }
  return *at;
}

Result<Json> Format::CallFunction(const Node& node, const Json& value) {
  std::vector<Json> a;
  for (const Node& argument : node.arguments) {
    DVDI_ASSIGN_OR_RETURN(Json one, Evaluate(argument, value));
    a.push_back(std::move(one));
  }
  const std::string& f = node.text;
  size_t wanted = f == "join" || f == "index" || f == "truncate" ? 2 : 1;
  if (a.size() != wanted)
    return Wrong(f + " takes " + std::to_string(wanted) + (wanted == 1 ? " value" : " values"));
  if (f == "json") return Json(SafeJson(a[0]));
  if (f == "len")
    return Json(
        static_cast<int64_t>(a[0].is_string() ? a[0].get_ref<const std::string&>().size() : a[0].size()));
  if (f == "join") {
    // Piped in, the list comes last: {{.Targets | join ", "}}, as well as {{join .Targets ", "}}.
    const Json& list = a[0].is_array() ? a[0] : a[1];
    const Json& between = a[0].is_array() ? a[1] : a[0];
    if (!list.is_array() || !between.is_string()) return Wrong("join takes a list and a text");
    std::string out;
    for (const Json& item : list) out += (out.empty() ? "" : between.get<std::string>()) + TextOfValue(item);
    return Json(out);
  }
  if (f == "index") {
    if (a[0].is_object() && a[1].is_string())
      return a[0].contains(a[1].get<std::string>()) ? a[0][a[1].get<std::string>()] : Json();
    if (a[0].is_array() && a[1].is_number()) {
      auto i = static_cast<size_t>(a[1].get<int64_t>());
      return i < a[0].size() ? a[0][i] : Json();
    }
    return Wrong("index takes an object and a member's name, or a list and a number");
  }
  if (f == "truncate") {
    const Json& count = a[0].is_number() ? a[0] : a[1];
    std::string text = TextOfValue(a[0].is_number() ? a[1] : a[0]);
    if (!count.is_number()) return Wrong("truncate takes a value and a number");
    auto left = count.get<int64_t>();
    size_t end = 0;
    // Whole characters.
    while (end < text.size() && ((text[end] & 0xC0) == 0x80 || left-- > 0)) ++end;
    return Json(text.substr(0, end));
  }
  std::string text = TextOfValue(a[0]);
  bool begin = true;
  for (char& c : text) {
    auto u = static_cast<unsigned char>(c);
    if (f == "upper" || (f == "title" && begin)) c = static_cast<char>(std::toupper(u));
    if (f == "lower") c = static_cast<char>(std::tolower(u));
    begin = c == ' ';
  }
  return Json(text);
}

Result<std::string> Format::Apply(const Json& value) const {
  std::string out;
  for (const Piece& piece : pieces_) {
    if (!piece.action) {
      out += piece.literal;
      continue;
    }
    DVDI_ASSIGN_OR_RETURN(Json result, Evaluate(piece.node, value));
    out += Clean(TextOfValue(result));
  }
  return out;
}

std::string Format::Header() const {
  std::string out;
  for (const Piece& piece : pieces_) {
    if (!piece.action) {
      out += piece.literal;
      continue;
    }
    // The member that is shown, whatever is done to it: "LastUsed" is LAST USED.
    const Node* node = &piece.node;
    while (node->kind == Node::Kind::kCall) {
      auto field = std::find_if(node->arguments.begin(), node->arguments.end(), [](const Node& n) {
        return n.kind == Node::Kind::kField || n.kind == Node::Kind::kCall;
      });
      if (field == node->arguments.end()) break;
      node = &*field;
    }
    std::string name = node->path.empty() ? "VALUE" : node->path.back();
    for (size_t i = 0; i < name.size(); ++i) {
      bool begins = i > 0 && std::isupper(static_cast<unsigned char>(name[i])) &&
                    std::islower(static_cast<unsigned char>(name[i - 1]));
      out += begins ? " " : "";
      out += static_cast<char>(std::toupper(static_cast<unsigned char>(name[i])));
    }
  }
  return out;
}

std::string TextOfValue(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : SafeJson(value);
}

Result<std::string> FormatRows(const Format& format, const Json& rows) {
  std::vector<std::string> lines;
  if (format.table()) lines.push_back(format.Header());
  for (const Json& row : rows) {
    DVDI_ASSIGN_OR_RETURN(std::string line, format.Apply(row));
    lines.push_back(std::move(line));
  }
  std::string out;
  if (!format.table()) {
    for (const auto& line : lines) out += line + "\n";
    return out;
  }
  std::vector<std::vector<std::string>> cells;
  for (const auto& line : lines) {
    std::vector<std::string> row;
    for (size_t at = 0;;) {
      size_t tab = line.find('\t', at);
      row.push_back(line.substr(at, tab - at));
      if (tab == std::string::npos) break;
      at = tab + 1;
    }
    cells.push_back(std::move(row));
  }
  Table table(cells[0]);
  for (size_t i = 1; i < cells.size(); ++i) table.Add(cells[i]);
  return table.Text();
}

}  // namespace dvdi::cli
