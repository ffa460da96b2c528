#include "settings/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"
#include "base/guards.h"
#include "base/nearest.h"
#include "base/text.h"
#include "base/yaml.h"
#include "settings/fields.h"

namespace dvdi {
namespace {

constexpr size_t kMaxFile = 1 << 20;
// Of a member that is not known: what is longer is not looked for.
constexpr size_t kLongestWord = 60;

// Takes the members of one source into the settings.
class Taker {
 public:
  Taker(std::string source, const std::map<std::string, int>* lines, Settings* settings)
      : source_(std::move(source)), lines_(lines), settings_(settings) {}

  Status Take(const Json& root) {
    if (root.is_null()) return OkStatus();
    if (!root.is_object())
      return Status(Code::kInvalid, source_ + " must be a group of members, such as node: NAME");
    return Group(root, "", "", "", "");
  }

 private:
  // `known` is the group's name in the table (with "*"), `shown` as it was written.
  Status Group(const Json& group, const std::string& known, const std::string& shown,
               const std::string& pointer, const std::string& driver);
  Status Wrong(const std::string& pointer, const std::string& what) const {
    std::string where = source_;
    if (lines_ != nullptr)
      if (auto it = lines_->find(pointer); it != lines_->end())
        where += ", line " + std::to_string(it->second);
    return Status(Code::kInvalid, where + ": " + what, "see docs/settings.md for all settings");
  }
  static std::string Suggestion(const std::string& known, const std::string& key);

  const std::string source_;
  const std::map<std::string, int>* lines_;
  Settings* settings_;
};

std::string Taker::Suggestion(const std::string& known, const std::string& key) {
  if (key.size() > kLongestWord) return "";
  std::string elsewhere, members;
  std::set<std::string> here;
  for (const SettingField& f : SettingFields()) {
    if (f.name.size() > key.size() && f.name.ends_with("." + key)) elsewhere = f.name;
    if (f.name.starts_with(known))
      here.insert(f.name.substr(known.size(), f.name.find('.', known.size()) - known.size()));
  }
  for (const std::string& member : here) members += (members.empty() ? "" : ", ") + member;
  const std::string best = Nearest(key, here);
  if (!best.empty()) return "; did you mean " + best + "?";
  if (!elsewhere.empty()) return "; did you mean " + elsewhere + "?";
  return "; there are " + members;
}

Status Taker::Group(const Json& group, const std::string& known, const std::string& shown,
                    const std::string& pointer, const std::string& driver) {
  for (auto it = group.begin(); it != group.end(); ++it) {
    const std::string at = pointer + "/" + JsonPointerToken(it.key());
    const std::string name = OneLine(shown + it.key(), 160);
    const bool is_driver = known == "drivers.";
    if (is_driver &&
        (it.key().empty() || it.key().size() > 128 || it.key().find_first_of("/*") != std::string::npos))
      return Wrong(at, name + " is no driver's name");
    if (!is_driver && it.key().find('.') != std::string::npos)
      return Wrong(at, "there is no setting \"" + name +
                           "\" with a dot in its name; write the parts as nested groups");
    const std::string member = known + (is_driver ? "*" : it.key());
    const SettingField* field = nullptr;
    bool is_group = false;
    for (const SettingField& f : SettingFields()) {
      if (f.name == member) field = &f;
      is_group = is_group || f.name.starts_with(member + ".");
    }
    if (field == nullptr && !is_group)
      return Wrong(at, "there is no setting " + name + Suggestion(known, it.key()));
    if (it->is_null()) continue;  // "node:" with nothing behind it is as if it were not there
    if (field == nullptr) {
      if (!it->is_object()) return Wrong(at, name + " must be a group of members");
      DVDI_RETURN_IF_ERROR(
          Group(*it, member + ".", shown + it.key() + ".", at, is_driver ? it.key() : driver));
      continue;
    }
    if (!field->set(*it, driver, settings_))
      return Wrong(at, name + " must be " + field->accepts + ", not " + OneLine(Dump(*it), 100));
  }
  return OkStatus();
}

// The file's text; an error for a file that somebody else could have written. kNotFound where there is none.
Result<std::string> ReadOwnSettings(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) {
    if (errno == ENOENT || errno == ENOTDIR)
      return Status(Code::kNotFound, "there is no settings file " + path).WithPath(path);
    return Status::FromErrno(errno, "cannot open settings file " + path, path);
  }
  struct stat st;
  if (::fstat(fd.get(), &st) != 0)
    return Status::FromErrno(errno, "cannot look at settings file " + path, path);
  if (!S_ISREG(st.st_mode))
    return Status(Code::kInvalid, "settings file " + path + " is not a regular file").WithPath(path);
  if (st.st_uid != 0 && st.st_uid != ::geteuid())
    return Status(Code::kRefused,
                  "settings file " + path + " belongs to user " + std::to_string(st.st_uid) +
                      ", who could rewrite it",
                  "run: chown root " + path)
        .WithPath(path);
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return Status(Code::kRefused, "settings file " + path + " can be written by its group or by others",
                  "run: chmod go-w " + path)
        .WithPath(path);
  std::string text;
  char buffer[8192];
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromErrno(errno, "cannot read settings file " + path, path);
    if (n == 0) return text;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxFile)
      return Status(Code::kInvalid, "settings file " + path + " is longer than 1 MiB").WithPath(path);
  }
}

std::string HostName() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "localhost";
  return OneLine(name, 255);
}

// What holds between members.
Status Complete(Settings* s) {
  if (s->policy_dir.empty()) s->policy_dir = s->state_dir + "/policy";
  if (s->node.empty()) s->node = HostName();
  auto wrong = [](std::string what) { return Status(Code::kInvalid, "settings: " + what); };
  if (s->state_dir == "/" || s->runtime_dir == "/" || s->policy_dir == "/")
    return wrong("state_dir, runtime_dir and policy_dir must be folders of their own, not /");
  if (s->state_dir == s->runtime_dir)
    return wrong("state_dir and runtime_dir are both " + s->state_dir +
                 ", and must differ: one outlives a boot");
  if (s->release_max_ms < s->release_base_ms) return wrong("release.max_ms is less than release.base_ms");
  for (const auto& [driver, d] : s->drivers)
    for (const std::string& option : d.overwrite_options)
      if (!s->IsOverwriteOption(option))
        return wrong("drivers." + OneLine(driver, 130) + ".overwrite_options allows " + OneLine(option, 100) +
                     ", which is not in the list overwrite_options");
  return OkStatus();
}

}  // namespace

bool Settings::AllowsDriver(const std::string& driver) const {
  return all_drivers ||
         std::find(allowed_drivers.begin(), allowed_drivers.end(), driver) != allowed_drivers.end();
}

Status Settings::CheckDriver(const std::string& driver, const std::string& volume) const {
  if (!DVDI_GUARD(allowed_drivers) || AllowsDriver(driver)) return OkStatus();
  return Status(Code::kRefused, "driver " + OneLine(driver, 60) + " is not allowed on this node",
                "the settings (plugins.allowed_drivers) list those that are")
      .WithVolume(OneLine(driver, 128), OneLine(volume, 255));
}

bool Settings::SecretAllowed(const std::string& driver, const std::string& secret) const {
  auto names = [&secret](const DriverSettings& d) {
    return d.secrets && std::find(d.secrets->begin(), d.secrets->end(), secret) != d.secrets->end();
  };
  const auto own = drivers.find(driver);
  if (own != drivers.end() && own->second.secrets) return names(own->second);
  return std::none_of(drivers.begin(), drivers.end(), [&](const auto& d) { return names(d.second); });
}

int Settings::MaxInFlight(const std::string& driver) const {
  auto it = drivers.find(driver);
  return it != drivers.end() && it->second.max_in_flight > 0 ? it->second.max_in_flight : max_in_flight;
}

bool Settings::IsOverwriteOption(const std::string& name) const {
  const std::string key = OptionKey(name);
  return std::any_of(overwrite_options.begin(), overwrite_options.end(),
                     [&](const std::string& o) { return OptionKey(o) == key; });
}

bool Settings::OverwriteAllowed(const std::string& driver, const std::string& name) const {
  auto it = drivers.find(driver);
  if (it == drivers.end()) return false;
  const std::string key = OptionKey(name);
  return std::any_of(it->second.overwrite_options.begin(), it->second.overwrite_options.end(),
                     [&](const std::string& o) { return OptionKey(o) == key; });
}

Result<Settings> LoadSettings(const std::string& path, bool must_exist, const Json& overrides) {
  Settings settings;
  // Where systemd puts what a unit's LoadCredential= names: the service's own, so no setting.
  if (const char* credentials = ::secure_getenv("CREDENTIALS_DIRECTORY");
      credentials != nullptr && IsSettingPath(credentials))
    settings.credentials_dir = credentials;
  auto text = ReadOwnSettings(path);
  if (!text.ok() && (must_exist || text.status().code() != Code::kNotFound)) return text.status();
  if (text.ok()) {
    const std::string what = "settings file " + path;
    auto document = ParseYamlDocument(*text, what);
    if (!document.ok()) return Status(document.status()).WithPath(path);
    Status s = Taker(what, &document->lines, &settings).Take(document->value);
    if (!s.ok()) return std::move(s).WithPath(path);
  }
  DVDI_RETURN_IF_ERROR(Taker("settings given by the caller", nullptr, &settings).Take(overrides));
  DVDI_RETURN_IF_ERROR(Complete(&settings));
  return settings;
}

std::vector<std::string> SettingNames() {
  std::vector<std::string> names;
  for (const SettingField& f : SettingFields()) names.push_back(f.name);
  return names;
}

}  // namespace dvdi
