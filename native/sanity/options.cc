#include "sanity/options.h"

#include <set>

#include "base/text.h"

namespace dvdi::sanity {

void Declare(CLI::App& app, Options* o) {
  app.add_option("--socket", o->socket, "The plugin's socket: a path, or tcp://HOST:PORT");
  app.add_option("--create-opt", o->create_options,
                 "KEY=VALUE, sent with every Create; once for each option that the driver needs")
      ->allow_extra_args(false);
  app.add_option("--only", o->only, "A group of checks (mount) or one check (mount.two-ids); may be repeated")
      ->allow_extra_args(false);
  app.add_option("--expected", o->expected,
                 "File (YAML) of findings that are known, with the reason of each: CHECK: REASON");
  app.add_option("--junit", o->junit, "File to write the outcome to, as JUnit's XML");
  app.add_option("--timeout", o->timeout_seconds, "Seconds for each call (default 60)")
      ->check(CLI::Range(1, 3600));
  app.add_flag(
      "--no-files", o->no_files,
      "Look into no folder: the plugin's mounts cannot be seen from here, or must not be written to");
  app.add_flag("--list", o->list, "Print the checks with what they are about, and end");
  app.add_option("restart", o->restart,
                 "After --: the command (path of the program, arguments) that restarts the plugin and ends "
                 "when it is restarted. Without it what depends "
                 "on that is skipped");
}

Result<PluginAddress> Address(const std::string& socket) {
  PluginAddress address;
  constexpr std::string_view kTcp = "tcp://", kUnix = "unix://";
  if (!socket.starts_with(kTcp)) {
    address.path = socket.starts_with(kUnix) ? socket.substr(kUnix.size()) : socket;
    return address;
  }
  std::string rest = socket.substr(kTcp.size());
  size_t colon = rest.rfind(':');
  std::string port = colon == std::string::npos ? "" : rest.substr(colon + 1);
  bool digits = port.size() <= 5 && IsDigits(port);
  int number = digits ? std::stoi(port) : 0;
  if (number < 1 || number > 65535)
    return Status(Code::kInvalid, "--socket '" + OneLine(socket, 100) + "' has no port",
                  "write tcp://HOST:PORT");
  address.kind = PluginAddress::Kind::kTcp;
  address.host = rest.substr(0, colon);
  address.port = static_cast<uint16_t>(number);
  return address;
}

Result<std::map<std::string, std::string>> CreateOptions(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> out;
  for (const std::string& text : texts) {
    size_t sign = text.find('=');
    if (sign == std::string::npos || sign == 0)
      return Status(Code::kInvalid, "--create-opt '" + OneLine(text, 100) + "' is no KEY=VALUE");
    out[text.substr(0, sign)] = text.substr(sign + 1);
  }
  return out;
}

Result<std::vector<const Check*>> ChosenOf(const std::vector<std::string>& only,
                                           const std::vector<Check>& all) {
  std::set<std::string> unused(only.begin(), only.end());
  std::vector<const Check*> chosen;
  for (const Check& check : all) {
    bool is = only.empty();
    for (const std::string& one : only)
      if (check.id == one || check.id.starts_with(one + ".")) is = true, unused.erase(one);
    if (is) chosen.push_back(&check);
  }
  if (unused.empty()) return chosen;
  return Status(Code::kInvalid, "--only '" + OneLine(*unused.begin(), 100) + "' is no check and no group",
                "dvdi-sanity --list names them");
}

}  // namespace dvdi::sanity
