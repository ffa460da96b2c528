// What a plugin answers, and to what.
#include <cctype>

#include "base/text.h"
#include "plugin/protocol.h"
#include "sanity/context.h"

namespace dvdi::sanity {
namespace {

constexpr char kUnanswered[] = "it was not answered: ";

void Activate(Context& c) {
  Said said = c.plugin().Post(MethodPath(Method::kActivate), "{}\n", Method::kActivate);
  if (!c.Expect(said.ok(), "Plugin.Activate: " + said.Text())) return;
  bool implements = false;
  for (const std::string& what : said.answer.implements) implements |= what == "VolumeDriver";
  c.Expect(implements, "Implements does not name VolumeDriver: " + said.Text());
}

void ContentType(Context& c) {
  auto connection = c.plugin().Connect();
  if (!c.Expect(connection.ok(), connection.status().message())) return;
  connection->Send("POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nContent-Length: 3\r\n\r\n{}\n", 5000);
  RawResponse response = connection->Receive(c.plugin().timeout_ms());
  if (!c.Expect(response.complete, kUnanswered + response.problem)) return;
  bool known = response.content_type.starts_with("application/vnd.docker.plugins.v1") ||
               response.content_type.starts_with("application/json");
  c.Expect(known, "the Content-Type is '" + response.content_type + "'");
}

void Capabilities(Context& c) {
  Said said = c.plugin().Ask(Method::kCapabilities, Json::object());
  if (!c.Expect(said.ok(), "VolumeDriver.Capabilities: " + said.Text())) return;
  if (said.reply.status >= 400) return;  // older than the method; clients take that
  auto body = ParseJson(said.reply.body, "answer");
  std::string scope =
      GetString(GetMemberNoCase(*body, "Capabilities").is_object() ? GetMemberNoCase(*body, "Capabilities")
                                                                   : Json::object(),
                "Scope");
  c.Expect(scope == "local" || scope == "global", "Scope is neither local nor global: " + said.Text());
}

void UnknownMethod(Context& c) {
  Said said = c.plugin().Post("/VolumeDriver.NoSuchMethod", "{}\n", Method::kRemove);
  if (!c.Expect(said.answered(), kUnanswered + said.Text())) return;
  c.Expect(!said.accepted(),
           "a method that does not exist was answered as if it had been done: " + said.Text());
}

void StillThere(Context& c, const char* after) {
  Said said = c.plugin().Post(MethodPath(Method::kActivate), "{}\n", Method::kActivate);
  c.Expect(said.ok(), std::string("after ") + after + ", Plugin.Activate: " + said.Text());
}

void NotJson(Context& c) {
  for (const char* body : {"{\"Name\": \"", "not json", "[]", "", "\xFF\xFE{}"}) {
    Said said = c.plugin().Post(MethodPath(Method::kGet), body, Method::kGet);
    std::string what = "a body of '" + OneLine(body, 20) + "': ";
    c.Expect(said.answered(), what + said.Text());
    c.Expect(!said.accepted(), what + said.Text());
  }
  StillThere(c, "bodies that are no JSON");
}

void WrongTypes(Context& c) {
  const Json bodies[] = {{{"Name", 7}}, {{"Name", Json::array({"a"})}}, {{"Name", nullptr}}, Json::object()};
  for (const Json& body : bodies) {
    Said said = c.plugin().Post(MethodPath(Method::kGet), Dump(body) + "\n", Method::kGet);
    std::string what = "Get with " + Dump(body) + ": ";
    c.Expect(said.answered(), what + said.Text());
    c.Expect(!said.accepted(), what + said.Text());
  }
  StillThere(c, "requests with wrong types");
}

// What takes an empty name for a volume is not asked to remove it: its folder may be that of all volumes.
void EmptyName(Context& c) {
  for (Method method : {Method::kGet, Method::kCreate}) {
    Said said = c.plugin().Ask(method, c.CreateBody(""));
    c.Expect(said.answered(), std::string(MethodName(method)) + " with an empty Name: " + said.Text());
    c.Expect(!said.accepted(), std::string(MethodName(method)) + " with an empty Name: " + said.Text() +
                                   (method == Method::kCreate ? "; what it made was not removed" : ""));
  }
}

void UnknownField(Context& c) {
  std::optional<std::string> name = c.Given();
  if (!name) return;
  Said said = c.plugin().Ask(Method::kGet, {{"Name", *name}, {"Tomorrow", {{"a", 1}}}});
  c.Expect(said.ok(), "Get with a member that no version of the protocol has: " + said.Text());
}

void ErrInJson(Context& c) {
  Said said = c.plugin().Ask(Method::kGet, c.Name("none"));
  c.Expect(said.answered(), kUnanswered + said.Text());
  if (said.ok()) return;  // unknown.get says so
  c.Expect(said.refused(), "an error without Err: " + said.Text());
}

// As Go's decoder takes it: digits in their places and ranges, a fraction that has some, a zone.
bool IsRfc3339(const std::string& text) {
  constexpr std::string_view kShape = "dddd-dd-ddTdd:dd:dd";
  if (text.size() < kShape.size() + 1) return false;
  auto fits = [&text](size_t at, std::string_view shape) {
    for (size_t i = 0; i < shape.size(); ++i) {
      bool digit = std::isdigit(static_cast<unsigned char>(text[at + i])) != 0;
      if (shape[i] == 'd' ? !digit : text[at + i] != shape[i]) return false;
    }
    return true;
  };
  auto within = [&text](size_t at, int least, int most) {
    int number = (text[at] - '0') * 10 + (text[at + 1] - '0');
    return number >= least && number <= most;
  };
  if (!fits(0, kShape) || !within(5, 1, 12) || !within(8, 1, 31) || !within(11, 0, 23) ||
      !within(14, 0, 59) || !within(17, 0, 59))
    return false;
  size_t at = kShape.size();
  if (text[at] == '.') {
    const size_t fraction = ++at;
    while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at]))) ++at;
    if (at == fraction) return false;
  }
  if (text.substr(at) == "Z") return true;
  if (text.size() - at != 6 || (text[at] != '+' && text[at] != '-')) return false;
  return fits(at + 1, "dd:dd") && within(at + 1, 0, 23) && within(at + 4, 0, 59);
}

// Whether Docker's decoder takes `volume`, one of Get's or List's answer. Returns whether nothing was found.
bool Decodes(Context& c, const Json& volume, const std::string& whose) {
  if (!c.Expect(volume.is_object(), whose + " is no object: " + Dump(volume))) return false;
  const Json& name = GetMemberNoCase(volume, "Name");
  const Json& status = GetMemberNoCase(volume, "Status");
  const Json& mountpoint = GetMemberNoCase(volume, "Mountpoint");
  const Json& created = GetMemberNoCase(volume, "CreatedAt");
  const bool time = created.is_null() || (created.is_string() && IsRfc3339(created.get<std::string>()));
  bool fine = c.Expect(name.is_string(), whose + " has a Name that is no text: " + Dump(name));
  fine &= c.Expect(status.is_null() || status.is_object(),
                   whose + " has a Status that is no object: " + Dump(status));
  fine &= c.Expect(mountpoint.is_null() || mountpoint.is_string(),
                   whose + " has a Mountpoint that is no text: " + Dump(mountpoint));
  return c.Expect(time, whose + " has a CreatedAt that is no time as RFC 3339 has it: " + Dump(created)) &&
         fine;
}

void DecodesAll(Context& c, const std::string& name, const std::string& when) {
  Said get = c.plugin().Ask(Method::kGet, name), list = c.plugin().Ask(Method::kList, Json::object());
  if (c.Expect(get.ok(), "Get" + when + ": " + get.Text())) {
    auto body = ParseJson(get.reply.body, "answer");
    const Json& volume = GetMemberNoCase(*body, "Volume");
    if (Decodes(c, volume, "Get's Volume" + when))
      c.Expect(GetMemberNoCase(volume, "Name") == name, "Get's Volume has another Name: " + get.Text());
  }
  if (!c.Expect(list.ok(), "List" + when + ": " + list.Text())) return;
  auto body = ParseJson(list.reply.body, "answer");
  for (const Json& volume : GetMemberNoCase(*body, "Volumes"))
    if (!Decodes(c, volume, "one of List's Volumes" + when)) return;  // the others are likely to be the same
}

// What there is of a volume that is mounted may be more.
void FieldTypes(Context& c) {
  auto name = c.Given();
  if (!name) return;
  DecodesAll(c, *name, "");
  if (c.Mount(*name, c.NewId()).ok()) DecodesAll(c, *name, " while it is mounted");
}

}  // namespace

std::vector<Check> ProtocolChecks() {
  return {
      {"protocol.activate", "it says that it implements VolumeDriver",
       "Plugin.Activate is answered with {\"Implements\": [\"VolumeDriver\"]}.",
       "They activate once, and use no plugin that does not say so.", Severity::kError, Activate},
      {"protocol.content-type", "answers are labelled as JSON",
       "Content-Type is application/vnd.docker.plugins.v1.1+json, or a later version of it.",
       "They ignore it; proxies and tools may not.", Severity::kWarning, ContentType},
      {"protocol.capabilities", "it says how far its volumes reach",
       "VolumeDriver.Capabilities is answered with {\"Capabilities\": {\"Scope\": \"local\" or \"global\"}}; "
       "plugins older than it answer 404.",
       "What they do not understand is \"local\" to them.", Severity::kWarning, Capabilities},
      {"protocol.unknown-method", "a method that it does not have is an error", "Nothing. HTTP has 404.",
       "They try newer methods, and take an answer without Err for done.", Severity::kError, UnknownMethod},
      {"protocol.not-json", "a body that is no JSON is an error, and no end", "Requests are JSON.",
       "They send JSON. A plugin that dies of one bad request takes every volume with it.", Severity::kError,
       NotJson},
      {"protocol.wrong-types", "a Name that is no text is an error", "Name is a string.",
       "They send text. Success here means that Get finds what does not exist.", Severity::kError,
       WrongTypes},
      {"protocol.empty-name", "an empty Name is an error", "Name is the volume's name.",
       "They send none. To a plugin that joins paths it is the folder of all volumes.", Severity::kError,
       EmptyName, true},
      {"protocol.unknown-field", "what it does not know in a request is ignored",
       "Nothing; members were added over the years.",
       "Newer ones send members that older plugins do not know.", Severity::kError, UnknownField},
      {"protocol.err-in-json", "an error is JSON with Err",
       "Errors are {\"Err\": \"…\"} with a status other than 200.",
       "They show Err, and read it at any status. A page of HTML tells nobody why, and dvdi takes it for no "
       "answer: "
       "it then neither creates nor mounts.",
       Severity::kError, ErrInJson},
      {"protocol.field-types", "Get and List answer with the fields that clients decode",
       "A volume has Name, Mountpoint (text), CreatedAt (RFC 3339) and Status (an object); all but Name may "
       "be "
       "missing.",
       "Docker's decoder fails the whole Get, or the whole List, on a wrong type or a CreatedAt that is no "
       "time, "
       "the empty one too.",
       Severity::kError, FieldTypes},
  };
}

}  // namespace dvdi::sanity
