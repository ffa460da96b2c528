#include "sanity/report.h"

#include <algorithm>

#include "base/json.h"
#include "base/text.h"

namespace dvdi::sanity {
namespace {

constexpr char kStale[] = "it is listed as an expected finding, and was not found: remove it from that file";

// TAP gives a meaning to # and \ in descriptions and reasons.
std::string TapText(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '#') out += '\\';
    out += c;
  }
  return out;
}

// A JSON text is a YAML scalar.
std::string Quoted(const std::string& text) { return Dump(Json(text)); }

const char* SeverityName(Severity severity) { return severity == Severity::kError ? "error" : "warning"; }

// XML 1.0 (2.2, Char) has no control characters, surrogates, U+FFFE or U+FFFF, however they are written: one
// of them, or a byte that is no UTF-8, makes the whole file unreadable.
std::string XmlText(const std::string& text) {
  std::string line = OneLine(text, std::string::npos), out;
  for (std::string_view none : {"\xEF\xBF\xBE", "\xEF\xBF\xBF"})
    for (size_t at = 0; (at = line.find(none, at)) != std::string::npos;) line.replace(at, none.size(), "?");
  for (char c : line) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

size_t CountOf(const std::vector<Outcome>& outcomes, Outcome::Kind kind) {
  return static_cast<size_t>(
      std::count_if(outcomes.begin(), outcomes.end(), [&](const Outcome& o) { return o.kind() == kind; }));
}

std::string Seconds(int64_t ms) {
  std::string thousandths = std::to_string(ms % 1000);
  return std::to_string(ms / 1000) + "." + std::string(3 - thousandths.size(), '0') + thousandths;
}

std::string JunitBody(const Outcome& o) {
  std::string details;
  for (const std::string& one : o.found) details += XmlText(one) + "\n";
  switch (o.kind()) {
    case Outcome::Kind::kPassed: return "";
    case Outcome::Kind::kSkipped: return "<skipped message=\"" + XmlText(o.skipped) + "\"/>";
    case Outcome::Kind::kExpected:
      return "<skipped message=\"expected: " + XmlText(o.expected) + "\"/><system-out>" + details +
             "</system-out>";
    case Outcome::Kind::kStale: return std::string("<failure message=\"") + kStale + "\"/>";
    case Outcome::Kind::kFound: break;
  }
  return "<failure type=\"" + std::string(SeverityName(o.check->severity)) + "\" message=\"" +
         XmlText(o.found[0]) + "\">" + details + "protocol: " + XmlText(o.check->protocol) +
         "\nclients: " + XmlText(o.check->clients) + "</failure>";
}

}  // namespace

std::string TapHead(size_t checks) { return "TAP version 14\n1.." + std::to_string(checks) + "\n"; }

std::string TapPoint(size_t number, const Outcome& o) {
  using Kind = Outcome::Kind;
  Kind kind = o.kind();
  bool ok = kind == Kind::kPassed || kind == Kind::kSkipped;
  std::string out = (ok ? "ok " : "not ok ") + std::to_string(number) + " - " + TapText(o.check->id) + " " +
                    TapText(o.check->title);
  if (kind == Kind::kSkipped) out += " # SKIP " + TapText(o.skipped);
  if (kind == Kind::kExpected) out += " # TODO expected: " + TapText(o.expected);
  out += "\n";
  if (kind == Kind::kStale) return out + "  ---\n  found:\n    - " + Quoted(kStale) + "\n  ...\n";
  if (ok) return out;
  out += "  ---\n  severity: " + std::string(SeverityName(o.check->severity)) + "\n  found:\n";
  for (const std::string& one : o.found) out += "    - " + Quoted(one) + "\n";
  out +=
      "  protocol: " + Quoted(o.check->protocol) + "\n  clients: " + Quoted(o.check->clients) + "\n  ...\n";
  return out;
}

std::string JunitXml(const std::vector<Outcome>& outcomes, const std::string& suite) {
  using Kind = Outcome::Kind;
  int64_t ms = 0;
  for (const Outcome& o : outcomes) ms += o.ms;
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"" +
                    XmlText(suite) + "\" tests=\"" + std::to_string(outcomes.size()) + "\" failures=\"" +
                    std::to_string(CountOf(outcomes, Kind::kFound) + CountOf(outcomes, Kind::kStale)) +
                    "\" skipped=\"" +
                    std::to_string(CountOf(outcomes, Kind::kSkipped) + CountOf(outcomes, Kind::kExpected)) +
                    "\" errors=\"0\" time=\"" + Seconds(ms) + "\">\n";
  for (const Outcome& o : outcomes) {
    size_t dot = o.check->id.find('.');
    out += "<testcase classname=\"" + XmlText(o.check->id.substr(0, dot)) + "\" name=\"" +
           XmlText(o.check->id.substr(dot + 1) + ": " + o.check->title) + "\" time=\"" + Seconds(o.ms) +
           "\">" + JunitBody(o) + "</testcase>\n";
  }
  return out + "</testsuite>\n</testsuites>\n";
}

std::string Summary(const std::vector<Outcome>& outcomes) {
  using Kind = Outcome::Kind;
  std::string out = std::to_string(outcomes.size()) +
                    " checks: " + std::to_string(CountOf(outcomes, Kind::kPassed)) + " passed";
  auto add = [&](Kind kind, const char* word) {
    if (size_t n = CountOf(outcomes, kind); n > 0) out += ", " + std::to_string(n) + " " + word;
  };
  add(Kind::kFound, "found");
  add(Kind::kExpected, "found as expected");
  add(Kind::kStale, "expected and not found");
  add(Kind::kSkipped, "skipped");
  return out;
}

bool Clean(const std::vector<Outcome>& outcomes) {
  return CountOf(outcomes, Outcome::Kind::kFound) == 0 && CountOf(outcomes, Outcome::Kind::kStale) == 0;
}

}  // namespace dvdi::sanity
