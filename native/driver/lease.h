// One node at a time: the lease of a volume is a file in the volume's folder, made whole by link(2)
// where none is. No flock or fcntl lock: those do not reach over every shared filesystem, and they are gone
// when their holder dies although its mount may live on.
//
// The generation of a lease is a number that only rises, also over releases: the file `generation`
// keeps the last one. Nothing is attached before both files are durable.
#ifndef DVDI_DRIVER_LEASE_H_
#define DVDI_DRIVER_LEASE_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"

namespace dvdi {

// Who takes leases: one driver process on one node.
struct Holder {
  std::string node;
  std::string boot_id;
  std::string machine;  // a digest of the machine id, "" where unknown
  pid_t pid = 0;
  uint64_t start_time = 0;
  // This process. kSystem where /proc cannot be read.
  static Result<Holder> Self(const std::string& node);
};

struct Lease {
  Holder holder;
  uint64_t generation = 0;
  std::string since;        // RFC 3339
  bool taken_over = false;  // not stored: Acquire found it ours already
};

// What is known of a volume's past beside its lease.
struct Generation {
  uint64_t number = 0;  // of the last lease that may have attached the image
  bool clean = true;    // whether that one was released after a whole unmount
};

// `volume` is for error texts; `dirfd` is the volume's folder; `pool_path` is "POOL/NAME" for hints.
class LeaseFile {
 public:
  LeaseFile(int dirfd, std::string volume, std::string path);

  // The lease, or nothing where the volume is free. kRefused, with what to do, where the file is
  // damaged: somebody holds it then.
  Result<std::optional<Lease>> Read() const;
  Result<Generation> ReadGeneration() const;

  // Takes the lease, or takes it over from an earlier process or boot of the same node. kRefused
  // names the node that has it, since when, and what to do.
  Result<Lease> Acquire(const Holder& self) const;
  // Whether `lease` is this node's and no other live process has it: what Acquire would take over.
  static bool OursToTake(const Lease& lease, const Holder& self);
  // Writes this process into a lease of this node and boot whose mount was taken over.
  Status Refresh(const Lease& lease, const Holder& self) const;

  // Gives the lease back; `clean` says whether the filesystem was unmounted whole. kRefused, and
  // nothing is touched, where the lease has become another's. OK where there is none.
  Status Release(const Lease& lease, bool clean) const;

 private:
  Result<Lease> TakeOver(const Lease& old, const Holder& self) const;
  Status WriteGeneration(const Generation& generation, const std::string& node) const;
  Status Held(const Lease& lease, const Holder& self) const;

  const int dirfd_;
  const std::string volume_, path_;
};

}  // namespace dvdi

#endif  // DVDI_DRIVER_LEASE_H_
