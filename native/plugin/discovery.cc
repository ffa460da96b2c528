// Where plugins listen, as Docker has it: sockets in one list of folders, then .spec and .json files
// in another.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>

#include "base/guards.h"
#include "base/json.h"
#include "base/text.h"
#include "plugin/client.h"
#include "plugin/socket.h"
#include "sys/files.h"
#include "sys/sys_fd.h"

namespace dvdi {
namespace {

constexpr size_t kMaxName = 128;
constexpr size_t kMaxSpec = 64 * 1024;

bool PlainName(std::string_view name) {
  auto word = [](unsigned char c) { return c < 0x80 && (std::isalnum(c) || c == '_'); };
  if (name.empty() || name.size() > kMaxName || !word(name[0])) return false;
  if (name.find("..") != std::string_view::npos) return false;
  return std::all_of(name.begin(), name.end(), [&](unsigned char c) {
    return word(c) || std::string_view(".-+@").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

Status NotPlain(const std::string& name) {
  Status s(Code::kInvalid, "driver name \"" + OneLine(name, 140) +
                               "\" is not a plain name: 1 to 128 letters, digits, '_', '.', '-', '+', '@', "
                               "beginning with a letter, a digit or '_', without '..'");
  if (name.find_first_of("/:") == std::string::npos) return s;
  return std::move(s).WithHint(
      "a managed plugin of Docker (OWNER/NAME:TAG) is reached through Docker only; give its socket a plain "
      "name "
      "with a .spec file");
}

std::string Trim(std::string_view text) {
  auto space = [](unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return std::string(text);
}

// Who can write to the folder of a socket or a file can be that plugin, and is told its secrets. `listed` is
// the folder of the settings, in which `path` lies or one folder deeper: who can write to it can put another
// in the inner one's place. Where a link leads, somebody else may rename; the listed folder may be one, as
// what is above it is the operator's to keep.
Status CheckFolderOf(Sys* sys, const std::string& listed, const std::string& path) {
  constexpr char kWhat[] = "the folder of plugins";
  const std::string folder = path.substr(0, path.rfind('/'));
  auto check = [&](const std::string& at, int flags) -> Status {
    struct stat st = {};
    if (const int r = sys->FstatAt(AT_FDCWD, at.c_str(), &st, flags); r < 0)
      return Status::FromErrno(-r, "cannot look at " + (kWhat + (" " + at)), at);
    if (!S_ISDIR(st.st_mode))
      return Status(Code::kRefused, kWhat + (" " + at) + " is a symbolic link, or no folder",
                    "make it a folder, or name the plugin's socket in a .spec file")
          .WithPath(at);
    return CheckOurs(st, at, kWhat);
  };
  DVDI_RETURN_IF_ERROR(check(listed, 0));
  return folder == listed ? Status() : check(folder, AT_SYMLINK_NOFOLLOW);
}

// The file's text. A FIFO or a device in its place must not hold us up.
Result<std::string> ReadSpec(Sys* sys, const std::string& path) {
  SysFd fd(sys, sys->OpenAt(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) return Status::FromErrno(fd.error(), "cannot open plugin file " + path, path);
  struct stat st = {};
  if (const int r = sys->Fstat(fd.get(), &st); r < 0)
    return Status::FromErrno(-r, "cannot look at plugin file " + path, path);
  if (!S_ISREG(st.st_mode))
    return Status(Code::kInvalid, "plugin file " + path + " is not a regular file").WithPath(path);
  DVDI_RETURN_IF_ERROR(CheckOurs(st, path, "plugin file"));
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = sys->Read(fd.get(), buffer, sizeof buffer);
    if (n == -EINTR) continue;
    if (n < 0) return Status::FromErrno(static_cast<int>(-n), "cannot read plugin file " + path, path);
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxSpec)
      return Status(Code::kInvalid, "plugin file " + path + " is longer than 64 KiB").WithPath(path);
  }
  // A byte order mark that an editor has put there: in a message about the address nobody would see it.
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

Status WrongFile(const std::string& path, std::string why) {
  return Status(Code::kInvalid, "plugin file " + path + " " + std::move(why),
                "write unix:///path/to/socket or tcp://ADDRESS:PORT (a numeric address, or localhost)")
      .WithPath(path);
}

Status NoTls(const std::string& path) {
  return Status(Code::kUnsupported, "TLS is not supported yet: plugin file " + path + " asks for it",
                "let the plugin listen on a Unix socket, or on tcp:// in a network that you trust")
      .WithPath(path);
}

Result<PluginAddress> ParseAddress(const std::string& url, const std::string& file) {
  std::string shown = "\"" + OneLine(url, 200) + "\"";
  size_t colon = url.find("://");
  if (colon == std::string::npos) return WrongFile(file, "holds no address, but " + shown);
  std::string scheme = url.substr(0, colon);
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  std::string rest = url.substr(colon + 3);
  for (unsigned char c : rest)
    if (c < 0x21 || c == 0x7F) return WrongFile(file, "has white space or control characters in " + shown);
  PluginAddress address;
  if (scheme == "https") return NoTls(file);
  if (scheme == "unix") {
    if (rest.empty() || rest[0] != '/')
      return WrongFile(file, "names a socket without an absolute path: " + shown);
    address.path = std::move(rest);
  } else if (scheme == "tcp" || scheme == "http") {
    if (!rest.empty() && rest.back() == '/') rest.pop_back();
    size_t at = rest.rfind(':');
    std::string port = at == std::string::npos ? "" : rest.substr(at + 1);
    bool digits = !port.empty() && port.size() <= 5 &&
                  std::all_of(port.begin(), port.end(), [](unsigned char c) { return std::isdigit(c); });
    long number = digits ? std::strtol(port.c_str(), nullptr, 10) : 0;
    if (number < 1 || number > 65535) return WrongFile(file, "names no port from 1 to 65535 in " + shown);
    address.kind = PluginAddress::Kind::kTcp;
    address.port = static_cast<uint16_t>(number);
    address.host = rest.substr(0, at);
    if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']')
      address.host = address.host.substr(1, address.host.size() - 2);
  } else {
    return WrongFile(file, "has an address of an unknown kind: " + shown);
  }
  auto targets = SocketTargets(address);
  if (!targets.ok()) return WrongFile(file, "cannot be used: " + targets.status().message());
  return address;
}

Result<PluginAddress> ReadSpecFile(Sys* sys, const std::string& listed, const std::string& path) {
  DVDI_RETURN_IF_ERROR(CheckFolderOf(sys, listed, path));
  DVDI_ASSIGN_OR_RETURN(std::string text, ReadSpec(sys, path));
  return ParseAddress(Trim(text), path);
}

Result<PluginAddress> ReadJsonFile(Sys* sys, const std::string& listed, const std::string& path) {
  DVDI_RETURN_IF_ERROR(CheckFolderOf(sys, listed, path));
  DVDI_ASSIGN_OR_RETURN(std::string text, ReadSpec(sys, path));
  DVDI_ASSIGN_OR_RETURN(Json json, ParseJson(text, "plugin file " + path));
  if (!json.is_object()) return WrongFile(path, "holds no JSON object");
  const Json& tls = GetMemberNoCase(json, "TLSConfig");
  const Json& address = GetMemberNoCase(json, "Addr");
  if (!tls.is_null()) return NoTls(path);
  if (!address.is_string()) return WrongFile(path, "has no text in its member Addr");
  return ParseAddress(Trim(address.get_ref<const std::string&>()), path);
}

// NAME.ext and NAME/NAME.ext below a folder.
std::vector<std::string> Places(const std::string& folder, const std::string& name, const char* extension) {
  return {folder + "/" + name + extension, folder + "/" + name + "/" + name + extension};
}

bool IsSocket(Sys* sys, const std::string& path) {
  struct stat st = {};
  return sys->FstatAt(AT_FDCWD, path.c_str(), &st, 0) == 0 && S_ISSOCK(st.st_mode);
}

bool Exists(Sys* sys, const std::string& path) {
  struct stat st = {};
  return sys->FstatAt(AT_FDCWD, path.c_str(), &st, 0) == 0;
}

// The plugin that an entry of a folder stands for by its name, or "".
std::string StemOf(const std::string& entry, const std::string& extension) {
  if (entry.size() <= extension.size() || !entry.ends_with(extension)) return "";
  std::string stem = entry.substr(0, entry.size() - extension.size());
  return PlainName(stem) ? stem : "";
}

}  // namespace

Result<PluginAddress> DiscoverPlugin(Sys* sys, const DiscoveryPaths& paths, const std::string& name) {
  if (DVDI_GUARD(plain_driver_name) && !PlainName(name)) return NotPlain(name);
  std::string looked;
  auto look = [&](const std::string& path) { looked += (looked.empty() ? "" : ", ") + path; };
  std::string no_socket;
  for (const std::string& folder : paths.sockets) {
    for (std::string& path : Places(folder, name, ".sock")) {
      if (IsSocket(sys, path)) {
        DVDI_RETURN_IF_ERROR(CheckFolderOf(sys, folder, path));
        PluginAddress address;
        address.path = std::move(path);
        return address;
      }
      if (Exists(sys, path)) no_socket = "; " + path + " is there, but is no socket";
    }
    look(folder + "/" + name + ".sock");
  }
  for (const std::string& folder : paths.specs) {
    for (const std::string& path : Places(folder, name, ".spec"))
      if (Exists(sys, path)) return ReadSpecFile(sys, folder, path);
    for (const std::string& path : Places(folder, name, ".json"))
      if (Exists(sys, path)) return ReadJsonFile(sys, folder, path);
    look(folder + "/" + name + ".spec or .json");
  }
  return Status(Code::kNotFound, "no plugin \"" + name + "\": looked for " + looked + no_socket,
                "is the plugin running, and is its name right?")
      .WithVolume(name, "");
}

std::vector<std::string> ListPlugins(Sys* sys, const DiscoveryPaths& paths) {
  std::set<std::string> found;
  auto scan = [&](const std::string& folder, const char* extension, bool sockets) {
    std::vector<std::string> entries;
    if (sys->ListDir(AT_FDCWD, folder.c_str(), &entries) < 0) return;
    for (const std::string& entry : entries) {
      std::string stem = StemOf(entry, extension);
      if (!stem.empty() && (!sockets || IsSocket(sys, folder + "/" + entry))) found.insert(stem);
      if (!PlainName(entry)) continue;
      std::string deep = folder + "/" + entry + "/" + entry + extension;
      if (sockets ? IsSocket(sys, deep) : Exists(sys, deep)) found.insert(entry);
    }
  };
  for (const std::string& folder : paths.sockets) scan(folder, ".sock", true);
  for (const std::string& folder : paths.specs) {
    scan(folder, ".spec", false);
    scan(folder, ".json", false);
  }
  return {found.begin(), found.end()};
}

}  // namespace dvdi
