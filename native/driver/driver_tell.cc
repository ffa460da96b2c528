// What is told about volumes.
#include <sys/stat.h>

#include <algorithm>

#include "driver/driver.h"
#include "driver/log.h"

namespace dvdi {

Result<std::string> Driver::Path(const std::string& name) {
  DVDI_ASSIGN_OR_RETURN(auto pass, Enter(name));
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  if (device.has_value()) return root_.Mountpoint(name);
  return Status(Code::kRefused, "volume " + name + " is not mounted on node " + self_.node, "mount it first");
}

Result<VolumeInfo> Driver::Get(const std::string& name) {
  DVDI_ASSIGN_OR_RETURN(auto pass, Enter(name));
  DVDI_ASSIGN_OR_RETURN(Volume volume, OpenVolume(name));
  const Pool& pool = volume.pool();
  DVDI_ASSIGN_OR_RETURN(VolumeMeta meta, pool.ReadMeta(volume.fd.get(), name));
  DVDI_ASSIGN_OR_RETURN(auto device, root_.MountedDevice(name));
  VolumeInfo info;
  info.name = name;
  info.created_at = meta.created_at;
  info.pool = pool.path();
  info.tier = volume.tier->config.name;
  info.label = volume.tier->config.label;
  info.size_bytes = meta.size_bytes;
  info.filesystem = meta.filesystem;
  info.formatted = meta.formatted;
  info.grow = meta.grow;
  info.renew = meta.renew;
  info.limits = meta.limits;
  if (device.has_value()) info.mountpoint = root_.Mountpoint(name);
  if (auto image = pool.OpenImage(volume.fd.get(), name); image.ok()) {
    struct stat st;
    if (::fstat(image->get(), &st) == 0) info.used_bytes = static_cast<int64_t>(st.st_blocks) * 512;
  }
  if (auto free = pool.Free(); free.ok()) info.free_bytes = *free;
  auto lease = volume.lease->Read();
  if (lease.ok())
    info.lease = *lease;
  else
    info.lease_problem = lease.status().message();
  if (auto generation = volume.lease->ReadGeneration(); generation.ok()) {
    info.generation = generation->number;
    info.clean = generation->clean && !meta.renew;
  }
  if (auto state = states_.Read(name); state.ok()) info.lost = state->lost;
  std::lock_guard<std::mutex> hold(mu_);
  if (auto it = doing_.find(name); it != doing_.end()) info.doing = it->second;
  return info;
}

Result<std::vector<std::pair<std::string, std::string>>> Driver::List() {
  std::vector<std::string> names;
  tiers_.TryAll();
  for (size_t i = 0; i < tiers_.size(); ++i) {
    // All or nothing: a volume that is not in the list may be created anew.
    DVDI_ASSIGN_OR_RETURN(auto pass, gate_.Enter(i, "tier " + tiers_.Config(i).name));
    DVDI_ASSIGN_OR_RETURN(Tier * tier, tiers_.Reach(i));
    DVDI_ASSIGN_OR_RETURN(auto some, tier->pool.List());
    names.insert(names.end(), some.begin(), some.end());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  DVDI_ASSIGN_OR_RETURN(auto mounted, root_.Mounted());
  std::vector<std::pair<std::string, std::string>> out;
  for (auto& name : names) {
    std::string mountpoint = mounted.count(name) != 0 ? root_.Mountpoint(name) : "";
    out.emplace_back(std::move(name), std::move(mountpoint));
  }
  return out;
}

Driver::Doing::Doing(Driver* driver, std::string name, const std::string& what)
    : driver_(driver), name_(std::move(name)), what_(what) {
  std::lock_guard<std::mutex> hold(driver_->mu_);
  driver_->doing_[name_] = what_;
}

Driver::Doing::~Doing() {
  std::lock_guard<std::mutex> hold(driver_->mu_);
  driver_->doing_.erase(name_);
}

void Driver::Doing::Progress(const std::string& text) {
  {
    std::lock_guard<std::mutex> hold(driver_->mu_);
    driver_->doing_[name_] = what_ + ": " + text;
  }
  std::string head = text.substr(0, text.find(','));
  if (head == logged_) return;
  logged_ = head;
  Log(LogLevel::kInfo, what_ + " volume " + name_ + ": " + text);
}

}  // namespace dvdi
