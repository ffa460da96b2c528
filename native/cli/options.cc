#include "cli/options.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <system_error>

#include "base/nearest.h"
#include "cli/command.h"
#include "cli/completion.h"

namespace dvdi::cli {
namespace {

Result<std::string> Absolute(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  auto absolute = std::filesystem::absolute(path, error);
  if (error) return Status(Code::kInvalid, "cannot make the path " + path + " absolute: " + error.message());
  std::string normal = absolute.lexically_normal().string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal;
}

Status MakeAbsolute(GlobalOptions* g) {
  for (std::string* path : {&g->config, &g->state_dir, &g->runtime_dir, &g->policy_dir}) {
    DVDI_ASSIGN_OR_RETURN(*path, Absolute(*path));
  }
  for (auto* list : {&g->plugin_dirs, &g->spec_dirs}) {
    for (auto& path : *list) {
      DVDI_ASSIGN_OR_RETURN(path, Absolute(path));
    }
  }
  return OkStatus();
}

void TakeSources(const Raw& raw, Options* o) {
  using From = SourceOption::From;
  for (const auto& v : raw.volumes) o->sources.push_back({"volume", From::kText, v});
  for (const auto& v : raw.mounts) o->sources.push_back({"mount", From::kText, v});
  for (const auto& v : raw.statements) o->sources.push_back({"statement", From::kFile, v});
  for (const auto& v : raw.marathons) o->sources.push_back({"marathon", From::kFile, v});
  for (const auto& v : raw.mesos) o->sources.push_back({"mesos", From::kFile, v});
  if (raw.env) o->sources.push_back({"env", From::kEnvironment, ""});
}

bool EnvironmentDeclaresVolumes() {
  for (char** e = environ; *e != nullptr; ++e)
    if (std::string_view(*e).substr(0, 12) == "DVDI_VOLUME_") return true;
  return false;
}

// What no option parser can say: rules between options of one verb.
Status CheckVerb(const Options& o, bool has_separator) {
  auto usage = [](std::string message, std::string hint = "") {
    return Status(Code::kInvalid, std::move(message), std::move(hint));
  };
  if (o.verb == Verb::kRun) {
    if (o.command.empty())
      return usage(has_separator ? "no command after --" : "no command was given",
                   "Write it after --, as in: dvdi run -v data:/data -- ls /data");
    if (o.sources.empty())
      return usage("no volume was asked for",
                   EnvironmentDeclaresVolumes()
                       ? "DVDI_VOLUME_* variables are set: --env takes them"
                       : "Give --volume, --mount, --statement, --marathon, --mesos or --env");
  } else if (has_separator) {
    return usage("only `dvdi run` takes a command after --");
  }
  int on_stdin = 0;
  for (const auto& s : o.sources) on_stdin += s.from == SourceOption::From::kFile && s.value == "-";
  if (on_stdin > 1) return usage("only one of the files can be - (standard input)");
  if (o.verb == Verb::kMount && o.volume.empty() == o.sources.empty())
    return usage("`dvdi mount` takes either a volume's name or --volume and --mount",
                 "`dvdi mount NAME` prints where it is, `dvdi mount -v NAME:/PATH` binds it at /PATH");
  if (o.verb == Verb::kUnmount && o.volume.empty() == o.scope.empty())
    return usage("`dvdi unmount` takes either a volume's name or --name SCOPE");
  if (o.verb == Verb::kExplain && !o.volume.empty() + !o.operation.empty() + !o.scope.empty() > 1)
    return usage("`dvdi explain` takes one of NAME, --operation and --scope");
  if (o.verb == Verb::kExplain && !o.file.empty() && !o.export_records)
    return usage("--output is for `dvdi explain --export`");
  const bool one_blob = o.verb == Verb::kPolicyShadow || o.verb == Verb::kPolicyInspect;
  if (one_blob && !o.policy.empty() && !o.file.empty())
    return usage("either the name of a kept policy or --file");
  if (o.verb == Verb::kPolicyShadow && o.stop && !(o.policy.empty() && o.file.empty()))
    return usage("--stop takes no policy: there is one shadow at a time");
  if (o.last < 0) return usage("--last must be 1 or more");
  if (o.verb == Verb::kCreate && !o.attributes.empty() && !o.default_driver.empty())
    return usage("`dvdi create` takes either --driver or --class",
                 "A class becomes a driver by the node's pools (`dvdi pools`)");
  if (o.verb == Verb::kPrune && o.global.json && !o.force)
    return usage("`dvdi prune --json` cannot ask", "Give --force");
  if (o.verb == Verb::kCompletion && o.shell != kBash && o.shell != kZsh && o.shell != kFish)
    return usage("there is no completion for \"" + o.shell + "\"", "bash, zsh and fish are there");
  if (o.global.json && !o.format.empty()) return usage("either --json or --format");
  return OkStatus();
}

std::string Hint(const CLI::App& app, bool has_separator) {
  if (app.got_subcommand("run") && !has_separator)
    return "The command of `dvdi run` stands after --. See: dvdi run --help";
  for (const CLI::App* sub : app.get_subcommands()) return "See: dvdi " + sub->get_name() + " --help";
  return "See: dvdi --help";
}

// What could have stood in place of a word that is not known: an option of the verb or of all verbs, or a
// verb.
std::string Meant(const CLI::App& app, const std::string& word) {
  const CLI::App* at = &app;
  std::set<std::string> options, verbs;
  for (;;) {
    for (const CLI::Option* option : at->get_options())
      for (const std::string& name : option->get_lnames()) options.insert("--" + name);
    auto parsed = at->get_subcommands();
    if (parsed.empty()) break;
    at = parsed.front();
  }
  if (word.starts_with("--")) return Nearest(word.substr(0, word.find('=')), options);
  for (const CLI::App* verb :
       at->get_subcommands([](const CLI::App* one) { return !one->get_group().empty(); }))
    verbs.insert(verb->get_name());
  return Nearest(word, verbs);
}

// CLI11 says what it could not place in the reverse of the order in which it was typed, and of a wrong word
// behind `policy` only that one is wanted.
Status Unparsed(const CLI::App& app, const CLI::ParseError& e, bool has_separator) {
  const std::vector<std::string> left = app.remaining(true);
  const bool about_them = dynamic_cast<const CLI::ExtrasError*>(&e) != nullptr ||
                          dynamic_cast<const CLI::RequiredError*>(&e) != nullptr;
  if (left.empty() || !about_them) return Status(Code::kInvalid, e.what(), Hint(app, has_separator));
  std::string text =
      left.size() > 1 ? "these arguments were not expected:" : "this argument was not expected:";
  for (const std::string& word : left) text += " " + word;
  const std::string meant = Meant(app, left.front());
  return Status(Code::kInvalid, std::move(text),
                (meant.empty() ? "" : "did you mean " + meant + "? ") + Hint(app, has_separator));
}

}  // namespace

Result<int64_t> ParseDuration(std::string_view text) {
  Status wrong(Code::kInvalid, "\"" + std::string(text) + "\" is no duration",
               "Write a number and a unit: 500ms, 30s, 5m or 1h");
  size_t digits = 0;
  int64_t value = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (digits == 12) return wrong;
    value = value * 10 + (text[digits++] - '0');
  }
  if (digits == 0) return wrong;
  std::string_view unit = text.substr(digits);
  int64_t ms = unit == "ms"                  ? 1
               : unit.empty() || unit == "s" ? 1000
               : unit == "m"                 ? 60000
               : unit == "h"                 ? 3600000
                                             : 0;
  constexpr int64_t kMostMs = int64_t{7} * 24 * 3600 * 1000;
  if (ms == 0 || value == 0) return wrong;
  if (value > kMostMs / ms)
    return Status(Code::kInvalid, "the duration " + std::string(text) + " is longer than a week");
  return value * ms;
}

VolumeName SplitVolumeName(const std::string& text, const std::string& driver) {
  size_t slash = text.find('/');
  if (!driver.empty() || slash == std::string::npos) return {driver, text};
  return {text.substr(0, slash), text.substr(slash + 1)};
}

Result<ParsedArguments> ParseArguments(const std::vector<std::string>& arguments, bool* run) {
  *run = false;
  // The command is taken off first, so that no word of it can be mistaken for one of ours.
  auto separator = std::find(arguments.begin(), arguments.end(), "--");
  bool has_separator = separator != arguments.end();
  std::vector<std::string> ours(arguments.begin(), separator);
  std::reverse(ours.begin(), ours.end());  // as CLI11 wants it

  Raw raw;
  ParsedArguments parsed;
  std::vector<VerbApp> verbs;
  auto tree = BuildCommand(&raw, &verbs);
  CLI::App& app = *tree;
  try {
    app.parse(ours);
  } catch (const CLI::Success& e) {  // --help
    std::ostringstream out, err;
    app.exit(e, out, err);
    parsed.help = true;
    parsed.help_text = out.str() + err.str();
    return parsed;
  } catch (const CLI::ParseError& e) {
    *run = app.got_subcommand("run");
    return Unparsed(app, e, has_separator);
  } catch (const CLI::Error& e) {
    *run = app.got_subcommand("run");
    return Status(Code::kInvalid, e.what(), Hint(app, has_separator));
  } catch (const std::exception& e) {
    return Status(Code::kInvalid, e.what(), Hint(app, has_separator));
  }
  *run = app.got_subcommand("run");

  Options& o = raw.o;
  bool found = raw.version;
  for (const auto& v : verbs) {
    if (!v.app->parsed()) continue;
    o.verb = v.verb;
    found = true;
  }
  if (!found) {
    parsed.help = true;
    parsed.help_text = app.help();
    return parsed;
  }
  if (has_separator) o.command.assign(separator + 1, arguments.end());
  if (!raw.timeout.empty()) {
    auto ms = ParseDuration(raw.timeout);
    if (!ms.ok()) return Status(ms.status()).WithContext("--timeout");
    o.global.timeout_ms = *ms;
  }
  TakeSources(raw, &o);
  DVDI_RETURN_IF_ERROR(MakeAbsolute(&o.global));
  DVDI_RETURN_IF_ERROR(CheckVerb(o, has_separator));
  DVDI_ASSIGN_OR_RETURN(o.file, Absolute(o.file));
  DVDI_ASSIGN_OR_RETURN(o.signature, Absolute(o.signature));
  parsed.options = std::move(o);
  return parsed;
}

}  // namespace dvdi::cli
