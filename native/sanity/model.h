// A plugin for the tests of the checks, which can be told to be wrong.
#ifndef DVDI_SANITY_MODEL_H_
#define DVDI_SANITY_MODEL_H_

#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "plugin/scripted_server.h"

namespace dvdi::sanity {

// Volumes are folders; a mounted one is seen through a link, which goes with the last ID.
class Model {
 public:
  explicit Model(std::string fault = "") : fault_(std::move(fault)) {
    server_.SetHandler([this](const SeenRequest& request) { return Handle(request); });
  }
  PluginAddress address() const { return server_.address(); }
  int held() const { return held_; }
  // What is there, and mounted, whatever it says of that.
  int volumes() {
    std::lock_guard<std::mutex> lock(mu_);
    return static_cast<int>(volumes_.size());
  }
  int mounted() const {
    const std::filesystem::path mounts = dir_ / "mnt";
    if (!std::filesystem::exists(mounts)) return 0;
    return static_cast<int>(std::distance(std::filesystem::directory_iterator(mounts), {}));
  }
  // The command that restarts it: it is as new with the next request.
  std::vector<std::string> restart() const { return {"/usr/bin/touch", dir_ / "restart"}; }
  // Its socket is gone, as with a plugin's process.
  void End() { server_.Stop(); }

 private:
  struct Volume {
    std::multiset<std::string> ids;
    bool was_mounted = false;
  };
  bool Has(const char* fault) const { return fault_ == fault; }
  static Turn Ok(const ::dvdi::Json& body) { return Turn::Json(Dump(body) + "\n"); }
  static Turn Error(const std::string& text) { return Turn::Json(Dump({{"Err", text}}), 500); }
  std::string Store(const std::string& name) const {
    return dir_ / ("store/" + (Has("shared") ? "all" : File(name)));
  }
  std::string Place(const std::string& name) const { return dir_ / ("mnt/" + File(name)); }
  // Names that are taken as they are need not be those of files.
  std::string File(const std::string& name) const;
  std::string Mountpoint(const std::string& name) const {
    auto it = volumes_.find(name);
    return it == volumes_.end() || it->second.ids.empty() ? "" : Place(name);
  }
  void Release(const std::string& name);
  void Restarted();

  ::dvdi::Json ListEntry(const std::string& name) const;
  Turn Handle(const SeenRequest& request);
  Turn Volumes(const std::string& method, const std::string& name, const std::string& id);
  Turn Mount(const std::string& name, const std::string& id);
  Turn Unmount(const std::string& name, const std::string& id);
  Turn Create(const std::string& name);

  const std::string fault_;
  ScopedDir dir_;
  std::mutex mu_;
  std::map<std::string, Volume> volumes_;
  bool stuck_ = false;
  std::atomic<int> held_{0};
  ScriptedServer server_{dir_ / "p.sock"};
};

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_MODEL_H_
