#include "engine/original.h"

#include <fcntl.h>

#include <algorithm>
#include <cctype>
#include <condition_variable>
#include <map>
#include <mutex>

#include "base/path.h"
#include "base/text.h"
#include "engine/engine.h"
#include "sys/files.h"

namespace dvdi {
namespace {

// One field after the other of a protobuf message.
struct Wire {
  std::string_view bytes;

  bool Varint(uint64_t* out) {
    *out = 0;
    for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes[0]);
      bytes.remove_prefix(1);
      *out |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  }

  // `text` is the value of a field that has a length, and empty otherwise. False at what is no field.
  bool Next(uint64_t* number, std::string_view* text) {
    uint64_t tag = 0, value = 0;
    if (!Varint(&tag)) return false;
    *number = tag >> 3;
    *text = {};
    switch (tag & 7) {
      case 0: return Varint(&value);
      case 1: value = 8; break;
      case 5: value = 4; break;
      case 2:
        if (!Varint(&value)) return false;
        break;
      default: return false;
    }
    if (value > bytes.size()) return false;
    if ((tag & 7) == 2) *text = bytes.substr(0, value);
    bytes.remove_prefix(value);
    return true;
  }
};

bool ReadMount(std::string_view bytes, OriginalMount* mount) {
  std::string* fields[] = {&mount->container,  &mount->driver,  &mount->name,
                           &mount->mountpoint, &mount->options, &mount->container_path};
  Wire wire{bytes};
  while (!wire.bytes.empty()) {
    uint64_t number = 0;
    std::string_view text;
    if (!wire.Next(&number, &text)) return false;
    if (number >= 1 && number <= 6) fields[number - 1]->assign(text);
  }
  return !mount->container.empty() && !mount->driver.empty() && !mount->name.empty();
}

// Whether `folder` is called as the volume is, with or without more around it ("v", "red-v", "v.mnt").
bool IsCalled(const std::string& folder, const std::string& volume) {
  auto edge = [&](size_t at) {
    return at >= folder.size() || std::isalnum(static_cast<unsigned char>(folder[at])) == 0;
  };
  for (size_t at = 0; (at = folder.find(volume, at)) != std::string::npos; ++at)
    if ((at == 0 || edge(at - 1)) && edge(at + volume.size())) return true;
  return false;
}

// Whether the node still sees the volume mounted there. A driver may name the mount itself or a folder in it;
// and a folder of the root filesystem's, or of one that holds all volumes of a driver, which is there whether
// the volume is mounted or not, also after a reboot. So a mount around the folder counts where it is the
// volume's own: where it is called so. Where this is wrong, it is in saying no: to ask a driver for a volume
// that is not mounted here might take it from another node.
bool IsStillMounted(const std::vector<MountEntry>& table, const OriginalMount& m) {
  const std::string place = NormalPath(m.mountpoint);
  if (place.empty()) return false;
  if (FindMount(table, place) != nullptr) return true;
  const MountEntry* around = ContainingMount(table, place);
  return around != nullptr && around->mountpoint != "/" && IsCalled(NameOf(around->mountpoint), m.name);
}

std::string Described(const OriginalMount& m) {
  return "volume \"" + OneLine(m.name) + "\" (driver " + OneLine(m.driver) + ") of the original module at " +
         OneLine(m.mountpoint) + ", for container " + OneLine(m.container);
}

// A prepare by which the mounts of one container become ours: its drivers are asked for them once more, no
// volume is made, and no target is touched: the container has them already.
Json TakeOverRequest(const std::string& owner, const std::vector<OriginalMount>& mounts) {
  Json volumes = Json::array();
  for (const auto& m : mounts) {
    // Others may have the volume, too: the original counted its users.
    volumes.push_back({{"name", m.name},
                       {"driver", m.driver},
                       {"container_path", m.container_path.empty() ? m.mountpoint : m.container_path},
                       {"create", "never"},
                       {"access", "multi-writer"},
                       {"ownership", "none"}});
  }
  Json source = {{"form", "statement"}, {"text", Dump(Json{{"volumes", std::move(volumes)}})}};
  return {{"owner", owner},
          {"scope", mounts[0].container},
          {"sources", Json::array({std::move(source)})},
          {"deadline_ms", 20'000}};
}

}  // namespace

Result<std::vector<OriginalMount>> ReadOriginalMounts(std::string_view bytes) {
  std::vector<OriginalMount> out;
  Wire wire{bytes};
  while (!wire.bytes.empty()) {
    uint64_t number = 0;
    std::string_view text;
    OriginalMount mount;
    if (!wire.Next(&number, &text) || (number == 1 && !ReadMount(text, &mount)))
      return Status(Code::kInvalid, "it is no list of mounts");
    if (number == 1) out.push_back(std::move(mount));
  }
  return out;
}

Json Engine::TakeOver(const std::string& owner, const std::string& path, const Json* live) {
  Core& core = *core_;
  Json report = Json::array();
  auto bytes = ReadOwnFile(core.env.sys, path);
  if (!bytes.ok()) {
    if (bytes.status().error_number() != ENOENT) report.push_back(path + ": " + bytes.status().message());
    return report;
  }
  auto mounts = ReadOriginalMounts(*bytes);
  auto table = core.Mounts();
  if (!mounts.ok() || !table.ok()) {
    report.push_back(path + ": " + (mounts.ok() ? table.status() : mounts.status()).message() +
                     ": drain this node");
    return report;
  }
  std::map<std::string, std::vector<OriginalMount>> containers;
  for (auto& m : *mounts) {
    // A container that is alive has its volume, wherever its driver has put it.
    if ((live != nullptr && std::find(live->begin(), live->end(), m.container) != live->end()) ||
        IsStillMounted(*table, m))
      containers[m.container].push_back(std::move(m));
    else
      report.push_back(Described(m) + ", is left out (" +
                       (live != nullptr ? "that container is not alive, and nothing" : "nothing") +
                       " of the volume is mounted there)");
  }
  // Side by side: a driver that does not answer holds up its own alone.
  struct Waiting {
    std::mutex mu;
    std::condition_variable cv;
    size_t left = 0;
    Json report = Json::array();
  };
  auto waiting = std::make_shared<Waiting>();
  waiting->left = containers.size();
  for (const auto& [container, list] : containers) {
    auto done = [waiting, list = list](const Status& s, const Json&) {
      std::lock_guard lock(waiting->mu);
      for (const auto& m : list) {
        std::string what = Described(m);
        waiting->report.push_back(s.ok() ? what + ", was taken over"
                                         : what + ", cannot be taken over (" + s.message() +
                                               "): drain this node");
      }
      --waiting->left;
      waiting->cv.notify_all();
    };
    Status s = Begin(TakeOverRequest(owner, list), true, done);
    if (!s.ok()) done(s, Json());
  }
  {
    std::unique_lock lock(waiting->mu);
    while (waiting->left > 0)
      core.env.scheduler->Wait(lock, waiting->cv, core.env.clock->MonotonicMs() + 1000);
    for (auto& line : waiting->report) report.push_back(std::move(line));
  }
  // Once, whatever became of it.
  int r = core.env.sys->RenameAt(AT_FDCWD, path.c_str(), AT_FDCWD, (path + ".read").c_str());
  if (r < 0) report.push_back(Status::FromErrno(-r, "cannot rename " + path, path).message());
  return report;
}

}  // namespace dvdi
