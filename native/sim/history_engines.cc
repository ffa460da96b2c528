// The engines of a history: how they are opened, asked, closed and killed.
#include <cerrno>
#include <utility>

#include "base/path.h"
#include "base/text.h"
#include "sim/history_run.h"

namespace dvdi::sim {

namespace {

// Whether that call writes what a file holds, or waits until it is written: what a disk fails at. Names are
// in a journal, which is another place.
bool IsOfDisk(std::string_view call, bool only_fsyncs) {
  if (call == "fsync" || call == "sqlite sync") return true;
  return !only_fsyncs && (call == "write" || call == "sqlite write");
}

Json Public(Json request) {
  request.erase("container");
  return request;
}

}  // namespace

EngineProcess* History::Open(NodeState& node, int number, int kill_at, bool recovers) {
  auto& slot = node.processes[number];
  if (!slot) {
    slot = std::make_unique<EngineProcess>(&node, &state_.plugins, &state_.tasks, &state_.clock,
                                           next_process_++);
    SetFaults(*slot);
  }
  EngineProcess* p = slot.get();
  if (kill_at > 0) p->sys.KillAt(kill_at);
  if (p->engine) return p;
  EngineOptions o;
  o.keeper = Keeping::kNothing;
  o.runtime = shared_.runtime;
  Settings& s = o.settings;
  s.state_dir = kStateDir, s.runtime_dir = "/run/dvdi", s.policy_dir = std::string(kStateDir) + "/policy";
  s.node = node.kernel.name();
  s.plugin_paths.sockets.clear();
  s.plugin_paths.specs = {kPluginDir};
  s.prepare_ms = kPrepareMs, s.call_max_ms = 20'000;
  s.records_keep = 100, s.canary_operations = 10;
  s.secret_options = {"password"};
  // A node goes back from a policy that fails soon, which most histories are to be spared.
  if (shared_.wild() && plan_.seed % 4 != 0) s.return_after = 0;
  Env env = p->sys.env();
  env.transport = &p->transport;
  auto opened = std::make_shared<bool>(false);
  auto error = std::make_shared<Status>();
  state_.tasks.Start(&p->sys, [p, env, o, opened, error] {
    auto engine = Engine::Open(env, o);
    if (engine.ok())
      p->engine = *engine;
    else
      *error = engine.status();
    *opened = true;
  });
  int turns = 0;
  while (!*opened && slot && ++turns < kTurnsAtMost)
    if (!state_.tasks.Run(1)) break;
  if (!slot) return nullptr;  // killed on the way
  if (!*opened) {
    Broken("hang", "the engine of " + node.kernel.name() + " does not open");
    return nullptr;
  }
  if (!p->engine) {
    Say("not opened: " + error->message());
    if (!node.MayRefuse()) Broken("opens", "the engine does not open: " + error->message());
    return nullptr;
  }
  if (recovers) Ask(*p, "recover", {{"owner", "run"}}, &Engine::Recover, kPrepareMs);
  return p;
}

void History::SetFaults(EngineProcess& p) {
  NodeState* node = p.node;
  SimProcess* sys = &p.sys;
  p.sys.fault = [this, node, sys](const char* call, const std::string& path) -> int {
    std::string_view name = call;
    if (node->busy_mounts && name == "umount" && random().OneIn(2)) return EBUSY;
    if (node->unmount_errors && name == "umount" && random().OneIn(2)) {
      ++result_.unmount_errors;
      return random().OneIn(2) ? EINVAL : EIO;
    }
    if (node->mount_errors && (name == "move_mount" || name == "open_tree" || name == "mount_setattr") &&
        random().OneIn(2))
      return name == "open_tree" ? EIO : ENOMEM;
    if (node->disk_error_one_in > 0 && IsOfDisk(name, node->only_fsyncs) &&
        random().OneIn(node->disk_error_one_in)) {
      ++result_.disk_errors;
      if (keep_) result_.transcript.push_back("  " + sys->name() + ": " + call + " " + path + " fails");
      return EIO;
    }
    return 0;
  };
  p.sys.look = [this, node, sys](const char* call, const std::string& path) -> int {
    // Of a file: what the process or the node lacks. One that nobody can read any more is another matter.
    constexpr int kErrors[] = {EMFILE, ENOMEM, EIO}, kOfFiles[] = {ENOMEM, EMFILE, ENFILE};
    SimDisk::Node bad;  // what was removed, or lost with the power, is not there to be read
    if (!node->unreadable.empty() && (path == node->unreadable || IsStrictlyBelow(node->unreadable, path)) &&
        node->kernel.disk.Find(node->unreadable, &bad) >= 0) {
      ++result_.files_unseen;
      if (keep_) result_.transcript.push_back("  " + sys->name() + ": " + call + " " + path + " fails");
      return EIO;
    }
    const bool table = path.starts_with("/proc/");
    const uint64_t one_in = table                         ? node->no_mount_table_one_in
                            : path.starts_with(kStateDir) ? node->looks_fail_one_in
                                                          : 0;
    if (one_in == 0 || !random().OneIn(one_in)) return 0;
    ++(table ? result_.looks_failed : result_.files_unseen);
    const bool opens = std::string_view(call) == "open" || std::string_view(call) == "readdir";
    const int err = table ? kErrors[random().Below(3)] : kOfFiles[opens ? random().Below(3) : 0];
    if (keep_)
      result_.transcript.push_back("  " + sys->name() + ": " + call + " " + path + " fails with errno " +
                                   std::to_string(err));
    return err;
  };
  p.sys.no_thread = [this, node, sys] {
    if (node->no_threads_one_in == 0 || !random().OneIn(node->no_threads_one_in)) return false;
    ++result_.threads_refused;
    if (keep_) result_.transcript.push_back("  " + sys->name() + ": cannot start a thread");
    return true;
  };
  p.sys.told = [this, sys](const char* call, const std::string& path, int err) {
    if (keep_ &&
        (path.starts_with(kTargets) || std::string_view(call).find("mount") != std::string_view::npos))
      result_.transcript.push_back("  " + sys->name() + ": " + call + " " + path +
                                   (err == 0 ? "" : " fails with errno " + std::to_string(err)));
    // The file beside a stage says where its volume is mounted, and was written before.
    if (const std::string_view name = call; name == "move_mount" || name == "mount") Staged(path);
  };
  p.sys.unmounted = [this, node](const std::string& path) {
    if (!path.starts_with(std::string(kStageRoot) + "/") || node->kernel.FindMount(path) != nullptr) {
      if (path != kStageRoot) Broken("protocol", "unmounted " + path + ", which is no stage");
    }
  };
}

void History::Staged(const std::string& stage) {
  const std::string below = std::string(kStageRoot) + "/";
  if (!stage.starts_with(below)) return;
  const std::string id = stage.substr(below.size(), stage.find('/', below.size()) - below.size());
  for (auto& [key, v] : state_.plugins.volumes)
    for (auto& [node, here] : v.nodes) here.unrecorded.erase(id);
}

// Processes that were killed during the last turn: what their threads do from here on has no effect.
void History::BuryTheDead() {
  for (auto& node : state_.nodes)
    for (auto& slot : node->processes)
      if (slot && slot->sys.dead()) {
        Bury(*node, slot);
        if (std::exchange(node->loses_power, false)) Reboot(*node, true);
      }
}

void History::Bury(NodeState& node, std::unique_ptr<EngineProcess>& slot) {
  EngineProcess* p = slot.get();
  ++result_.kills;
  if (p->sys.killed_at_change()) ++(p->engine ? result_.kills_within : result_.kills_opening);
  Say(p->sys.name() + " is killed");
  state_.tasks.Drain(&p->sys);
  if (p->engine) {
    state_.tasks.Start(&p->sys, [p] {
      p->engine->Close(0);
      p->engine.reset();
    });
    state_.tasks.Drain(&p->sys);
  }
  p->sys.Bury();
  for (auto& [id, asked] : p->asked) Abandoned(node, asked);
  slot.reset();
}

// Whoever asked is dead, or with the dead.
void History::Abandoned(NodeState& node, const Asked& asked) {
  std::string owner = GetString(asked.request, "owner"), scope = GetString(asked.request, "scope");
  if (asked.what == "prepare") {
    node.kernel.EndProcess(static_cast<pid_t>(GetInt(asked.request, "container")));
    if (owner != "run") node.to_clean.insert({owner, scope});
  } else if ((asked.what == "cleanup" || (asked.what == "again" && node.live.count(scope) == 0)) &&
             owner != "run") {
    node.to_clean.insert({owner, scope});
  }
}

void History::Kill(NodeState& node, int number) {
  auto& slot = node.processes[number];
  if (!slot) return;
  slot->sys.Kill();
  BuryTheDead();
}

void History::Ask(EngineProcess& p, const std::string& what, const Json& request, Verb verb,
                  int64_t deadline_ms) {
  int id = next_asked_++;
  Asked& asked = p.asked[id];
  asked.what = what, asked.request = request,
  asked.policy = p.node->policy.empty() ? "damaged" : p.node->policy;
  asked.deadline_ms = state_.clock.now_ms() + deadline_ms;
  asked.events = state_.plugins.events();
  std::string number = std::to_string(id);
  auto sent = std::make_shared<Json>(Public(request));
  Say(p.sys.name() + " #" + number + " " + what);
  if (keep_) result_.transcript.push_back("  " + Dump(*sent));  // the seed alone makes it
  EngineProcess* process = &p;
  auto done = [this, process, id, number](const Status& s, const Json& answer) {
    if (process->sys.dead()) return;
    auto it = process->asked.find(id);
    if (it == process->asked.end()) return Broken("answers", "#" + number + " was answered twice");
    Asked asked = std::move(it->second);
    process->asked.erase(it);
    const std::string said = s.ok() ? Dump(answer) : s.message();
    Say(process->sys.name() + " #" + number + " -> " + said);
    if (state_.clock.now_ms() > asked.deadline_ms + 1000 && !asked.late)
      Broken("answers-in-time", asked.what + " was answered " +
                                    std::to_string(state_.clock.now_ms() - asked.deadline_ms) +
                                    " ms after its deadline");
    if (said.find(kSecret) != std::string::npos || s.hint().find(kSecret) != std::string::npos)
      Broken("no-secret", "a secret is in the answer to " + asked.what);
    Answered(*process, asked, s, answer);
  };
  state_.tasks.Start(&p.sys, [this, process, number, engine = p.engine, verb, sent, done] {
    // Of the call, and not of the step: others may have got what they asked for in between.
    if (sent->contains("live")) {
      (*sent)["live"] = LiveAgents(*process->node);
      Say(process->sys.name() + " #" + number + " live " + Dump((*sent)["live"]));
    }
    Status accepted = (engine.get()->*verb)(*sent, done);
    if (!accepted.ok()) done(accepted, Json());
  });
}

EngineProcess* History::ProcessOf(const SimProcess& sys) {
  for (auto& node : state_.nodes)
    for (auto& p : node->processes)
      if (p && &p->sys == &sys) return p.get();
  return nullptr;
}

void History::Close(NodeState& node, int number) {
  auto& slot = node.processes[number];
  if (!slot || !slot->engine) return;
  EngineProcess* p = slot.get();
  state_.tasks.Start(&p->sys, [p] {
    p->engine->Close(0);
    p->engine.reset();
  });
  Settle();
  if (!slot) return;
  if (slot->sys.open_files() > 0)
    Broken("nothing-open",
           std::to_string(slot->sys.open_files()) + " descriptors left open by " + slot->sys.name());
  slot.reset();
}
}  // namespace dvdi::sim
