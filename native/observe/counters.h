// Counters that all engines of a node share and that outlive their processes: a small file that each maps.
#ifndef DVDI_OBSERVE_COUNTERS_H_
#define DVDI_OBSERVE_COUNTERS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// Thread-safe. Adding takes no lock and makes no system call, and a process that is killed loses nothing.
class Counters {
 public:
  // Maps PATH (0600), made where it is missing, begun anew where it is not a file of counters of ours. Where
  // that cannot be (status() says why) this object counts for its process alone. A mapped file is written
  // without a way to report an error, so only filesystems on which an allocated block stays writable serve:
  // tmpfs, ext4, xfs.
  static std::unique_ptr<Counters> Open(const Env& env, const std::string& path);
  ~Counters();
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;

  // Adds to the series of that name, as `dvdi_operations_total{kind="prepare"}`. The number of series is
  // bounded; what no longer has room is counted by lost().
  void Add(std::string_view series, uint64_t n = 1);
  std::map<std::string, uint64_t> Read() const;
  uint64_t lost() const;
  const Status& status() const { return status_; }

 private:
  struct Slot;
  struct File;
  Counters() = default;
  Status Map(const Env& env, const std::string& path);

  File* file_ = nullptr;       // mapped, or
  std::unique_ptr<File> own_;  // what counts for this process alone
  Status status_;
};

}  // namespace dvdi

#endif  // DVDI_OBSERVE_COUNTERS_H_
