#include "sim/invariants.h"

#include <algorithm>

#include "base/text.h"
#include "engine/meta.h"

namespace dvdi::sim {
namespace {

constexpr const char* kStrangeMounts[] = {"/mnt/backup", "/var/lib/dvdi/stage/backup"};
constexpr const char* kStrangeFile = "/var/lib/dvdi/stage/notes.txt";
constexpr const char* kStrangeDevice = "9:9";

std::string Title(const VolumeKey& v) { return v.first + "/" + v.second; }

template <class Visit>
void EachUse(const State& state, Visit visit) {
  for (const auto& node : state.nodes)
    for (const auto& [scope, w] : node->live)
      for (const auto& use : w.uses) visit(*node, w, use);
}

// --- after every step

void StagesStay(const State& state, const Report& broken) {
  EachUse(state, [&](const NodeState& node, const Workload& w, const Workload::Use& use) {
    const MountEntry* m = node.kernel.FindMount(use.stage);
    if (m == nullptr) return broken("the stage of live " + w.scope + " is gone: " + use.stage);
    if (!use.stage.starts_with(std::string(kStageRoot) + "/"))
      broken("live " + w.scope + " was given " + use.stage + ", which is no stage");
    const VolumeKey* shown = state.plugins.VolumeOf(m->device);
    if (shown == nullptr ? !use.bare : *shown != use.volume)
      broken("the stage of " + w.scope + " for " + Title(use.volume) + " shows " +
             (shown == nullptr ? "no volume" : Title(*shown)));
    if (use.mode == "ro" && !HasOption(m->options, "ro"))
      broken(w.scope + " can write to " + Title(use.volume) + ", which it has read-only");
    if (!HasOption(m->options, "nosuid") || !HasOption(m->options, "nodev"))
      broken("the stage of " + w.scope + " is not nosuid and nodev");
  });
}

void VolumesStay(const State& state, const Report& broken) {
  EachUse(state, [&](const NodeState& node, const Workload& w, const Workload::Use& use) {
    if (!use.broken && !state.plugins.Mounted(node.kernel, use.volume))
      broken("volume " + Title(use.volume) + " of live " + w.scope + " was unmounted");
  });
}

void TargetsStay(const State& state, const Report& broken) {
  EachUse(state, [&](const NodeState& node, const Workload& w, const Workload::Use& use) {
    if (!node.kernel.Bound(w.pid, use.target))
      broken("the folder " + use.target + " of live " + w.scope + " was removed");
  });
}

// Whether a file of its folder could not be read once.
bool WasUnreadable(const NodeState& node, const std::string& stage) {
  return node.were_unreadable.count(stage.substr(0, stage.rfind('/'))) != 0;
}

// A stage that its volume has left, and that the ledger does not know since its files could not be read when
// that was lost: whoever asks for the volume then, nobody can know of it.
void LookAtUnknown(const NodeState& node, const Workload::Use& use) {
  use.was_unknown = use.unknown;
  for (const auto& p : node.processes) {
    if (!p || !p->engine || p->sys.dead()) continue;
    bool whole = true, known = true;
    Status s = p->engine->core().ledger->Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(whole, tx.IsWhole());
      DVDI_ASSIGN_OR_RETURN(const auto paths, tx.StagePaths());
      known = std::find(paths.begin(), paths.end(), use.stage) != paths.end();
      return Status();
    });
    if (s.ok()) use.unknown = !whole && !known;
    return;
  }
}

void WritersAgree(const State& state, const Report& broken) {
  struct User {
    std::string who, scope;
    const Workload::Use* use;
    bool writes() const { return use->mode == "rw"; }
    bool shares() const { return use->access == "multi-writer"; }
  };
  std::map<std::string, std::vector<User>> by_volume;
  EachUse(state, [&](const NodeState& node, const Workload& w, const Workload::Use& use) {
    const SimDriver* d = state.plugins.Driver(use.volume.first);
    if (use.broken && d->global) return;  // it has lost its lease with its mount
    if (use.broken && WasUnreadable(node, use.stage)) LookAtUnknown(node, use);
    if (use.mode == "rw" || use.access == "multi-reader")
      by_volume[Title(use.volume) + (d->global ? "" : " of " + node.kernel.name())].push_back(
          {w.scope + " on " + node.kernel.name(), w.scope, &use});
  });
  // Of two that disagree one came in this step: those of whom it could not know are none of its business.
  auto could_not_know = [](const User& a, const User& b) {
    if (a.use->unknown || a.use->was_unknown) a.use->unknown_to.insert(b.scope);
    return a.use->unknown_to.count(b.scope) != 0;
  };
  for (const auto& [volume, users] : by_volume) {
    for (size_t i = 0; i < users.size(); ++i) {
      for (size_t j = i + 1; j < users.size(); ++j) {
        const User &a = users[i].writes() ? users[i] : users[j], &b = &a == &users[i] ? users[j] : users[i];
        if (!a.writes() || (b.writes() && a.shares() && b.shares())) continue;
        if (could_not_know(a, b) || could_not_know(b, a)) continue;
        if (b.writes())
          broken("two writers of " + volume + ", which not all of them share: " + a.who + ", " + b.who);
        else
          broken("a writer of " + volume + ", " + a.who + ", beside one that wants readers only, " + b.who);
      }
    }
  }
}

void StrangersStay(const State& state, const Report& broken) {
  for (const auto& node : state.nodes) {
    for (const char* mount : kStrangeMounts) {
      const MountEntry* m = node->kernel.FindMount(mount);
      if (m == nullptr || m->device != kStrangeDevice)
        broken(std::string("a mount that is not ours was touched: ") + mount);
    }
    SimDisk::Node file;
    if (node->kernel.disk.Find(kStrangeFile, &file) < 0)
      broken(std::string("a file that is not ours was removed: ") + kStrangeFile);
  }
}

// Every stage is in the ledger, and every attachment of a stage has the file that proves it ours.
void LedgerCoversStages(const State& state, const Report& broken) {
  for (const auto& node : state.nodes) {
    EngineProcess* p = nullptr;
    for (const auto& process : node->processes)
      if (process && process->engine && !process->sys.dead()) p = process.get();
    std::vector<std::string> stages = node->kernel.MountsBelow(kStageRoot);
    std::erase_if(stages, [](const std::string& path) {
      return std::find(std::begin(kStrangeMounts), std::end(kStrangeMounts), path) !=
             std::end(kStrangeMounts);
    });
    if (p == nullptr || stages.empty()) continue;
    if (node->covered_at == node->kernel.disk.version() && node->covered == stages) continue;
    std::set<std::string> known;
    std::vector<OperationRow> operations;
    bool whole = true;
    Status s = p->engine->core().ledger->Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto paths, tx.StagePaths());
      known.insert(paths.begin(), paths.end());
      if (!node->live.empty()) {
        DVDI_ASSIGN_OR_RETURN(operations, tx.Operations());
      }
      if (!node->were_unreadable.empty()) {
        DVDI_ASSIGN_OR_RETURN(whole, tx.IsWhole());
      }
      return Status();
    });
    if (!s.ok()) continue;
    // What could not be read when the ledger was lost, which says so itself.
    auto nobody_can_know = [&](const std::string& stage) { return !whole && WasUnreadable(*node, stage); };
    for (const auto& path : stages) {
      if (known.count(path) == 0 && !nobody_can_know(path)) broken("mounted, and not in the ledger: " + path);
      SimDisk::Node meta;
      if (node->kernel.disk.Find(path.substr(0, path.rfind('/')) + "/meta.json", &meta) < 0)
        broken("mounted, and nothing proves that it is ours: " + path);
    }
    std::set<std::pair<std::string, std::string>> scopes;
    for (const OperationRow& o : operations)
      if (o.state == kCommitted) scopes.insert({o.owner, o.scope});
    for (const auto& [scope, w] : node->live)
      if (scopes.count({w.owner, scope}) == 0 &&
          std::none_of(w.uses.begin(), w.uses.end(),
                       [&](const Workload::Use& use) { return nobody_can_know(use.stage); }))
        broken("live, and not in the ledger as one that has its volumes: " + w.owner + " " + scope);
    node->covered_at = node->kernel.disk.version(), node->covered = std::move(stages);
  }
}

void AnswersInTime(const State& state, const Report& broken) {
  for (const auto& node : state.nodes)
    for (const auto& p : node->processes)
      if (p)
        for (auto& [id, asked] : p->asked)
          if (!asked.late && state.clock.now_ms() > asked.deadline_ms + 1000) {
            asked.late = true;
            broken(asked.what + " was not answered a second after its deadline: " + Dump(asked.request));
          }
}

// --- of engines that nobody tells to recover

void NothingUnfinished(const State& state, const Report& broken) {
  for (const auto& node : state.nodes) {
    const auto& p = node->processes[0];
    if (!p || !p->engine) continue;
    std::vector<OperationRow> left;
    Status s = p->engine->core().ledger->Read([&](LedgerTx& tx) -> Status {
      // Not by the question that engines ask: one that overlooks something finds nothing left of it either.
      DVDI_ASSIGN_OR_RETURN(left, tx.Operations());
      std::erase_if(left, [](const OperationRow& o) { return o.state == kCommitted; });
      return Status();
    });
    if (!s.ok()) broken("the ledger of " + node->kernel.name() + " cannot be read: " + s.message());
    for (const OperationRow& o : left)
      broken("left unfinished on " + node->kernel.name() + ": " + o.owner + " " + o.scope);
  }
}

void NothingMounted(const State& state, const Report& broken) {
  for (const auto& node : state.nodes)
    for (const auto& m : node->kernel.MountsBelow(kStageRoot))
      if (m != kStrangeMounts[1]) broken("left mounted on " + node->kernel.name() + ": " + m);
}

void NothingAttached(const State& state, const Report& broken) {
  for (const auto& [key, v] : state.plugins.volumes) {
    if (state.forgotten.count(key) != 0) continue;
    for (const auto& [name, here] : v.nodes) {
      // What was being released is in no ledger any more, once an older one was put in its place.
      auto node = std::find_if(state.nodes.begin(), state.nodes.end(),
                               [&name = name](const auto& n) { return n->kernel.name() == name; });
      if (here.mountpoint.empty() || node == state.nodes.end() || (*node)->ledger_was_restored) continue;
      // Where a driver that never names a mountpoint has one is known by the answer to its Mount alone, and
      // by the ledger: without it a No to Unmount may mean that nothing is mounted.
      if (state.plugins.Driver(key.first)->names == SimDriver::Names::kNothing &&
          (!here.unrecorded.empty() || (*node)->ledger_was_lost))
        continue;
      broken("left attached on " + name + ": " + Title(key));
    }
  }
}

void NothingInTheLedger(const State& state, const Report& broken) {
  for (const auto& node : state.nodes) {
    const auto& p = node->processes[0];
    if (!p || !p->engine) continue;
    auto scopes = p->engine->StatusOf({{"what", "scopes"}});
    if (!scopes.ok() || !(*scopes)["scopes"].empty())
      broken("left in the ledger: " + (scopes.ok() ? Dump(*scopes) : scopes.status().message()));
    auto summary = p->engine->StatusOf({{"what", "summary"}});
    if (!summary.ok() || !(*summary)["pending"].empty())
      broken("left pending: " + (summary.ok() ? Dump((*summary)["pending"]) : summary.status().message()));
    int64_t attachments = 0, effects = 0;
    (void)p->engine->core().ledger->Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(attachments, tx.Count("SELECT count(*) FROM attachment"));
      DVDI_ASSIGN_OR_RETURN(effects, tx.Count("SELECT count(*) FROM effect"));
      return Status();
    });
    if (attachments != 0 || effects != 0)
      broken("left in the ledger: " + std::to_string(attachments) + " attachments, " +
             std::to_string(effects) + " effects");
  }
}

void StageRootIsEmpty(const State& state, const Report& broken) {
  for (const auto& node : state.nodes) {
    SimDisk::Node root;
    if (node->kernel.disk.Find(kStageRoot, &root) < 0) continue;
    for (const auto& [name, child] : root->children)
      if (name != "backup" && name != "notes.txt") broken("left below the stage root: " + name);
  }
}

void FoldersAreGone(const State& state, const Report& broken) {
  for (const auto& node : state.nodes) {
    // A folder may outlive what the ledger said of it: that is in no other place.
    if (node->power_was_lost || node->ledger_was_lost) continue;
    SimDisk::Node root;
    if (node->kernel.disk.Find(kTargets, &root) < 0) continue;
    for (const auto& [name, child] : root->children) broken("left of a workload's target: /srv/" + name);
  }
}

void VolumesAreKnown(const State& state, const Report& broken) {
  for (const auto& node : state.nodes) {
    const auto& p = node->processes[0];
    // What a volume was made by is in the ledger alone.
    if (!p || !p->engine || node->ledger_was_lost) continue;
    std::map<VolumeKey, VolumeRow> rows;
    Status s = p->engine->core().ledger->Read([&](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto all, tx.Volumes(""));
      for (VolumeRow& v : all) rows[{v.driver, v.name}] = v;
      return Status();
    });
    if (!s.ok()) broken("the ledger of " + node->kernel.name() + " cannot be read: " + s.message());
    for (const auto& [key, made] : node->created) {
      auto row = rows.find(key);
      if (row == rows.end())
        broken("made by " + node->kernel.name() + ", which knows nothing of it: " + Title(key));
      else if (made.ours && !row->second.created_by_us)
        broken("made by " + node->kernel.name() + ", which takes it for somebody else's: " + Title(key));
    }
  }
}

void NothingStaysOpen(const State& state, const Report& broken) {
  for (const auto& node : state.nodes)
    for (const auto& p : node->processes)
      if (p && !p->engine && p->sys.open_files() > 0)
        broken(std::to_string(p->sys.open_files()) + " descriptors left open by " + p->sys.name());
}

void EverythingAnswered(const State& state, const Report& broken) {
  for (const auto& node : state.nodes)
    for (const auto& p : node->processes)
      if (p)
        for (const auto& [id, asked] : p->asked) broken(asked.what + " was never answered");
}

void NoSecretOnDisk(const State& state, const Report& broken) {
  for (const auto& node : state.nodes)
    node->kernel.disk.Walk([&](const std::string& path, const SimDisk::Inode& file) {
      if (file.data.find(kSecret) != std::string::npos) broken("a secret is in " + path);
    });
}

}  // namespace

void PlantStrangers(NodeState& node) {
  SimDisk& disk = node.kernel.disk;
  for (const char* folder : {"/mnt", "/mnt/backup", "/srv", "/var", "/var/lib", kStateDir, kStageRoot,
                             "/var/lib/dvdi/stage/backup"})
    disk.Make(folder, S_IFDIR | (std::string(folder).starts_with(kStateDir) ? 0700 : 0755), nullptr);
  SimDisk::Node file;
  if (disk.Make(kStrangeFile, S_IFREG | 0600, &file) == 0) disk.Sync(*file);
  for (const char* mount : kStrangeMounts) node.kernel.AddMount(mount, kStrangeDevice, "rw");
}

const std::vector<Invariant>& AlwaysTrue() {
  static const std::vector<Invariant> all = {
      {"stages-stay", "1: who has a volume keeps it, the right one, with the flags that were asked for",
       StagesStay},
      {"volumes-stay", "1: a volume in use is never unmounted", VolumesStay},
      {"targets-stay", "1: a folder with somebody's mount on it is not removed", TargetsStay},
      {"writers-agree", "never two writers against the policy, on a node or across nodes", WritersAgree},
      {"strangers-stay", "2: nothing is touched that is not provably ours", StrangersStay},
      {"ledger-covers", "2: the ledger covers reality, and so do the files that prove it",
       LedgerCoversStages},
      {"answers-in-time", "4: every request is answered within its deadline and a second", AnswersInTime},
  };
  return all;
}

const std::vector<Invariant>& TrueOnceLeftAlone() {
  static const std::vector<Invariant> all = {
      {"nothing-unfinished", "6: any live engine undoes what could not be undone", NothingUnfinished},
  };
  return all;
}

const std::vector<Invariant>& TrueOnceReleased() {
  static const std::vector<Invariant> all = {
      {"nothing-mounted", "6: what is not used is unmounted within two reconcile periods", NothingMounted},
      {"nothing-attached", "6: the driver has everything back", NothingAttached},
      {"nothing-in-ledger", "6: the ledger says so", NothingInTheLedger},
  };
  return all;
}

const std::vector<Invariant>& TrueAtTheEnd() {
  static const std::vector<Invariant> all = {
      {"stage-root-empty", "no file or folder is left over", StageRootIsEmpty},
      {"folders-gone", "folders that were made for targets are removed", FoldersAreGone},
      {"volumes-known", "data is never undone: what was made is known as made", VolumesAreKnown},
      {"nothing-open", "no descriptor is left over", NothingStaysOpen},
      {"all-answered", "each request has one answer", EverythingAnswered},
      {"no-secret", "10: a secret is in no record, log or ledger", NoSecretOnDisk},
  };
  return all;
}

}  // namespace dvdi::sim
