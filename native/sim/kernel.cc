#include "sim/kernel.h"

#include <algorithm>
#include <iterator>

namespace dvdi::sim {

SimKernel::SimKernel(std::string name) : name_(std::move(name)) { AddMount("/", "8:1", "rw,relatime"); }

void SimKernel::AddMount(const std::string& mountpoint, const std::string& device,
                         const std::string& options) {
  MountEntry e;
  const MountEntry* parent = ContainingMount(mounts_, mountpoint);
  e.id = next_mount_++;
  e.parent = parent != nullptr ? parent->id : 1;
  e.device = device, e.root = "/", e.mountpoint = mountpoint;
  e.options = options, e.type = "ext4", e.source = "sim", e.super_options = "rw";
  mounts_.push_back(std::move(e));
  table_.clear();
}

bool SimKernel::RemoveMount(const std::string& mountpoint) {
  auto it = std::find_if(mounts_.rbegin(), mounts_.rend(),
                         [&](const MountEntry& e) { return e.mountpoint == mountpoint; });
  if (it == mounts_.rend()) return false;
  mounts_.erase(std::next(it).base());
  table_.clear();
  return true;
}

const MountEntry* SimKernel::FindMount(const std::string& mountpoint) const {
  return dvdi::FindMount(mounts_, mountpoint);
}
const MountEntry* SimKernel::MountOf(const std::string& path) const { return ContainingMount(mounts_, path); }

std::vector<std::string> SimKernel::MountsBelow(const std::string& folder) const {
  std::vector<std::string> found;
  for (const auto& e : mounts_)
    if (e.mountpoint.starts_with(folder + "/")) found.push_back(e.mountpoint);
  return found;
}

void SimKernel::Propagate(const std::string& mountpoint, bool shared) {
  table_.clear();
  for (auto& e : mounts_)
    if (e.mountpoint == mountpoint) e.propagation = shared ? "shared:" + std::to_string(e.id) : "";
}

std::string SimKernel::Mountinfo(pid_t pid) const {
  if (table_.empty())
    for (const auto& e : mounts_) {
      table_ += std::to_string(e.id) + " " + std::to_string(e.parent) + " " + e.device + " " + e.root + " " +
                e.mountpoint + " " + e.options + (e.propagation.empty() ? "" : " " + e.propagation) + " - " +
                e.type + " " + e.source + " " + e.super_options + "\n";
    }
  std::string text = table_;
  auto it = binds_.find(pid);
  if (it == binds_.end()) return text;
  int id = 1'000'000;
  for (const auto& target : it->second)
    text += std::to_string(id++) + " " + std::to_string(MountOf(target)->id) + " 7:1 / " + target +
            " rw - ext4 sim rw\n";
  return text;
}

pid_t SimKernel::StartProcess(bool again) {
  const pid_t next = next_pid_++, pid = again && ended_ != 0 ? ended_ : next;
  if (pid == ended_) ended_ = 0;
  processes_[pid] = static_cast<uint64_t>(next) * 7;  // no two have begun at the same time
  return pid;
}

void SimKernel::Reboot() {
  ++boot_;
  mounts_.clear();
  table_.clear();
  processes_.clear();
  ended_ = 0;
  binds_.clear();
  disk.Reboot();
  AddMount("/", "8:1", "rw,relatime");
}

}  // namespace dvdi::sim
