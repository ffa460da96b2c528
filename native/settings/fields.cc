#include "settings/fields.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <utility>

#include "base/path.h"
#include "base/text.h"

namespace dvdi {
namespace {

// Bytes of the blank or control character that a text begins with; 0 where it begins with another one.
size_t BlankAt(std::string_view text) {
  const unsigned char c = static_cast<unsigned char>(text[0]);
  if (c < 0x80) return c <= 0x20 || c == 0x7f ? 1 : 0;
  // Unicode's, and the mark at the beginning of a file.
  for (std::string_view blank : {"\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF",
                                 "\xE2\x81\x9F", "\xE3\x80\x80", "\xEF\xBB\xBF"})
    if (text.substr(0, blank.size()) == blank) return blank.size();
  const bool wide =
      text.size() >= 3 && text.substr(0, 2) == "\xE2\x80" && static_cast<unsigned char>(text[2]) <= 0x8B;
  return wide ? 3 : 0;
}

constexpr int64_t kDay = 86'400'000;
constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

// NUMBER and a unit, in the smallest unit.
bool ReadUnits(const Json& value, std::initializer_list<std::pair<std::string_view, int64_t>> units,
               int64_t* out) {
  if (value.is_number_integer()) {
    if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) return false;
    *out = value.get<int64_t>();
    return *out >= 0;
  }
  if (!value.is_string()) return false;
  std::string_view text = value.get_ref<const std::string&>();
  int64_t n = 0;
  auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (err != std::errc() || n < 0) return false;
  std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  for (const auto& [name, factor] : units) {
    if (unit != name) continue;
    if (n > std::numeric_limits<int64_t>::max() / factor) return false;
    *out = n * factor;
    return true;
  }
  return false;
}

bool ReadPath(const Json& value, std::string* out) {
  if (!value.is_string() || !IsSettingPath(value.get_ref<const std::string&>())) return false;
  *out = value.get<std::string>();
  return true;
}

bool ReadList(const Json& value, const std::function<bool(const std::string&)>& good,
              std::vector<std::string>* out) {
  if (!value.is_array() || value.size() > 10'000) return false;
  std::vector<std::string> list;
  for (const Json& item : value) {
    if (!item.is_string() || !good(item.get_ref<const std::string&>())) return false;
    list.push_back(item.get<std::string>());
  }
  *out = std::move(list);
  return true;
}

bool IsName(const std::string& text) { return !text.empty() && text.size() <= 255 && !HasControl(text); }

class Table {
 public:
  std::vector<SettingField> fields;

  template <class Get>
  void Path(const char* name, Get get) {
    fields.push_back(
        {name, "an absolute path without \"..\" or a slash at its end",
         [get](const Json& v, const std::string&, Settings* s) { return ReadPath(v, &get(*s)); }});
  }
  template <class Get>
  void Paths(const char* name, Get get) {
    fields.push_back({name, "a list of absolute paths without \"..\" or a slash at their end",
                      [get](const Json& v, const std::string&, Settings* s) {
                        return ReadList(
                            v, [](const std::string& p) { return IsSettingPath(p); }, &get(*s));
                      }});
  }
  template <class Get>
  void Names(const char* name, const char* accepts, Get get) {
    fields.push_back({name, accepts, [get](const Json& v, const std::string& driver, Settings* s) {
                        return ReadList(v, IsName, &get(*s, driver));
                      }});
  }
  template <class Get>
  void Count(const char* name, int64_t min, int64_t max, Get get) {
    fields.push_back({name, "a whole number from " + std::to_string(min) + " to " + std::to_string(max),
                      [=](const Json& v, const std::string& driver, Settings* s) {
                        return v.is_number_integer() && Bounded(v, ReadSize, min, max, get(*s, driver));
                      }});
  }
  template <class Get>
  void Duration(const char* name, int64_t min, int64_t max, Get get) {
    fields.push_back({name,
                      "milliseconds, or a time such as \"30s\" or \"5m\" (units ms, s, m, h), from " +
                          std::to_string(min) + " to " + std::to_string(max) + " ms",
                      [=](const Json& v, const std::string& driver, Settings* s) {
                        return Bounded(v, ReadDuration, min, max, get(*s, driver));
                      }});
  }
  template <class Get>
  void Size(const char* name, int64_t min, int64_t max, Get get) {
    fields.push_back({name,
                      "bytes, or a size such as \"64MiB\" (units B, KiB, MiB, GiB), from " +
                          std::to_string(min) + " to " + std::to_string(max) + " bytes",
                      [=](const Json& v, const std::string& driver, Settings* s) {
                        return Bounded(v, ReadSize, min, max, get(*s, driver));
                      }});
  }

 private:
  template <class T>
  static bool Bounded(const Json& v, bool (*read)(const Json&, int64_t*), int64_t min, int64_t max, T* out) {
    int64_t n;
    if (!read(v, &n) || n < min || n > max) return false;
    *out = static_cast<T>(n);
    return true;
  }
};

std::vector<SettingField> Make() {
  using S = Settings;
  using D = const std::string;
  Table t;
  t.Path(
      "state_dir", [](S & s) -> auto& { return s.state_dir; });
  t.Path(
      "runtime_dir", [](S & s) -> auto& { return s.runtime_dir; });
  t.Path(
      "policy_dir", [](S & s) -> auto& { return s.policy_dir; });
  t.Path(
      "helper", [](S & s) -> auto& { return s.helper; });
  t.fields.push_back(
      {"node", "a name of 1 to 255 characters without white space", [](const Json& v, D&, S* s) {
         if (!v.is_string() || !IsName(v.get_ref<const std::string&>())) return false;
         s->node = v.get<std::string>();
         return s->node.find(' ') == std::string::npos;
       }});
  t.Paths(
      "target_roots", [](S & s) -> auto& { return s.target_roots; });

  t.Paths(
      "plugins.sockets", [](S & s) -> auto& { return s.plugin_paths.sockets; });
  t.Paths(
      "plugins.specs", [](S & s) -> auto& { return s.plugin_paths.specs; });
  t.fields.push_back(
      {"plugins.allowed_drivers", "\"all\" or a list of driver names", [](const Json& v, D&, S* s) {
         s->all_drivers = v == "all";
         if (s->all_drivers) s->allowed_drivers.clear();
         return s->all_drivers || ReadList(v, IsName, &s->allowed_drivers);
       }});
  t.Count("plugins.max_in_flight", 1, 10'000, [](S& s, D&) { return &s.max_in_flight; });
  t.Size("plugins.max_body", 4 * kKiB, kGiB, [](S& s, D&) { return &s.max_body; });
  t.Count("breaker.failures", 0, 1'000'000, [](S& s, D&) { return &s.breaker.failures; });
  t.Duration("breaker.open_ms", 0, kDay, [](S& s, D&) { return &s.breaker.open_ms; });
  t.Count("drivers.*.max_in_flight", 1, 10'000, [](S& s, D& d) { return &s.drivers[d].max_in_flight; });
  t.Names(
      "drivers.*.overwrite_options", "a list of option names",
      [](S & s, D & d) -> auto& { return s.drivers[d].overwrite_options; });
  t.fields.push_back({"drivers.*.secrets", "a list of names of secrets", [](const Json& v, D& d, S* s) {
                        return ReadList(v, IsSecretName, &s->drivers[d].secrets.emplace());
                      }});
  t.Names(
      "overwrite_options", "a list of option names", [](S & s, D&) -> auto& { return s.overwrite_options; });

  t.Duration("deadlines.prepare_ms", 1, kDay, [](S& s, D&) { return &s.prepare_ms; });
  t.Duration("deadlines.cleanup_ms", 1, kDay, [](S& s, D&) { return &s.cleanup_ms; });
  t.Duration("deadlines.call_max_ms", 1, kDay, [](S& s, D&) { return &s.call_max_ms; });
  t.Duration("deadlines.lock_wait_ms", 1, kDay, [](S& s, D&) { return &s.lock_wait_ms; });
  t.Duration("release.base_ms", 1, kDay, [](S& s, D&) { return &s.release_base_ms; });
  t.Duration("release.max_ms", 1, kDay, [](S& s, D&) { return &s.release_max_ms; });

  t.Count("limits.fuel", 1'000'000, 1'000'000'000'000, [](S& s, D&) { return &s.limits.fuel; });
  t.Size("limits.memory_bytes", kMiB, 4 * kGiB, [](S& s, D&) { return &s.limits.memory_bytes; });
  t.Size("limits.stack_bytes", 64 * kKiB, 64 * kMiB, [](S& s, D&) { return &s.limits.stack_bytes; });
  t.Size("limits.blob_bytes", 4 * kKiB, 256 * kMiB, [](S& s, D&) { return &s.limits.blob_bytes; });
  t.Count("limits.host_calls", 10, 10'000'000, [](S& s, D&) { return &s.limits.host_calls; });
  t.Size("limits.host_bytes", 64 * kKiB, kGiB, [](S& s, D&) { return &s.limits.host_bytes; });
  t.Size("limits.reply_bytes", 4 * kKiB, 256 * kMiB, [](S& s, D&) { return &s.limits.reply_bytes; });
  t.Size("limits.input_bytes", 4 * kKiB, 256 * kMiB, [](S& s, D&) { return &s.limits.input_bytes; });

  t.Count("records.keep", 0, 10'000'000, [](S& s, D&) { return &s.records_keep; });
  t.Size("records.max_bytes", 4 * kKiB, 64 * kMiB, [](S& s, D&) { return &s.record_bytes; });
  t.Path(
      "audit.file", [](S & s) -> auto& { return s.audit.file; });
  t.Size("audit.max_bytes", 4 * kKiB, 64 * kGiB, [](S& s, D&) { return &s.audit.max_bytes; });
  t.Count("audit.keep", 1, 1'000, [](S& s, D&) { return &s.audit.keep; });
  t.Path(
      "metrics.file", [](S & s) -> auto& { return s.metrics_file; });
  t.Path(
      "secrets.dir", [](S & s) -> auto& { return s.secrets_dir; });
  t.Names(
      "secrets.options", "a list of option names", [](S & s, D&) -> auto& { return s.secret_options; });
  t.Names(
      "policies.keys", "a list of minisign public keys: their lines, or paths of their files",
      [](S & s, D&) -> auto& { return s.policy_keys; });
  t.fields.push_back({"policies.unsigned", "allow or refuse", [](const Json& v, D&, S* s) {
                        s->unsigned_said = true, s->unsigned_allowed = v == "allow";
                        return v == "allow" || v == "refuse";
                      }});
  t.Count("policies.canary_operations", 0, 10'000, [](S& s, D&) { return &s.canary_operations; });
  t.fields.push_back(
      {"policies.max_differences", "\"any\" or a whole number from 0 to 10000", [](const Json& v, D&, S* s) {
         s->max_differences = v == "any" ? -1 : v.is_number_integer() ? v.get<int64_t>() : -2;
         return s->max_differences >= -1 && s->max_differences <= 10'000 &&
                (v == "any" || s->max_differences >= 0);
       }});
  t.fields.push_back(
      {"policies.return_after", "0 for never, or a whole number from 3 to 1000", [](const Json& v, D&, S* s) {
         s->return_after = v.is_number_integer() ? v.get<int64_t>() : -1;
         return s->return_after == 0 || (s->return_after >= 3 && s->return_after <= 1'000);
       }});
  t.fields.push_back({"policy", "a group of members, which the policy checks", [](const Json& v, D&, S* s) {
                        if (v.is_object()) s->policy.update(v);
                        return v.is_object();
                      }});
  return std::move(t.fields);
}

}  // namespace

bool ReadDuration(const Json& value, int64_t* ms) {
  return ReadUnits(value, {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}}, ms);
}

bool ReadSize(const Json& value, int64_t* bytes) {
  return ReadUnits(value, {{"B", 1}, {"KiB", kKiB}, {"MiB", kMiB}, {"GiB", kGiB}}, bytes);
}

bool IsSettingPath(std::string_view path) { return IsNormalPath(path) && !HasControl(path); }

bool IsSecretName(std::string_view name) {
  return !name.empty() && name.size() <= 128 && name[0] != '.' &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string_view::npos;
}

std::string OptionKey(std::string_view name) {
  size_t prefix = name.find_last_of("./");
  if (prefix != std::string_view::npos) name.remove_prefix(prefix + 1);
  std::string out;
  while (!name.empty()) {
    const unsigned char c = static_cast<unsigned char>(name[0]);
    const size_t blank = BlankAt(name);
    if (blank == 0 && c != '-' && c != '_') out += static_cast<char>(std::tolower(c));
    name.remove_prefix(std::max<size_t>(blank, 1));
  }
  return out;
}

const std::vector<SettingField>& SettingFields() {
  static const auto* fields = new std::vector<SettingField>(Make());
  return *fields;
}

}  // namespace dvdi
