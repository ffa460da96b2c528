#include "cli/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <string_view>

#include "base/fd.h"
#include "base/text.h"
#include "base/yaml.h"

namespace dvdi::cli {
namespace {

constexpr size_t kMostBytes = 1 << 20;

std::string NameOf(const std::string& path) { return path == "-" ? "standard input" : path; }

Result<std::string> ReadSource(const std::string& path) {
  const std::string what = NameOf(path);
  UniqueFd file;
  if (path != "-") {
    file.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file.valid()) return Status::FromErrno(errno, "cannot open " + what, path);
  }
  std::string text;
  char buffer[16384];
  for (;;) {
    ssize_t n = ::read(path == "-" ? STDIN_FILENO : file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromErrno(errno, "cannot read " + what, path);
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMostBytes)
      return Status(Code::kInvalid, what + " is larger than 1 MiB",
                    "A declaration of volumes is a few lines");
  }
  if (!IsValidUtf8(text)) return Status(Code::kInvalid, what + " is not valid UTF-8");
  return text;
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// By its name where that says it; else what begins like a JSON object is JSON.
bool IsYaml(const std::string& path, std::string_view text) {
  if (EndsWith(path, ".json")) return false;
  if (EndsWith(path, ".yaml") || EndsWith(path, ".yml")) return true;
  size_t first = text.find_first_not_of(" \t\r\n");
  return first == std::string_view::npos || (text[first] != '{' && text[first] != '[');
}

// DVDI_VOLUME_* alone: other variables of that prefix are options of this program.
Json FromEnvironment() {
  constexpr std::string_view kPrefix = "DVDI_VOLUME_";
  Json env = Json::object();
  for (char** e = environ; *e != nullptr; ++e) {
    std::string_view entry(*e);
    size_t equals = entry.find('=');
    if (equals == std::string_view::npos || entry.substr(0, kPrefix.size()) != kPrefix) continue;
    env[std::string(entry.substr(0, equals))] = std::string(entry.substr(equals + 1));
  }
  return env;
}

}  // namespace

Result<Json> LoadSources(const std::vector<SourceOption>& options) {
  Json sources = Json::array();
  for (const auto& option : options) {
    if (option.from == SourceOption::From::kEnvironment) {
      sources.push_back({{"form", "env"}, {"env", FromEnvironment()}});
      continue;
    }
    std::string text = option.value;
    Json source = {{"form", option.form}};
    if (option.from == SourceOption::From::kFile) {
      DVDI_ASSIGN_OR_RETURN(text, ReadSource(option.value));
      const std::string origin = NameOf(option.value);
      source["origin"] = origin;
      if (option.form == "statement" && IsYaml(option.value, text)) {
        auto yaml = ParseYaml(text, origin);
        if (!yaml.ok()) return yaml.status();
        text = Dump(*yaml);
      }
    } else if (!IsValidUtf8(text)) {
      return Status(Code::kInvalid, "--" + option.form + " is not valid UTF-8");
    }
    source["text"] = std::move(text);
    sources.push_back(std::move(source));
  }
  return sources;
}

Result<Json> OneVolume(Json volume) {
  DVDI_ASSIGN_OR_RETURN(std::string text, DumpWhole({{"volumes", Json::array({std::move(volume)})}}));
  return Json::array({{{"form", "statement"}, {"text", std::move(text)}}});
}

Status AboutOneVolume(const Status& status) {
  constexpr std::string_view kPlace = "volumes[0].";
  std::string message = status.message();
  if (size_t at = message.find(kPlace); at != std::string::npos)
    message.replace(at, kPlace.size(), "the volume's ");
  Status said(status.code(), std::move(message), status.hint());
  return std::move(said.WithVolume(status.driver(), status.volume())).WithPath(status.path());
}

std::string MountText(const std::string& driver, const std::string& name, const std::string& target) {
  std::string out = "type=volume";
  auto add = [&](const char* key, const std::string& value) {
    std::string field = std::string(key) + "=" + value;
    if (field.find_first_of(",\"\r\n") != std::string::npos) {
      std::string quoted = "\"";
      for (char c : field) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
      field = quoted + "\"";
    }
    out += "," + field;
  };
  add("source", name);
  add("target", target);
  if (!driver.empty()) add("volume-driver", driver);
  return out;
}

}  // namespace dvdi::cli
