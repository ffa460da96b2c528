// Volume plugins on the real kernel, in the process of the test: a mounted volume is a tmpfs.
#ifndef DVDI_ENGINE_TESTING_TMPFS_PLUGINS_H_
#define DVDI_ENGINE_TESTING_TMPFS_PLUGINS_H_

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "plugin/transport.h"

namespace dvdi {

// Thread-safe. A driver is found where /sim/NAME.sock is its address.
class TmpfsPlugins : public PluginTransport {
 public:
  explicit TmpfsPlugins(std::string folder) : folder_(std::move(folder)) {}
  std::vector<PluginReply> Exchange(const std::vector<PluginRequest>& requests) override;
  // One request of the protocol: a JSON answer, and its HTTP status in *status.
  std::string Act(const std::string& driver, const std::string& method, const std::string& body, int* status);

  // Called before each act, on the engine's thread, without a lock held; it may take its time.
  std::function<void(const std::string& method, const std::string& name)> before;
  // What a Mount of that volume is answered with, in place of where it is. Set before it is sent.
  std::map<std::string, std::string> named;
  // How many users the test knows the volume to have: an Unmount that would take it from one is noted.
  void AddUser(const std::string& driver, const std::string& name, int n);
  std::vector<std::string> violations() const;
  int mounted() const;
  int calls(const std::string& method) const;
  std::string Mountpoint(const std::string& driver, const std::string& name) const {
    return folder_ + "/" + driver + "-" + name;
  }

 private:
  struct Volume {
    std::set<std::string> ids;
    bool mounted = false;
    int users = 0;
  };
  const std::string folder_;
  mutable std::mutex mu_;
  std::map<std::pair<std::string, std::string>, Volume> volumes_;
  std::map<std::string, int> calls_;
  std::vector<std::string> violations_;
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_TESTING_TMPFS_PLUGINS_H_
