// The old client's command line, taken apart.
#include <algorithm>
#include <string_view>

#include "base/text.h"
#include "cli/dvdcli.h"

namespace dvdi::cli {
namespace {

constexpr char kUsage[] =
    "dvdcli, the volume driver client, as part of dvdi\n"
    "\n"
    "Usage:\n"
    "  dvdcli VERB [flags]\n"
    "\n"
    "Verbs:\n"
    "  create   Create a volume\n"
    "  remove   Remove a volume\n"
    "  mount    Mount a volume, and print where it is\n"
    "  unmount  Unmount a volume\n"
    "  path     Print where a volume is\n"
    "  get      Print a volume's name, if its driver has it\n"
    "  list     Print the names of a driver's volumes\n"
    "  version  Print the version\n"
    "\n"
    "Flags:\n"
    "  --volumedriver=DRIVER     The volume's driver\n"
    "  --volumename=NAME         The volume\n"
    "  --volumeopts=KEY=VALUE    An option for its driver (create, mount); may be repeated, or hold "
    "several:\n"
    "                            K=V,K2=V2\n"
    "  --explicitcreate          Do not create a volume that is not there (mount)\n"
    "\n"
    "Settings are read from /etc/dvdi/config.yaml, or from the file that DVDI_CONFIG names.\n";

const char* const kVerbs[] = {"create", "remove", "mount",   "unmount", "path",
                              "get",    "list",   "version", "help"};

Status Usage(std::string message) {
  return Status(Code::kInvalid, std::move(message), "`dvdcli help` says what is known");
}

bool IsKey(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == '/';
}

// Whether an option begins there: KEY=.
bool BeginsOption(std::string_view text) {
  size_t n = 0;
  while (n < text.size() && IsKey(text[n])) ++n;
  return n > 0 && n < text.size() && text[n] == '=';
}

// The options of one --volumeopts. Several are parted by commas; a comma before what is no KEY=VALUE belongs
// to the value, since Mesos gives one option with each flag, whatever is in it. What begins with a quote is a
// CSV record, as the old program read all of them.
Status TakeOptions(std::string_view text, std::map<std::string, std::string>* options) {
  std::vector<std::string> parts;
  if (!text.empty() && text[0] == '"') {
    std::string part;
    bool quoted = false;
    for (size_t i = 0; i < text.size(); ++i) {
      bool quote = text[i] == '"';
      if (quote && quoted && i + 1 < text.size() && text[i + 1] == '"') {
        part += text[++i];
      } else if (quote) {
        quoted = !quoted;
      } else if (text[i] == ',' && !quoted) {
        parts.push_back(std::move(part));
        part.clear();
      } else {
        part += text[i];
      }
    }
    if (quoted) return Usage("--volumeopts " + std::string(text) + ": a quote has no end");
    parts.push_back(std::move(part));
  } else {
    for (size_t begin = 0, comma = 0; begin <= text.size() && !text.empty(); begin = comma + 1) {
      comma = text.find(',', begin);
      while (comma != std::string_view::npos && !BeginsOption(text.substr(comma + 1)))
        comma = text.find(',', comma + 1);
      parts.emplace_back(text.substr(begin, comma - begin));
      if (comma == std::string_view::npos) break;
    }
  }
  for (const std::string& part : parts) {
    size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) return Usage("--volumeopts " + part + " is no KEY=VALUE");
    (*options)[part.substr(0, equals)] = part.substr(equals + 1);
  }
  return OkStatus();
}

Result<bool> Truth(const std::string& flag, const std::string& value) {
  for (const char* yes : {"true", "1", "t", "T", "TRUE", "True"})
    if (value == yes) return true;
  for (const char* no : {"false", "0", "f", "F", "FALSE", "False"})
    if (value == no) return false;
  return Usage(flag + "=" + value + ": true or false is wanted");
}

}  // namespace

Result<DvdcliCall> ParseDvdcli(const std::vector<std::string>& arguments) {
  DvdcliCall call;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (word == "-h" || word == "--help") {
      call.verb = "help";
      return call;
    }
    if (word.empty() || word[0] != '-') {
      if (!call.verb.empty()) return Usage("\"" + word + "\" is not expected");
      if (std::find(std::begin(kVerbs), std::end(kVerbs), word) == std::end(kVerbs))
        return Usage("there is no verb \"" + word + "\"");
      call.verb = word;
      continue;
    }
    size_t equals = word.find('=');
    std::string flag = word.substr(0, equals);
    bool has_value = equals != std::string::npos;
    std::string value = has_value ? word.substr(equals + 1) : "";
    if (flag == "--explicitcreate") {
      DVDI_ASSIGN_OR_RETURN(call.explicit_create, has_value ? Truth(flag, value) : Result<bool>(true));
      continue;
    }
    if (flag != "--volumedriver" && flag != "--volumename" && flag != "--volumeopts")
      return Usage("there is no flag " + flag);
    if (!has_value) {
      if (i + 1 == arguments.size()) return Usage(flag + " has no value");
      value = arguments[++i];
    }
    if (!IsValidUtf8(value)) return Usage(flag + " is not valid UTF-8");
    if (flag == "--volumedriver")
      call.driver = value;
    else if (flag == "--volumename")
      call.volume = value;
    else
      DVDI_RETURN_IF_ERROR(TakeOptions(value, &call.options));
  }
  if (call.verb.empty() || call.verb == "help" || call.verb == "version") return call;
  if (call.driver.empty()) return Usage("dvdcli " + call.verb + " wants --volumedriver");
  if (call.volume.empty() && call.verb != "list") return Usage("dvdcli " + call.verb + " wants --volumename");
  if (!call.options.empty() && call.verb != "create" && call.verb != "mount")
    return Usage("dvdcli " + call.verb + " takes no --volumeopts");
  if (call.explicit_create && call.verb != "mount")
    return Usage("dvdcli " + call.verb + " takes no --explicitcreate");
  return call;
}

std::string DvdcliUsage() { return kUsage; }

}  // namespace dvdi::cli
