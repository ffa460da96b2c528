#include "driver/lease.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "driver/files.h"
#include "driver/keeper.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr char kLease[] = "lease.";
constexpr char kReleased[] = "released.";
constexpr int kFormat = 1;
constexpr int kAttempts = 64;

std::string LeaseText(const Lease& lease) {
  return Dump(Json{{"format", kFormat},
                   {"node", lease.holder.node},
                   {"generation", lease.generation},
                   {"since", lease.since},
                   {"boot_id", lease.holder.boot_id.id},
                   {"machine", lease.holder.machine},
                   {"pid", lease.holder.pid},
                   {"start_time", lease.holder.start_time},
                   {"pid_namespace", lease.holder.pid_namespace},
                   {"lock", lease.holder.lock},
                   {"session", lease.holder.session},
                   {"lease_ms", lease.holder.lease_ms},
                   {"fencing", lease.fencing}}) +
         "\n";
}

bool GetUnsigned(const Json& object, const char* key, uint64_t* out) {
  const Json& m = GetMember(object, key);
  if (!m.is_number_unsigned()) return false;
  *out = m.get<uint64_t>();
  return true;
}

std::string LeaseName(uint64_t number) { return kLease + std::to_string(number); }
std::string ReleasedName(uint64_t number) { return kReleased + std::to_string(number); }

// The number in PREFIX NUMBER; 0 where it is no such name.
uint64_t NumberIn(const std::string& name, const std::string& prefix) {
  if (name.rfind(prefix, 0) != 0) return 0;
  std::string digits = name.substr(prefix.size());
  if (digits.size() > 18 || !IsDigits(digits) || digits[0] == '0') return 0;
  return std::stoull(digits);
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
  DVDI_ASSIGN_OR_RETURN(h.pid_namespace, OwnPidNamespace(Sys::Real()));
  h.pid = ::getpid();
  int r = Sys::Real()->ProcessStart(h.pid, &h.start_time);
  if (r < 0) return Status::FromErrno(-r, "cannot read the start time of this process from /proc");
  return h;
}

LeaseFile::LeaseFile(int dirfd, std::string volume, std::string path, std::string node)
    : dirfd_(dirfd), volume_(std::move(volume)), path_(std::move(path)), node_(std::move(node)) {}

Result<LeaseFile::Numbers> LeaseFile::List() const {
  std::vector<std::string> names;
  int r = Sys::Real()->ListDir(dirfd_, ".", &names);
  if (r < 0) return Status::FromErrno(-r, "cannot list the folder of volume " + volume_, path_);
  Numbers found;
  for (const auto& name : names) found.last = std::max(found.last, NumberIn(name, kLease));
  for (const auto& name : names)
    if (found.last != 0 && NumberIn(name, kReleased) == found.last) found.released = true;
  return found;
}

Result<std::optional<Lease>> LeaseFile::Read() const {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // What was swept away between the list and the read has a successor by then, or the list was old.
    if (attempt > 0) DVDI_RETURN_IF_ERROR(RefreshFolder(dirfd_, node_));
    DVDI_ASSIGN_OR_RETURN(Numbers found, List());
    if (found.last == 0 || found.released) return std::optional<Lease>();
    DVDI_ASSIGN_OR_RETURN(auto lease, ReadNumber(found.last));
    if (lease.has_value()) return lease;
  }
  return Status(Code::kRefused, "the lease of volume " + volume_ + " changes hands too fast", "try again");
}

// Nothing where there is no such file.
Result<std::optional<Lease>> LeaseFile::ReadNumber(uint64_t number) const {
  auto text = ReadSmallFile(dirfd_, LeaseName(number));
  if (!text.ok() && text.status().code() == Code::kNotFound) return std::optional<Lease>();
  std::string why = text.status().message();
  if (text.ok()) {
    auto json = ParseJson(*text, "it", 4);
    uint64_t format = 0, pid = 0, lease_ms = 0;
    Lease lease;
    if (!json.ok()) {
      why = json.status().message();
    } else if (!GetUnsigned(*json, "format", &format) || format != kFormat) {
      why = "its format is not 1";
    } else {
      lease.holder.node = GetString(*json, "node");
      lease.holder.boot_id = GetString(*json, "boot_id");
      lease.holder.machine = GetString(*json, "machine");
      lease.holder.session = GetString(*json, "session");
      // An earlier driver did not say these.
      lease.holder.lock = GetString(*json, "lock");
      (void)GetUnsigned(*json, "pid_namespace", &lease.holder.pid_namespace);
      lease.since = GetString(*json, "since");
      if (!lease.holder.node.empty() && !lease.holder.boot_id.id.empty() && !lease.since.empty() &&
          GetUnsigned(*json, "generation", &lease.generation) && lease.generation == number &&
          GetUnsigned(*json, "pid", &pid) && GetUnsigned(*json, "start_time", &lease.holder.start_time) &&
          GetUnsigned(*json, "lease_ms", &lease_ms) &&
          (lease.holder.session.empty() || IsSessionName(lease.holder.session))) {
        lease.holder.pid = static_cast<pid_t>(pid);
        lease.holder.lease_ms = static_cast<int64_t>(lease_ms);
        lease.fencing = GetBool(*json, "fencing");
        return std::optional<Lease>(std::move(lease));
      }
      why = "a field is missing or wrong";
    }
  }
  return Status(Code::kRefused,
                "the lease file of volume " + volume_ + " cannot be relied on (" + why +
                    "), so the volume counts as in use",
                "make sure that no node has it mounted, then make the file " + path_ + "/" +
                    ReleasedName(number) + " with {\"clean\":false}")
      .WithPath(path_ + "/" + LeaseName(number));
}

Result<bool> LeaseFile::ReadClean(uint64_t number) const {
  auto text = ReadSmallFile(dirfd_, ReleasedName(number));
  if (!text.ok() && text.status().code() == Code::kNotFound) return false;
  if (!text.ok()) return text.status();
  // Released by hand, or damaged: nobody knows, and then it is looked at before it is mounted.
  auto json = ParseJson(*text, "it", 4);
  return json.ok() && GetBool(*json, "clean");
}

Result<Generation> LeaseFile::ReadGeneration() const {
  DVDI_ASSIGN_OR_RETURN(Numbers found, List());
  Generation g;
  g.number = found.last;
  if (found.last != 0) {
    DVDI_ASSIGN_OR_RETURN(g.clean, ReadClean(found.last));
  }
  return g;
}

// What came before the current lease tells nothing any more. What cannot be removed is swept the next time.
void LeaseFile::Sweep(uint64_t below) const {
  std::vector<std::string> names;
  if (Sys::Real()->ListDir(dirfd_, ".", &names) < 0) return;
  for (const auto& name : names) {
    uint64_t number = std::max(NumberIn(name, kLease), NumberIn(name, kReleased));
    if (number != 0 && number < below) (void)RemoveFile(dirfd_, name);
  }
}

// Nobody reads a lease that is given back; its name alone counts. What room it has is the next one's then: on
// a disk that is full a volume could not be removed otherwise.
void LeaseFile::Empty(uint64_t number) const {
  UniqueFd file(
      ::openat(dirfd_, LeaseName(number).c_str(), O_WRONLY | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.valid()) (void)::fsync(file.get());
}

bool LeaseFile::OursToTake(const Lease& lease, const Holder& self) {
  const Holder& h = lease.holder;
  if (!h.machine.empty() && !self.machine.empty() && h.machine != self.machine) return false;
  // Who had our mount root has it no more, since we have its lock.
  const bool had_our_root = h.boot_id == self.boot_id && !h.lock.empty() && h.lock == self.lock;
  // A node may have been given another name.
  if (h.node != self.node && !had_our_root) return false;
  if (h.boot_id != self.boot_id) return true;
  // Its number says nothing here.
  if (h.pid_namespace != 0 && self.pid_namespace != 0 && h.pid_namespace != self.pid_namespace)
    return had_our_root;
  if (h.pid == self.pid && h.start_time == self.start_time) return true;
  return !IsAlive(h.pid, h.start_time);
}

Status LeaseFile::Held(const Lease& lease, const Holder& self) const {
  std::string by = "node " + OneLine(lease.holder.node, 128) + " since " + OneLine(lease.since, 40);
  std::string dead = lease.holder.lease_ms > 0 ? "if that node is gone or cut off: "
                                               : "only if that node is known to be powered off: ";
  dead += "dvdi fence DRIVER/" + volume_ + (lease.holder.lease_ms > 0 ? "" : " --node-is-dead");
  if (lease.holder.node != self.node)
    return Status(Code::kRefused, "volume " + volume_ + " is in use on " + by, "end its use there; " + dead);
  const bool unseen = lease.holder.pid_namespace != self.pid_namespace;
  if (lease.holder.boot_id == self.boot_id)
    return Status(
        Code::kRefused,
        "volume " + volume_ + " is in use on " + by +
            " by another dvdi-driver with the same node id (process " + std::to_string(lease.holder.pid) +
            (unseen ? " of another PID namespace, which cannot be seen from here)" : ")"),
        unseen ? "give each driver a node id of its own; if that one is gone for sure, make the file " +
                     path_ + "/" + ReleasedName(lease.generation) + " with {\"clean\":false}"
               : "give each driver a node id of its own");
  return Status(Code::kRefused,
                "volume " + volume_ + " is in use on " + by + ", another machine with this node's id",
                "give each node an id of its own; " + dead);
}

Result<Lease> LeaseFile::Acquire(const Holder& self) const {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) DVDI_RETURN_IF_ERROR(RefreshFolder(dirfd_, node_));
    DVDI_ASSIGN_OR_RETURN(Numbers found, List());
    bool ours = false, fencing = false;
    if (found.last != 0 && !found.released) {
      DVDI_ASSIGN_OR_RETURN(auto held, ReadNumber(found.last));
      if (!held.has_value()) continue;
      // An old list may show a lease that is given back by now: once more, before it is refused.
      if (!OursToTake(*held, self) && attempt > 0) return Held(*held, self);
      if (!OursToTake(*held, self)) continue;
      ours = true;
      fencing = held->fencing;
    }
    auto lease = TakeNext(found.last, self, fencing);
    if (!lease.ok() && NoRoom(lease.status()) && found.released) {
      Empty(found.last);
      lease = TakeNext(found.last, self, fencing);
    }
    if (!lease.ok() && lease.status().code() == Code::kRefused) continue;
    if (lease.ok()) lease->taken_over = ours;
    return lease;
  }
  return Status(Code::kRefused, "the lease of volume " + volume_ + " changes hands too fast", "try again");
}

Result<Lease> LeaseFile::TakeNext(uint64_t generation, const Holder& self, bool fencing) const {
  Lease lease{self, generation + 1, Rfc3339Now(), fencing};
  Status made =
      CreateFileExclusive(dirfd_, LeaseName(lease.generation), LeaseText(lease), TempName(self.node));
  if (made.code() == Code::kRefused)
    return Status(Code::kRefused, "another node took volume " + volume_ + " meanwhile", "try again");
  DVDI_RETURN_IF_ERROR(made);
  Step("lease-created");
  // A list that was old (a network filesystem's cache) may have led to a number that was swept away. Having
  // written to the folder, this node sees it as it is.
  auto now = List();
  if (!now.ok() || now->last != lease.generation || now->released) {
    (void)RemoveFile(dirfd_, LeaseName(lease.generation));
    if (!now.ok()) return now.status();
    return Status(Code::kRefused, "another node took volume " + volume_ + " meanwhile", "try again");
  }
  Sweep(lease.generation);
  Step("lease-taken");
  return lease;
}

Status LeaseFile::Release(const Lease& lease, bool clean) const {
  DVDI_ASSIGN_OR_RETURN(Numbers found, List());
  if (found.last > lease.generation) {
    auto held = ReadNumber(found.last);
    bool known = held.ok() && held->has_value();
    return Status(Code::kRefused,
                  "the lease of volume " + volume_ + " was lost to " +
                      (known ? "node " + OneLine((*held)->holder.node, 128) : std::string("another node")) +
                      " while it was mounted here",
                  "what was written here after that is not in the volume");
  }
  if (found.last < lease.generation || found.released) return OkStatus();
  Status done =
      CreateFileExclusive(dirfd_, ReleasedName(lease.generation),
                          clean ? "{\"clean\":true}\n" : "{\"clean\":false}\n", TempName(lease.holder.node));
  // Without a word it takes no room, and counts as not clean.
  if (NoRoom(done))
    done = CreateFileExclusive(dirfd_, ReleasedName(lease.generation), "", TempName(lease.holder.node));
  if (done.code() == Code::kRefused) return OkStatus();
  DVDI_RETURN_IF_ERROR(done);
  Step("lease-released");
  return OkStatus();
}

bool IsLeaseName(const std::string& name) {
  return NumberIn(name, kLease) != 0 || NumberIn(name, kReleased) != 0;
}

}  // namespace dvdi
