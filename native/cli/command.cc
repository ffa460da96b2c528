#include "cli/command.h"

namespace dvdi::cli {
namespace {

// An option that may be given several times, one value each time: a second word is the next argument.
CLI::Option* AddList(CLI::App* app, const std::string& name, std::vector<std::string>* into,
                     const std::string& help) {
  return app->add_option(name, *into, help)->type_size(1)->allow_extra_args(false);
}

void AddGlobal(CLI::App* app, Raw* raw) {
  GlobalOptions& g = raw->o.global;
  app->add_option("--config", g.config, "Settings file (default /etc/dvdi/config.yaml)")
      ->envname("DVDI_CONFIG")
      ->type_name("FILE");
  app->add_option("--state-dir", g.state_dir, "State folder")->type_name("DIR");
  app->add_option("--runtime-dir", g.runtime_dir, "Run-time folder")->type_name("DIR");
  app->add_option("--policy-dir", g.policy_dir, "Folder of the installed policies")->type_name("DIR");
  AddList(app, "--plugin-dir", &g.plugin_dirs, "Folder of plugin sockets; may be repeated")->type_name("DIR");
  AddList(app, "--spec-dir", &g.spec_dirs, "Folder of plugin .spec and .json files; may be repeated")
      ->type_name("DIR");
  app->add_option("--node", g.node, "Name of this node");
  app->add_option("--timeout", raw->timeout, "Deadline, as in 30s, 5m")->type_name("DURATION");
  app->add_flag("--json", g.json, "Answer in JSON");
  app->add_flag("--no-color", g.no_color, "No colours (there are none anyway where no terminal is)");
}

// One verb after the other, in the order in which people meet them.
class Verbs {
 public:
  Verbs(CLI::App* app, Raw* raw, std::vector<VerbApp>* verbs) : app_(app), raw_(*raw), verbs_(*verbs) {}
  void AddAll() {
    AddRun();
    AddMounts();
    AddVolumes();
    AddLooking();
    AddPlaces();
    AddEngine();
  }

 private:
  CLI::App* Add(Verb verb, const char* name, const char* help, CLI::App* parent = nullptr) {
    CLI::App* sub = (parent == nullptr ? app_ : parent)->add_subcommand(name, help);
    sub->fallthrough();
    verbs_.push_back({verb, sub});
    return sub;
  }
  CLI::Option* Driver(CLI::App* sub, const char* help = "The volume's driver") {
    return sub->add_option("-d,--driver,--volume-driver", raw_.o.default_driver, help)->type_name("DRIVER");
  }
  void OneVolume(CLI::App* sub, bool required, const char* help = "NAME or DRIVER/NAME") {
    sub->add_option("VOLUME", raw_.o.volume, help)->required(required);
    Driver(sub);
  }
  void Volumes(CLI::App* sub) {
    sub->add_option("VOLUME", raw_.o.volumes, "NAME or DRIVER/NAME, one or more")->required();
    Driver(sub, "The driver of all of them");
  }
  void Sources(CLI::App* sub) {
    AddList(sub, "-v,--volume", &raw_.volumes, "A volume in the syntax of `docker run -v`: NAME:/PATH[:ro]");
    AddList(sub, "--mount", &raw_.mounts, "A volume in the syntax of `docker run --mount`");
    sub->add_option("-d,--volume-driver,--driver", raw_.o.default_driver, "Driver of volumes that name none")
        ->type_name("DRIVER");
  }
  void Filter(CLI::App* sub, const std::string& name, const char* help) {
    AddList(sub, name, &raw_.o.filters, help)->type_name("KEY=VALUE");
  }
  void Format(CLI::App* sub, const char* help) {
    sub->add_option("--format", raw_.o.format, help)->type_name("TEMPLATE");
  }

  void AddRun() {
    CLI::App* run =
        Add(Verb::kRun, "run", "Run a command with its volumes: dvdi run -v NAME:/PATH -- COMMAND…");
    Sources(run);
    AddList(run, "--statement", &raw_.statements,
            "File with a statement in YAML or JSON; - is standard input")
        ->type_name("FILE");
    AddList(run, "--marathon", &raw_.marathons, "File with a Marathon app (JSON)")->type_name("FILE");
    AddList(run, "--mesos", &raw_.mesos, "File with a Mesos ContainerInfo (JSON)")->type_name("FILE");
    run->add_flag("--env", raw_.env, "Take the DVDI_VOLUME_* variables of the environment");
    run->add_option("-u,--user", raw_.o.user, "USER[:GROUP] that the command runs as");
    run->add_option("-w,--workdir", raw_.o.workdir, "Folder that the command starts in")->type_name("DIR");
    run->add_option("--name", raw_.o.scope, "Name of this user of volumes (default: a random one)");
    run->add_flag("--dry-run", raw_.o.dry_run, "Say what would be decided and done, and do nothing");
  }

  void AddMounts() {
    CLI::App* mount = Add(Verb::kMount, "mount", "Attach a volume until `dvdi unmount`");
    Sources(mount);
    mount->add_option("VOLUME", raw_.o.volume, "NAME or DRIVER/NAME: prints the folder to use");
    mount->add_option("--name", raw_.o.scope, "Name of this user of volumes (default: manual:DRIVER/NAME)");
    CLI::App* unmount = Add(Verb::kUnmount, "unmount", "End what `dvdi mount` began");
    OneVolume(unmount, false);
    unmount->add_option("--name", raw_.o.scope, "The name given to `dvdi mount --name`");
  }

  void AddVolumes() {
    CLI::App* create = Add(Verb::kCreate, "create", "Create a volume, where its driver does not have it");
    OneVolume(create, false, "NAME or DRIVER/NAME (default: a random name)");
    AddList(create, "-o,--opt", &raw_.o.driver_options, "Option for the driver; may be repeated")
        ->type_name("KEY=VALUE");
    create->add_option("--size", raw_.o.size, "Size in GB, or with a unit: 512MiB, 10GB");
    AddList(create, "--class", &raw_.o.attributes,
            "Attribute that is wanted, instead of a driver; may be repeated")
        ->type_name("KEY=VALUE");
    CLI::App* rm = Add(Verb::kRm, "rm", "Remove volumes that nothing uses, with their data");
    rm->alias("remove");
    Volumes(rm);
    rm->add_flag("-f,--force", raw_.o.force, "A volume that its driver does not have is no error");
    CLI::App* prune =
        Add(Verb::kPrune, "prune", "Remove volumes that were created on this node and never used");
    prune->add_flag("-f,--force", raw_.o.force, "Do not ask");
    prune->add_flag("--global", raw_.o.shared_drivers,
                    "Those of drivers that all nodes share, too: another node may have used them since");
    Filter(prune, "--filter", "driver=, name=, until=DURATION; may be repeated");
  }

  void AddLooking() {
    CLI::App* ls = Add(Verb::kLs, "ls", "The volumes that this node knows");
    ls->alias("list");
    Filter(ls, "-f,--filter", "driver=, name=, dangling=, state=, unused=, owner=, scope=; may be repeated");
    Format(ls, "A template such as '{{.Name}}' or 'table {{.Name}}\\t{{.State}}'; json; table");
    ls->add_flag("-q,--quiet", raw_.o.quiet, "Names only");
    CLI::App* inspect = Add(Verb::kInspect, "inspect", "All about volumes; asks their plugins");
    Volumes(inspect);
    inspect
        ->add_option("--format,-f", raw_.o.format,
                     "A template such as '{{.Mountpoint}}' or '{{json .}}'; json")
        ->type_name("TEMPLATE");
  }

  void AddPlaces() {
    CLI::App* plugins =
        Add(Verb::kPlugins, "plugins", "The volume plugins that are found, and whether they answer");
    Format(plugins, "A template such as '{{.Name}} {{.Scope}}'; json; table");
    plugins->add_flag("-q,--quiet", raw_.o.quiet, "Names only; none is called");
    CLI::App* pools =
        Add(Verb::kPools, "pools", "The operator's pools, and the tiers of drivers that have some");
    Driver(pools, "Only this driver's");
    CLI::App* fence =
        Add(Verb::kFence, "fence", "Take a volume away from another node, where its driver can");
    OneVolume(fence, true);
    fence->add_flag(
        "--node-is-dead", raw_.o.node_is_dead,
        "The other node is powered off, for certain (not merely unreachable): its lease is not waited for");
  }

  void AddEngine() {
    Add(Verb::kStatus, "status", "The engine: ledger, policy, drivers, what is pending");
    Add(Verb::kMetrics, "metrics", "What the node counts, as Prometheus reads it");
    CLI::App* oci =
        app_->add_subcommand("oci", "Volumes of OCI containers")->require_subcommand(1)->fallthrough();
    Add(Verb::kOciHook, "hook", "A container's hook: reads its state on standard input", oci);
    Add(Verb::kOciBundle, "bundle", "Add the hooks to a bundle's config.json", oci)
        ->add_option("BUNDLE", raw_.o.file, "The bundle's folder")
        ->required();
    CLI::App* recover = Add(Verb::kRecover, "recover", "Clean up after what ended without cleaning up");
    recover->add_flag("--wait", raw_.o.wait,
                      "Wait for pending releases (at most --timeout, 10 s unless given)");
    AddList(recover, "--owner", &raw_.o.owners,
            "Only for this owner; may be repeated (default: run, manual, oci and dvdcli)");
    OneVolume(Add(Verb::kForget, "forget",
                  "Drop an attachment that cannot be released, without calling its plugin"),
              true);
    CLI::App* explain = Add(Verb::kExplain, "explain", "Why: what was decided and which calls were made");
    OneVolume(explain, false);
    explain->add_option("--operation", raw_.o.operation, "One operation");
    explain->add_option("--scope", raw_.o.scope, "The operations of one scope");
    explain->add_option("--since", raw_.o.duration, "Those that began no longer ago, as in 10m, 24h")
        ->type_name("DURATION");
    explain->add_option("--last", raw_.o.last, "How many, newest first (default 1; with --export all)");
    explain->add_flag("--export", raw_.o.export_records,
                      "As JSON, one record on each line, oldest first: for `dvdi-policy replay`");
    explain->add_option("--output", raw_.o.file, "With --export: into a new file that only you can read")
        ->type_name("FILE");
    Add(Verb::kDoctor, "doctor", "What this node has and lacks, and how to get it");
    AddPolicy();
    CLI::App* completion = Add(Verb::kCompletion, "completion", "The completion script for a shell");
    completion->add_option("SHELL", raw_.o.shell, "bash, zsh or fish")->required();
    CLI::App* names = Add(Verb::kNames, "names", "Names for completion, one a line");
    names->group("");  // hidden
    names->add_option("KIND", raw_.o.names, "volumes or drivers")->required();
    Add(Verb::kVersion, "version", "The version");
  }

  void Activating(CLI::App* sub) {
    sub->add_flag("--allow-downgrade", raw_.o.allow_downgrade,
                  "Accept an older version than was ever active");
    sub->add_flag("--allow-differences", raw_.o.allow_differences,
                  "Accept any number of recorded operations that it decides otherwise");
  }
  CLI::Option* Kept(CLI::App* sub) {
    return sub->add_option("POLICY", raw_.o.policy, "Hash or its beginning, NAME, VERSION or NAME@VERSION");
  }
  CLI::Option* File(CLI::App* sub, const char* name) {
    return sub->add_option(name, raw_.o.file, "The blob (.wasm)")->type_name("FILE");
  }
  void Why(CLI::App* sub) { sub->add_option("--why", raw_.o.why, "For the history"); }

  void AddPolicy() {
    Options& o = raw_.o;
    CLI::App* policy = app_->add_subcommand("policy", "The policies of this node")->require_subcommand(1);
    policy->fallthrough();
    CLI::App* install =
        Add(Verb::kPolicyInstall, "install", "Install a policy blob and make it active", policy);
    install->add_option("FILE", o.file, "The blob (.wasm); its signature is beside it")->required();
    install->add_option("--signature", o.signature, "Where it is, if not beside the blob")->type_name("FILE");
    install->add_option("--sha256", o.sha256, "What the blob's SHA-256 must be")->type_name("HASH");
    Activating(install);
    install->add_flag("--inactive", o.inactive, "Check and keep it; the active one stays");
    CLI::App* activate = Add(Verb::kPolicyActivate, "activate", "Make a kept policy active", policy);
    Kept(activate)->required();
    Activating(activate);
    CLI::App* shadow = Add(Verb::kPolicyShadow, "shadow",
                           "Let a policy decide beside the active one, without acting", policy);
    Kept(shadow);
    File(shadow, "--file");
    shadow->add_option("--for", o.duration, "How long, as in 10m, 24h")->type_name("DURATION");
    shadow->add_option("--operations", o.operations, "How many operations (1000 where no end is given)")
        ->check(CLI::Range(1, 100'000));
    shadow->add_flag("--stop", o.stop, "End it");
    CLI::App* rollback =
        Add(Verb::kPolicyRollback, "rollback", "Go back to the policy that was active before", policy);
    rollback->add_flag("--bar", o.bar, "The one that is left may not become active again");
    Why(rollback);
    Add(Verb::kPolicyLs, "ls", "The policies that are kept", policy);
    CLI::App* inspect =
        Add(Verb::kPolicyInspect, "inspect", "What a policy is, and whether it would be taken", policy);
    Kept(inspect);
    File(inspect, "--file");
    Add(Verb::kPolicyHistory, "history", "What was done to the policies of this node", policy);
    CLI::App* bar = Add(Verb::kPolicyBar, "bar", "A policy may not become active (again)", policy);
    Kept(bar)->required();
    Why(bar);
    Kept(Add(Verb::kPolicyUnbar, "unbar", "A barred policy may become active again", policy))->required();
  }

  CLI::App* app_;
  Raw& raw_;
  std::vector<VerbApp>& verbs_;
};

}  // namespace

std::unique_ptr<CLI::App> BuildCommand(Raw* raw, std::vector<VerbApp>* verbs) {
  auto app = std::make_unique<CLI::App>(
      "Volumes for any command through Docker volume plugins, without Docker.", "dvdi");
  app->require_subcommand(0, 1);
  app->add_flag("--version", raw->version, "The version");
  app->footer("Exit codes and the JSON answers: docs/cli.md");
  AddGlobal(app.get(), raw);
  Verbs(app.get(), raw, verbs).AddAll();
  return app;
}

bool IsFlag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }

std::string ValueKind(const CLI::Option& option) {
  if (IsFlag(option)) return "";
  std::string name = option.get_positional() ? option.get_single_name() : "";
  std::string type = option.get_type_name();
  if (name == "VOLUME") return "volume";
  if (name == "SHELL") return "shell";
  if (name == "FILE" || type.starts_with("FILE")) return "file";
  if (name == "BUNDLE" || type.starts_with("DIR")) return "folder";
  if (type.starts_with("DRIVER")) return "driver";
  return "";
}

void WithCommandTree(const std::function<void(const CLI::App& app)>& look) {
  Raw raw;
  std::vector<VerbApp> verbs;
  look(*BuildCommand(&raw, &verbs));
}

}  // namespace dvdi::cli
