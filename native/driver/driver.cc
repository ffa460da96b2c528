#include "driver/driver.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "driver/files.h"
#include "driver/image.h"
#include "driver/log.h"
#include "driver/loop.h"

namespace dvdi {
namespace {

constexpr size_t kMaxId = 512;

Status CheckId(const std::string& id) {
  if (id.size() > kMaxId)
    return Status(Code::kInvalid, "the ID is " + std::to_string(id.size()) + " bytes long",
                  "give one of at most " + std::to_string(kMaxId) + " bytes");
  return OkStatus();
}

std::string Users(size_t n) { return std::to_string(n) + (n == 1 ? " user" : " users"); }

}  // namespace

Driver::Driver(const DriverOptions& options, Pool pool, MountRoot root, Holder self)
    : options_(options),
      pool_(std::move(pool)),
      root_(std::move(root)),
      self_(std::move(self)),
      states_(root_.state_fd(), self_.node, self_.boot_id) {}

Driver::~Driver() = default;

Result<std::unique_ptr<Driver>> Driver::Open(const DriverOptions& options) {
  DVDI_RETURN_IF_ERROR(CheckName(options.node, "node id"));
  if (options.default_size < SmallestSize(options.default_filesystem))
    return Status(Code::kInvalid,
                  std::string("the default size ") + FormatSize(options.default_size) + " is too small for " +
                      FilesystemName(options.default_filesystem),
                  "give at least " + FormatSize(SmallestSize(options.default_filesystem)));
  DVDI_ASSIGN_OR_RETURN(Pool pool, Pool::Open(options.pool, options.node));
  DVDI_ASSIGN_OR_RETURN(Holder self, Holder::Self(options.node));
  DVDI_ASSIGN_OR_RETURN(MountRoot root, MountRoot::Open(options.mount_root));
  std::unique_ptr<Driver> driver(new Driver(options, std::move(pool), std::move(root), std::move(self)));
  driver->Recover();
  return driver;
}

Result<Driver::Volume> Driver::OpenVolume(const std::string& name) const {
  Volume volume;
  DVDI_ASSIGN_OR_RETURN(volume.fd, pool_.OpenVolume(name));
  volume.lease.emplace(volume.fd.get(), name, pool_.VolumePath(name));
  return volume;
}

Status Driver::Create(const std::string& name, const std::map<std::string, std::string>& opts) {
  DVDI_RETURN_IF_ERROR(CheckName(name, "volume name"));
  auto parsed = ParseCreateOptions(opts);
  if (!parsed.ok()) return parsed.status().WithContext("volume " + name);
  VolumeMeta meta;
  meta.name = name;
  meta.created_at = Rfc3339Now();
  meta.size_bytes = parsed->size_bytes.value_or(options_.default_size);
  meta.filesystem = parsed->filesystem.value_or(options_.default_filesystem);
  if (meta.size_bytes < SmallestSize(meta.filesystem))
    return Status(Code::kInvalid,
                  "volume " + name + ": size " + FormatSize(meta.size_bytes) + " is too small for " +
                      FilesystemName(meta.filesystem),
                  "give at least " + FormatSize(SmallestSize(meta.filesystem)));
  VolumeLocks::Hold lock(&locks_, name);
  Status made = pool_.Create(meta);
  if (made.ok()) {
    Log(LogLevel::kInfo, "created volume " + name + " (" + FormatSize(meta.size_bytes) + ", " +
                             FilesystemName(meta.filesystem) + ")");
    return made;
  }
  if (made.code() != Code::kRefused) return made;
  // It exists. A repeated Create (a lost answer, an old client) is no error where it asks for the same.
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  DVDI_ASSIGN_OR_RETURN(VolumeMeta there, pool_.ReadMeta(volume.fd.get(), name));
  std::string has;
  if (parsed->size_bytes.has_value() && *parsed->size_bytes != there.size_bytes)
    has = "size " + FormatSize(there.size_bytes);
  else if (parsed->filesystem.has_value() && *parsed->filesystem != there.filesystem)
    has = std::string("filesystem ") + FilesystemName(there.filesystem);
  if (has.empty()) return OkStatus();
  return Status(Code::kRefused, "volume " + name + " exists with " + has,
                "leave the option out to use it as it is, or take another name");
}

Status Driver::Remove(const std::string& name) {
  VolumeLocks::Hold lock(&locks_, name);
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (device.has_value())
    return Status(Code::kRefused, "volume " + name + " is mounted on this node (" + self_.node + ")",
                  "end its use, then remove it again");
  DVDI_ASSIGN_OR_RETURN(Generation before, volume.lease->ReadGeneration());
  DVDI_ASSIGN_OR_RETURN(Lease lease, volume.lease->Acquire(self_));
  auto image = pool_.OpenImage(volume.fd.get(), name);
  if (image.ok()) {
    auto detached = WaitDetached(image->get(), options_.detach_wait_ms);
    Status why = detached.status();
    if (detached.ok() && !*detached)
      why = Status(Code::kRefused, "volume " + name + " is still attached as a loop device on this machine",
                   "end the processes that use it (losetup -l shows the device), then remove it again");
    if (!why.ok()) {
      // A lease that was here before guards that very use.
      if (!lease.taken_over) (void)volume.lease->Release(lease, before.clean);
      return why;
    }
  }
  Status removed = pool_.Remove(name);
  if (!removed.ok()) {
    Status released = volume.lease->Release(lease, before.clean);
    if (!released.ok()) Log(LogLevel::kError, released.message());
    return removed;
  }
  DVDI_RETURN_IF_ERROR(states_.Remove(name));
  Log(LogLevel::kInfo, "removed volume " + name);
  return OkStatus();
}

Result<std::string> Driver::Mount(const std::string& name, const std::string& id) {
  DVDI_RETURN_IF_ERROR(CheckId(id));
  VolumeLocks::Hold lock(&locks_, name);
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  DVDI_ASSIGN_OR_RETURN(VolumeMeta meta, pool_.ReadMeta(volume.fd.get(), name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (device.has_value()) return JoinMount(name, id, volume, *device);
  DVDI_ASSIGN_OR_RETURN(Generation before, volume.lease->ReadGeneration());
  DVDI_ASSIGN_OR_RETURN(Lease lease, volume.lease->Acquire(self_));
  bool attached = false;
  Status mounted = FreshMount(meta, id, volume, lease, &attached);
  if (!mounted.ok()) {
    UndoFreshMount(name, volume, lease, attached, before.clean);
    return mounted;
  }
  {
    std::lock_guard<std::mutex> hold(mu_);
    draining_.erase(name);
  }
  Log(LogLevel::kInfo, "mounted volume " + name + " at " + root_.Mountpoint(name) + " (lease " +
                           std::to_string(lease.generation) + ")");
  return root_.Mountpoint(name);
}

// Another user of what is mounted already. The lease must be ours still.
Result<std::string> Driver::JoinMount(const std::string& name, const std::string& id, const Volume& volume,
                                      const std::string& device) {
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, pool_.OpenImage(volume.fd.get(), name));
  if (!IsLoopOver(device, image.get()))
    return Status(Code::kRefused,
                  "something else than volume " + name + " is mounted at " + root_.Mountpoint(name),
                  "unmount it (umount " + root_.Mountpoint(name) + "), then mount again")
        .WithPath(root_.Mountpoint(name));
  DVDI_ASSIGN_OR_RETURN(auto held, volume.lease->Read());
  Lease lease;
  if (held.has_value() && LeaseFile::OursToTake(*held, self_)) {
    lease = *held;
  } else {
    if (!held.has_value())
      Log(LogLevel::kWarning, "volume " + name + " is mounted here without a lease: taking one");
    // Refuses, naming the node, where another one has it.
    DVDI_ASSIGN_OR_RETURN(lease, volume.lease->Acquire(self_));
  }
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  bool known = !state.ids.insert(id).second;
  if (known && state.generation == lease.generation) return root_.Mountpoint(name);
  state.generation = lease.generation;
  DVDI_RETURN_IF_ERROR(states_.Write(name, state));
  Step("user-added");
  Log(LogLevel::kInfo, "volume " + name + " has " + Users(state.ids.size()));
  return root_.Mountpoint(name);
}

Status Driver::FreshMount(const VolumeMeta& meta, const std::string& id, const Volume& volume,
                          const Lease& lease, bool* attached) {
  DVDI_RETURN_IF_ERROR(pool_.RemoveTemporaries(volume.fd.get()));
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, pool_.OpenImage(volume.fd.get(), meta.name));
  DVDI_ASSIGN_OR_RETURN(auto device, FindLoop(image.get()));
  // Under a lease that was ours before, this is our own device, kept by a copy of the mount in another
  // namespace; the kernel shares one filesystem over it. Otherwise it is a stranger.
  if (device.has_value() && (!lease.taken_over || !meta.formatted))
    return Status(Code::kRefused,
                  "the image of volume " + meta.name + " is attached as " + device->path + " without a lease",
                  "end that use (losetup -l, then umount or losetup -d), then mount again");
  bool formatted_now = false;
  if (!device.has_value()) {
    DVDI_RETURN_IF_ERROR(PrepareImage(meta, volume, &formatted_now));
    // Formatting put a new file in place.
    DVDI_ASSIGN_OR_RETURN(image, pool_.OpenImage(volume.fd.get(), meta.name));
    DVDI_ASSIGN_OR_RETURN(LoopDevice made, AttachLoop(image.get(), meta.name));
    device = std::move(made);
  }
  *attached = true;
  Step("attached");
  LocalState state;
  state.generation = lease.generation;
  state.ids = {id};
  DVDI_RETURN_IF_ERROR(states_.Write(meta.name, state));
  Step("state-written");
  DVDI_RETURN_IF_ERROR(root_.Mount(meta.name, device->path, meta.filesystem));
  Step("mounted");
  if (formatted_now) root_.RemoveLostAndFound(meta.name);
  return OkStatus();
}

// Makes sure that the image holds the filesystem that the metadata names: formats a new one, once.
Status Driver::PrepareImage(VolumeMeta meta, const Volume& volume, bool* formatted_now) {
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, pool_.OpenImage(volume.fd.get(), meta.name));
  DVDI_ASSIGN_OR_RETURN(std::string signature, ProbeSignature(image.get(), meta.name));
  std::string wanted = FilesystemName(meta.filesystem);
  if (meta.formatted) {
    if (signature == wanted) return OkStatus();
    return Status(Code::kSystem,
                  "the image of volume " + meta.name + " should hold " + wanted + " but holds " +
                      (signature.empty() ? "no known filesystem" : signature) + "; it was not formatted",
                  "restore it from a copy, or remove the volume")
        .WithPath(pool_.VolumePath(meta.name) + "/image");
  }
  if (signature == wanted) {
    // Formatted by a driver that was killed before it could say so, or put there by the operator.
    Log(LogLevel::kInfo, "volume " + meta.name + " holds " + wanted + " already: not formatted");
  } else {
    DVDI_RETURN_IF_ERROR(FormatImage(pool_, volume.fd.get(), meta, self_.node));
    *formatted_now = true;
    Log(LogLevel::kInfo,
        "formatted volume " + meta.name + " (" + FormatSize(meta.size_bytes) + ", " + wanted + ")");
  }
  meta.formatted = true;
  DVDI_RETURN_IF_ERROR(pool_.WriteMeta(volume.fd.get(), meta));
  Step("formatted-recorded");
  return OkStatus();
}

void Driver::UndoFreshMount(const std::string& name, const Volume& volume, const Lease& lease, bool attached,
                            bool clean) {
  Status undone;
  auto image = pool_.OpenImage(volume.fd.get(), name);
  if (image.ok() && (attached || lease.taken_over)) {
    auto detached = WaitDetached(image->get(), options_.detach_wait_ms);
    undone = detached.status();
    if (detached.ok() && !*detached) {
      std::lock_guard<std::mutex> hold(mu_);
      draining_.insert(name);
      return;  // the lease guards a use that goes on
    }
  }
  if (undone.ok()) undone = states_.Remove(name);
  if (undone.ok()) undone = volume.lease->Release(lease, clean);
  if (!undone.ok())
    Log(LogLevel::kError, "volume " + name + ": cannot give the lease back: " + undone.message());
}

Status Driver::Unmount(const std::string& name, const std::string& id) {
  DVDI_RETURN_IF_ERROR(CheckName(name, "volume name"));
  DVDI_RETURN_IF_ERROR(CheckId(id));
  VolumeLocks::Hold lock(&locks_, name);
  auto volume = OpenVolume(name);
  if (!volume.ok() && volume.status().code() == Code::kNotFound) return UnmountOrphan(name, id);
  if (!volume.ok()) return volume.status();
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (!device.has_value()) return GiveBack(name, *volume, state.generation, false);
  // Users that are not known (their state was lost) are guarded by the kernel alone.
  if (!state.ids.empty() && state.ids.count(id) == 0) {
    Log(LogLevel::kInfo,
        "volume " + name + ": unmount by an ID that does not have it; " + Users(state.ids.size()) + " left");
    return OkStatus();
  }
  if (state.ids.size() > 1) {
    state.ids.erase(id);
    DVDI_RETURN_IF_ERROR(states_.Write(name, state));
    Step("user-removed");
    Log(LogLevel::kInfo, "volume " + name + " has " + Users(state.ids.size()));
    return OkStatus();
  }
  auto image = pool_.OpenImage(volume->fd.get(), name);
  if (image.ok() && !IsLoopOver(*device, image->get()))
    return Status(Code::kRefused,
                  "something else than volume " + name + " is mounted at " + root_.Mountpoint(name),
                  "unmount it by hand (umount " + root_.Mountpoint(name) + ")")
        .WithPath(root_.Mountpoint(name));
  DVDI_RETURN_IF_ERROR(root_.Unmount(name));
  Step("unmounted");
  return GiveBack(name, *volume, state.generation, true);
}

// The volume's folder is gone from the pool, by another hand; what is mounted of it can still go.
Status Driver::UnmountOrphan(const std::string& name, const std::string& id) {
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  DVDI_ASSIGN_OR_RETURN(LocalState state, states_.Read(name));
  if (device.has_value()) {
    if (!state.ids.empty() && state.ids.count(id) == 0) return OkStatus();
    if (state.ids.size() > 1) {
      state.ids.erase(id);
      return states_.Write(name, state);
    }
    DVDI_RETURN_IF_ERROR(root_.Unmount(name));
    Log(LogLevel::kWarning, "unmounted volume " + name + ", which is no longer in the pool");
  }
  return states_.Remove(name);
}

// After the unmount here: the lease goes when no copy of the mount keeps the image attached.
Status Driver::GiveBack(const std::string& name, const Volume& volume, uint64_t generation,
                        bool was_mounted) {
  DVDI_ASSIGN_OR_RETURN(auto held, volume.lease->Read());
  bool ours = held.has_value() && LeaseFile::OursToTake(*held, self_) &&
              (generation == 0 || held->generation == generation);
  if (!ours) {
    if (was_mounted)
      Log(LogLevel::kError,
          "volume " + name + " was mounted here while its lease was " +
              (held.has_value() ? "node " + held->holder.node + "'s" : std::string("gone")) +
              ": check its filesystem");
    return states_.Remove(name);
  }
  DVDI_ASSIGN_OR_RETURN(UniqueFd image, pool_.OpenImage(volume.fd.get(), name));
  DVDI_ASSIGN_OR_RETURN(bool detached, WaitDetached(image.get(), options_.detach_wait_ms));
  if (!detached) {
    LocalState state;  // its users have let go of it
    state.generation = held->generation;
    DVDI_RETURN_IF_ERROR(states_.Write(name, state));
    std::lock_guard<std::mutex> hold(mu_);
    draining_.insert(name);
    return Status(Code::kRefused,
                  "volume " + name +
                      " is unmounted here, but a process in another mount namespace still has it, so node " +
                      self_.node + " keeps its lease",
                  "end that process; the lease is given back then");
  }
  // What the loop device wrote must be at the pool's server before another node may look.
  if (::fsync(image.get()) < 0) return Status::FromErrno(errno, "cannot fsync the image of volume " + name);
  Step("detached");
  // Same boot, so whoever unmounted last did it whole; of an earlier boot nobody knows.
  bool clean = held->holder.boot_id == self_.boot_id && generation != 0;
  DVDI_RETURN_IF_ERROR(volume.lease->Release(*held, clean));
  Step("released");
  DVDI_RETURN_IF_ERROR(states_.Remove(name));
  {
    std::lock_guard<std::mutex> hold(mu_);
    draining_.erase(name);
  }
  Log(LogLevel::kInfo,
      "unmounted volume " + name + ", lease " + std::to_string(held->generation) + " given back");
  return OkStatus();
}

Result<std::string> Driver::Path(const std::string& name) {
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (device.has_value()) return root_.Mountpoint(name);
  return Status(Code::kRefused, "volume " + name + " is not mounted on node " + self_.node, "mount it first");
}

Result<VolumeInfo> Driver::Get(const std::string& name) {
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  DVDI_ASSIGN_OR_RETURN(VolumeMeta meta, pool_.ReadMeta(volume.fd.get(), name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  VolumeInfo info;
  info.name = name;
  info.created_at = meta.created_at;
  info.size_bytes = meta.size_bytes;
  info.filesystem = meta.filesystem;
  info.formatted = meta.formatted;
  if (device.has_value()) info.mountpoint = root_.Mountpoint(name);
  if (auto image = pool_.OpenImage(volume.fd.get(), name); image.ok()) {
    struct stat st;
    if (::fstat(image->get(), &st) == 0) info.used_bytes = static_cast<int64_t>(st.st_blocks) * 512;
  }
  auto lease = volume.lease->Read();
  if (lease.ok())
    info.lease = *lease;
  else
    info.lease_problem = lease.status().message();
  if (auto generation = volume.lease->ReadGeneration(); generation.ok()) {
    info.generation = generation->number;
    info.clean = lease.ok() && !lease->has_value() && generation->clean;
  }
  return info;
}

Result<std::vector<std::pair<std::string, std::string>>> Driver::List() {
  DVDI_ASSIGN_OR_RETURN(auto names, pool_.List());
  DVDI_ASSIGN_OR_RETURN(auto mounted, root_.Mounted());
  std::vector<std::pair<std::string, std::string>> out;
  for (auto& name : names) {
    std::string mountpoint = mounted.count(name) != 0 ? root_.Mountpoint(name) : "";
    out.emplace_back(std::move(name), std::move(mountpoint));
  }
  return out;
}

}  // namespace dvdi
