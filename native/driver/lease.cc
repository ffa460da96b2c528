#include "driver/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/json.h"
#include "base/text.h"
#include "driver/files.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr char kLease[] = "lease";
constexpr char kGeneration[] = "generation";
constexpr int kFormat = 1;

std::string LeaseText(const Lease& lease) {
  return Dump(Json{{"format", kFormat},
                   {"node", lease.holder.node},
                   {"generation", lease.generation},
                   {"since", lease.since},
                   {"boot_id", lease.holder.boot_id},
                   {"machine", lease.holder.machine},
                   {"pid", lease.holder.pid},
                   {"start_time", lease.holder.start_time}}) +
         "\n";
}

bool GetUnsigned(const Json& object, const char* key, uint64_t* out) {
  const Json& m = GetMember(object, key);
  if (!m.is_number_unsigned()) return false;
  *out = m.get<uint64_t>();
  return true;
}

// Anything but "it is gone" or "it is another one" counts as alive.
bool IsAlive(pid_t pid, uint64_t start_time) {
  uint64_t start = 0;
  int r = Sys::Real()->ProcessStart(pid, &start);
  if (r == -ESRCH || (r == 0 && start != start_time)) return false;
  // A zombie is only waiting for its parent. What it may still hold is guarded by the mount root's lock.
  auto stat = ReadSmallFile(AT_FDCWD, "/proc/" + std::to_string(pid) + "/stat");
  size_t name_end = stat.ok() ? stat->rfind(") ") : std::string::npos;
  return name_end == std::string::npos || ((*stat)[name_end + 2] != 'Z' && (*stat)[name_end + 2] != 'X');
}

}  // namespace

Result<Holder> Holder::Self(const std::string& node) {
  Holder h;
  h.node = node;
  DVDI_ASSIGN_OR_RETURN(h.boot_id, Sys::Real()->BootId());
  auto machine = ReadSmallFile(AT_FDCWD, "/etc/machine-id");
  // The raw id is not for other machines' eyes (machine-id(5)).
  if (machine.ok() && machine->size() >= 32)
    h.machine = Sha256Hex("dvdi-driver:" + machine->substr(0, 32)).substr(0, 32);
  h.pid = ::getpid();
  int r = Sys::Real()->ProcessStart(h.pid, &h.start_time);
  if (r < 0) return Status::FromErrno(-r, "cannot read the start time of this process from /proc");
  return h;
}

LeaseFile::LeaseFile(int dirfd, std::string volume, std::string path)
    : dirfd_(dirfd), volume_(std::move(volume)), path_(std::move(path)) {}

Result<std::optional<Lease>> LeaseFile::Read() const {
  auto text = ReadSmallFile(dirfd_, kLease);
  if (!text.ok() && text.status().code() == Code::kNotFound) return std::optional<Lease>();
  std::string why = text.status().message();
  if (text.ok()) {
    auto json = ParseJson(*text, "it", 4);
    uint64_t format = 0, pid = 0;
    Lease lease;
    if (!json.ok()) {
      why = json.status().message();
    } else if (!GetUnsigned(*json, "format", &format) || format != kFormat) {
      why = "its format is not 1";
    } else {
      lease.holder.node = GetString(*json, "node");
      lease.holder.boot_id = GetString(*json, "boot_id");
      lease.holder.machine = GetString(*json, "machine");
      lease.since = GetString(*json, "since");
      if (!lease.holder.node.empty() && !lease.holder.boot_id.empty() && !lease.since.empty() &&
          GetUnsigned(*json, "generation", &lease.generation) && GetUnsigned(*json, "pid", &pid) &&
          GetUnsigned(*json, "start_time", &lease.holder.start_time)) {
        lease.holder.pid = static_cast<pid_t>(pid);
        return std::optional<Lease>(std::move(lease));
      }
      why = "a field is missing";
    }
  }
  return Status(Code::kRefused,
                "the lease file of volume " + volume_ + " cannot be relied on (" + why +
                    "), so the volume counts as in use",
                "make sure that no node has it mounted, then remove " + path_ + "/" + kLease)
      .WithPath(path_ + "/" + kLease);
}

Result<Generation> LeaseFile::ReadGeneration() const {
  auto text = ReadSmallFile(dirfd_, kGeneration);
  if (!text.ok() && text.status().code() == Code::kNotFound) return Generation{};
  if (!text.ok()) return text.status();
  auto json = ParseJson(*text, "it", 4);
  Generation g;
  if (json.ok() && GetUnsigned(*json, "generation", &g.number) && GetMember(*json, "clean").is_boolean()) {
    g.clean = GetBool(*json, "clean");
    return g;
  }
  return Status(Code::kInvalid, "the generation file of volume " + volume_ + " is damaged",
                "write {\"generation\": N, \"clean\": false} into " + path_ + "/" + kGeneration +
                    ", N above every number used so far")
      .WithPath(path_ + "/" + kGeneration);
}

Status LeaseFile::WriteGeneration(const Generation& g, const std::string& node) const {
  return ReplaceFile(dirfd_, kGeneration, Dump(Json{{"generation", g.number}, {"clean", g.clean}}) + "\n",
                     TempName(node));
}

bool LeaseFile::OursToTake(const Lease& lease, const Holder& self) {
  const Holder& h = lease.holder;
  if (h.node != self.node) return false;
  if (!h.machine.empty() && !self.machine.empty() && h.machine != self.machine) return false;
  if (h.boot_id != self.boot_id) return true;
  if (h.pid == self.pid && h.start_time == self.start_time) return true;
  return !IsAlive(h.pid, h.start_time);
}

Status LeaseFile::Held(const Lease& lease, const Holder& self) const {
  std::string by = "node " + OneLine(lease.holder.node, 128) + " since " + OneLine(lease.since, 40);
  std::string file = path_ + "/" + kLease;
  if (lease.holder.node != self.node)
    return Status(Code::kRefused, "volume " + volume_ + " is in use on " + by,
                  "end its use there; only if that node is known to be dead, remove " + file);
  if (lease.holder.boot_id == self.boot_id)
    return Status(Code::kRefused,
                  "volume " + volume_ + " is in use on " + by +
                      " by another dvdi-driver with the same node id (process " +
                      std::to_string(lease.holder.pid) + ")",
                  "give each driver a node id of its own");
  return Status(Code::kRefused,
                "volume " + volume_ + " is in use on " + by + ", another machine with this node's id",
                "give each node an id of its own; only if that machine is known to be dead, remove " + file);
}

Result<Lease> LeaseFile::Acquire(const Holder& self) const {
  // A lease that vanishes between link and read is tried for again; it cannot go on for long.
  for (int attempt = 0; attempt < 16; ++attempt) {
    DVDI_ASSIGN_OR_RETURN(std::optional<Lease> held, Read());
    if (held.has_value()) {
      if (!OursToTake(*held, self)) return Held(*held, self);
      return TakeOver(*held, self);
    }
    DVDI_ASSIGN_OR_RETURN(Generation before, ReadGeneration());
    Lease lease{self, before.number + 1, Rfc3339Now()};
    Status made = CreateFileExclusive(dirfd_, kLease, LeaseText(lease), TempName(self.node));
    if (made.code() == Code::kRefused) continue;
    DVDI_RETURN_IF_ERROR(made);
    Step("lease-created");
    // Another node may have had and released the volume since `before` was read.
    auto now = ReadGeneration();
    Status done = now.status();
    if (done.ok() && now->number >= lease.generation) {
      lease.generation = now->number + 1;
      done = ReplaceFile(dirfd_, kLease, LeaseText(lease), TempName(self.node));
    }
    if (done.ok()) done = WriteGeneration({lease.generation, false}, self.node);
    if (!done.ok()) {
      // Nothing was attached: the lease may go at once.
      (void)RemoveFile(dirfd_, kLease);
      return done;
    }
    Step("lease-taken");
    return lease;
  }
  return Status(Code::kRefused, "the lease of volume " + volume_ + " changes hands too fast", "try again");
}

Result<Lease> LeaseFile::TakeOver(const Lease& old, const Holder& self) const {
  DVDI_ASSIGN_OR_RETURN(Generation g, ReadGeneration());
  Lease lease{self, std::max(g.number, old.generation) + 1, Rfc3339Now()};
  DVDI_RETURN_IF_ERROR(ReplaceFile(dirfd_, kLease, LeaseText(lease), TempName(self.node)));
  DVDI_RETURN_IF_ERROR(WriteGeneration({lease.generation, false}, self.node));
  Step("lease-taken-over");
  lease.taken_over = true;
  return lease;
}

Status LeaseFile::Refresh(const Lease& lease, const Holder& self) const {
  Lease mine = lease;
  mine.holder = self;
  return ReplaceFile(dirfd_, kLease, LeaseText(mine), TempName(self.node));
}

Status LeaseFile::Release(const Lease& lease, bool clean) const {
  DVDI_ASSIGN_OR_RETURN(std::optional<Lease> held, Read());
  if (!held.has_value()) return OkStatus();
  if (held->holder.node != lease.holder.node || held->generation != lease.generation)
    return Status(Code::kRefused,
                  "the lease of volume " + volume_ + " was lost to node " + OneLine(held->holder.node, 128) +
                      " while it was mounted here",
                  "check the volume's filesystem: two nodes may have written to it");
  DVDI_ASSIGN_OR_RETURN(Generation before, ReadGeneration());
  DVDI_RETURN_IF_ERROR(
      WriteGeneration({std::max(before.number, lease.generation), clean}, lease.holder.node));
  Step("release-begun");
  DVDI_RETURN_IF_ERROR(RemoveFile(dirfd_, kLease));
  Step("lease-removed");
  return FsyncFolder(dirfd_, kLease);
}

}  // namespace dvdi
