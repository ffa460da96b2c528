#include "cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>

namespace dvdi::cli {
namespace {

// An option that may be given several times, one value each time: a second word is the next argument.
CLI::Option* AddList(CLI::App* app, const std::string& name, std::vector<std::string>* into,
                     const std::string& help) {
  return app->add_option(name, *into, help)->type_size(1)->allow_extra_args(false);
}

// Everything that CLI11 writes into while it parses.
struct Raw {
  Options o;
  std::string timeout;
  std::vector<std::string> volumes, mounts, statements, marathons, mesos;
  bool env = false;
};

void AddGlobal(CLI::App* app, Raw* raw) {
  GlobalOptions& g = raw->o.global;
  app->add_option("--config", g.config, "Settings file (default /etc/dvdi/config.yaml)")
      ->envname("DVDI_CONFIG");
  app->add_option("--state-dir", g.state_dir, "State folder");
  app->add_option("--runtime-dir", g.runtime_dir, "Run-time folder");
  app->add_option("--policy-dir", g.policy_dir, "Folder of the installed policies");
  AddList(app, "--plugin-dir", &g.plugin_dirs, "Folder of plugin sockets; may be repeated");
  AddList(app, "--spec-dir", &g.spec_dirs, "Folder of plugin .spec and .json files; may be repeated");
  app->add_option("--node", g.node, "Name of this node");
  app->add_option("--timeout", raw->timeout, "Deadline, as in 30s, 5m");
  app->add_flag("--json", g.json, "Answer in JSON");
  app->add_flag("--no-color", g.no_color, "No colours (there are none anyway where no terminal is)");
}

void AddSources(CLI::App* verb, Raw* raw) {
  AddList(verb, "-v,--volume", &raw->volumes, "A volume in the syntax of `docker run -v`: NAME:/PATH[:ro]");
  AddList(verb, "--mount", &raw->mounts, "A volume in the syntax of `docker run --mount`");
  verb->add_option("--volume-driver,--driver", raw->o.default_driver, "Driver of volumes that name none");
}

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
  if (o.last < 0) return usage("--last must be 1 or more");
  return OkStatus();
}

struct VerbApp {
  Verb verb;
  CLI::App* app;
};

std::vector<VerbApp> AddVerbs(CLI::App* app, Raw* raw) {
  Options& o = raw->o;
  std::vector<VerbApp> verbs;
  auto add = [&](Verb verb, const char* name, const char* help, CLI::App* parent) {
    CLI::App* sub = parent->add_subcommand(name, help);
    sub->fallthrough();
    verbs.push_back({verb, sub});
    return sub;
  };
  auto volume = [&](CLI::App* sub, bool required) {
    sub->add_option("VOLUME", o.volume, "NAME or DRIVER/NAME")->required(required);
    sub->add_option("--driver,--volume-driver", o.default_driver, "The volume's driver");
  };

  CLI::App* run =
      add(Verb::kRun, "run", "Run a command with its volumes: dvdi run -v NAME:/PATH -- COMMAND…", app);
  AddSources(run, raw);
  AddList(run, "--statement", &raw->statements, "File with a statement in YAML or JSON; - is standard input");
  AddList(run, "--marathon", &raw->marathons, "File with a Marathon app (JSON)");
  AddList(run, "--mesos", &raw->mesos, "File with a Mesos ContainerInfo (JSON)");
  run->add_flag("--env", raw->env, "Take the DVDI_VOLUME_* variables of the environment");
  run->add_option("-u,--user", o.user, "USER[:GROUP] that the command runs as");
  run->add_option("-w,--workdir", o.workdir, "Folder that the command starts in");
  run->add_option("--name", o.scope, "Name of this user of volumes (default: a random one)");
  run->add_flag("--dry-run", o.dry_run, "Say what would be done, and do nothing");

  CLI::App* mount = add(Verb::kMount, "mount", "Attach a volume until `dvdi unmount`", app);
  AddSources(mount, raw);
  mount->add_option("VOLUME", o.volume, "NAME or DRIVER/NAME: prints the folder to use");
  mount->add_option("--name", o.scope, "Name of this user of volumes (default: manual:DRIVER/NAME)");

  CLI::App* unmount = add(Verb::kUnmount, "unmount", "End what `dvdi mount` began", app);
  volume(unmount, false);
  unmount->add_option("--name", o.scope, "The name given to `dvdi mount --name`");

  add(Verb::kLs, "ls", "The volumes that this node knows", app);
  volume(add(Verb::kInspect, "inspect", "One volume; asks its plugin", app), true);
  add(Verb::kStatus, "status", "The engine: ledger, policy, drivers, what is pending", app);
  add(Verb::kMetrics, "metrics", "What the node counts, as Prometheus reads it", app);
  CLI::App* oci =
      app->add_subcommand("oci", "Volumes of OCI containers")->require_subcommand(1)->fallthrough();
  add(Verb::kOciHook, "hook", "A container's hook: reads its state on standard input", oci);
  add(Verb::kOciBundle, "bundle", "Add the hooks to a bundle's config.json", oci)
      ->add_option("BUNDLE", o.file, "The bundle's folder")
      ->required();
  CLI::App* recover = add(Verb::kRecover, "recover", "Clean up after what ended without cleaning up", app);
  recover->add_flag("--wait", o.wait, "Wait for pending releases (at most --timeout, 10 s unless given)");
  AddList(recover, "--owner", &o.owners, "Only for this owner; may be repeated (default: run and manual)");
  volume(add(Verb::kForget, "forget",
             "Drop an attachment that cannot be released, without calling its plugin", app),
         true);
  CLI::App* explain = add(Verb::kExplain, "explain", "Why: what was decided and which calls were made", app);
  volume(explain, false);
  explain->add_option("--operation", o.operation, "One operation");
  explain->add_option("--scope", o.scope, "The operations of one scope");
  explain->add_option("--last", o.last, "How many, newest first (default 1)");
  add(Verb::kDoctor, "doctor", "What this node has and lacks, and how to get it", app);
  CLI::App* policy = app->add_subcommand("policy", "The policy blob")->require_subcommand(1)->fallthrough();
  CLI::App* install =
      add(Verb::kPolicyInstall, "install", "Install a policy blob and make it active", policy);
  install->add_option("FILE", o.file, "The blob (.wasm); its signature is beside it")->required();
  install->add_flag("--allow-downgrade", o.allow_downgrade, "Accept an older version than the active one");
  add(Verb::kVersion, "version", "The version", app);
  return verbs;
}

std::string Hint(const CLI::App& app, bool has_separator) {
  if (app.got_subcommand("run") && !has_separator)
    return "The command of `dvdi run` stands after --. See: dvdi run --help";
  for (const CLI::App* sub : app.get_subcommands()) return "See: dvdi " + sub->get_name() + " --help";
  return "See: dvdi --help";
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
  CLI::App app("Volumes for any command through Docker volume plugins, without Docker.", "dvdi");
  app.require_subcommand(0, 1);
  bool version = false;
  app.add_flag("--version", version, "The version");
  app.footer("Exit codes and the JSON answers: docs/cli.md");
  ParsedArguments parsed;
  std::vector<VerbApp> verbs;
  try {
    AddGlobal(&app, &raw);
    verbs = AddVerbs(&app, &raw);
    app.parse(ours);
  } catch (const CLI::Success& e) {  // --help
    std::ostringstream out, err;
    app.exit(e, out, err);
    parsed.help = true;
    parsed.help_text = out.str() + err.str();
    return parsed;
  } catch (const CLI::Error& e) {
    *run = app.got_subcommand("run");
    return Status(Code::kInvalid, e.what(), Hint(app, has_separator));
  } catch (const std::exception& e) {
    return Status(Code::kInvalid, e.what(), Hint(app, has_separator));
  }
  *run = app.got_subcommand("run");

  Options& o = raw.o;
  bool found = version;
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
    if (!ms.ok()) return ms.status().WithContext("--timeout");
    o.global.timeout_ms = *ms;
  }
  TakeSources(raw, &o);
  DVDI_RETURN_IF_ERROR(MakeAbsolute(&o.global));
  DVDI_RETURN_IF_ERROR(CheckVerb(o, has_separator));
  DVDI_ASSIGN_OR_RETURN(o.file, Absolute(o.file));
  parsed.options = std::move(o);
  return parsed;
}

}  // namespace dvdi::cli
