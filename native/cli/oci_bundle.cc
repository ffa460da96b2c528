// `dvdi oci bundle`: the hooks in a bundle's config.json, whose other members and their order stay as they
// are.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "base/fd.h"
#include "base/path.h"
#include "cli/oci_config.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace dvdi::cli {
namespace {

using Ordered = nlohmann::ordered_json;

bool IsOurs(const Ordered& hook) {
  if (!hook.is_object() || !hook.contains("args") || !hook["args"].is_array()) return false;
  const Ordered& args = hook["args"];
  return args.size() >= 3 && args[0] == "dvdi" && args[args.size() - 2] == "oci" &&
         args[args.size() - 1] == "hook";
}

// The hook calls this very program with the options that were given now: a hook has no environment.
Result<Ordered> OurHook(const GlobalOptions& g) {
  char self[4096];
  ssize_t n = ::readlink("/proc/self/exe", self, sizeof self);
  if (n < 0 || static_cast<size_t>(n) == sizeof self)
    return Status::FromErrno(n < 0 ? errno : ENAMETOOLONG, "cannot find the path of this program");
  Ordered args = {"dvdi"};
  auto add = [&args](const char* option, const std::string& value) {
    if (value.empty()) return;
    args.push_back(option);
    args.push_back(value);
  };
  add("--config", g.config);
  add("--state-dir", g.state_dir);
  add("--runtime-dir", g.runtime_dir);
  add("--policy-dir", g.policy_dir);
  add("--node", g.node);
  for (const auto& dir : g.plugin_dirs) add("--plugin-dir", dir);
  for (const auto& dir : g.spec_dirs) add("--spec-dir", dir);
  if (g.timeout_ms > 0) add("--timeout", std::to_string(g.timeout_ms) + "ms");
  args.push_back("oci");
  args.push_back("hook");
  return Ordered{{"path", std::string(self, static_cast<size_t>(n))}, {"args", std::move(args)}};
}

Status Replace(const std::string& path, const std::string& text) {
  struct stat st = {};
  if (::stat(path.c_str(), &st) < 0) return Status::FromErrno(errno, "cannot look at " + path, path);
  const std::string fresh = path + ".dvdi-" + std::to_string(::getpid());
  UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot make " + fresh, path);
  Status s;
  for (size_t at = 0; at < text.size() && s.ok();) {
    ssize_t n = ::write(fd.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno != EINTR) s = Status::FromErrno(errno, "cannot write " + fresh, path);
    if (n > 0) at += static_cast<size_t>(n);
  }
  if (s.ok() && (::fchown(fd.get(), st.st_uid, st.st_gid) < 0 || ::fchmod(fd.get(), st.st_mode & 07777) < 0 ||
                 ::fsync(fd.get()) < 0 || ::rename(fresh.c_str(), path.c_str()) < 0))
    s = Status::FromErrno(errno, "cannot put a new " + path + " in its place", path);
  if (!s.ok()) ::unlink(fresh.c_str());
  return s;
}

// A runtime would refuse it: better said here than written over.
Status WrongShape(const std::string& path, const std::string& member, const char* shape) {
  return Status(Code::kInvalid, path + ": " + member + " is not " + shape,
                "Mend it: nothing in the file was changed")
      .WithPath(path);
}

Status AddHooks(const Options& options) {
  const std::string path = options.file + "/config.json";
  DVDI_ASSIGN_OR_RETURN(std::string text, ReadOciFile(path));
  // What the hook would refuse is refused here.
  DVDI_ASSIGN_OR_RETURN(OciConfig config, ReadOciConfig(text, options.file));
  Ordered json = Ordered::parse(text, nullptr, false);
  if (!json.is_object())
    return Status(Code::kInvalid, path + " is no configuration of a container").WithPath(path);
  DVDI_ASSIGN_OR_RETURN(Ordered hook, OurHook(options.global));
  Ordered& hooks = json["hooks"];
  if (hooks.is_null()) hooks = Ordered::object();
  if (!hooks.is_object()) return WrongShape(path, "hooks", "an object");
  for (const char* stage : {"createRuntime", "poststop"}) {
    Ordered& list = hooks[stage];
    if (!list.is_null() && !list.is_array()) return WrongShape(path, std::string("hooks.") + stage, "a list");
    Ordered kept = Ordered::array();
    for (const Ordered& one : list)
      if (!IsOurs(one)) kept.push_back(one);
    kept.push_back(hook);
    list = std::move(kept);
  }
  DVDI_RETURN_IF_ERROR(Replace(path, json.dump(2, ' ', false, Ordered::error_handler_t::replace) + "\n"));
  if (config.sources.empty())
    PrintNote("note: " + path + " declares no volume: that is done by annotations, as dvdi.volume");
  return OkStatus();
}

}  // namespace

int OciBundle(const Options& options) {
  Status s = AddHooks(options);
  return s.ok() ? static_cast<int>(kExitOk) : Failed(options, s);
}

}  // namespace dvdi::cli
