// One node at a time: the leases of a volume are numbered files in its folder, each made whole by link(2)
// under a name that was not there. No flock or fcntl lock: those do not reach over every shared filesystem,
// and they are gone when their holder dies although its mount may live on.
//
//   lease.N      who took the volume as its Nth holder; never changed
//   released.N   that this one is done with it, and whether it unmounted it whole
//
// The highest N counts: the volume is in use until released.N is there. Whoever comes next makes lease.N+1,
// which exactly one node can do. Every name that a holder ever touches has its own number in it, so that a
// request of a node that was cut off and arrives late, after somebody else has taken the volume, changes
// nothing.
//
// A lease may be renewed (keeper.h); how long it lasts without is written in it.
#ifndef DVDI_DRIVER_LEASE_H_
#define DVDI_DRIVER_LEASE_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/status.h"
#include "sys/boot.h"

namespace dvdi {

// Who takes leases: one driver process on one node.
struct Holder {
  std::string node;
  Boot boot_id;
  std::string machine;  // a digest of the machine id, "" where unknown
  pid_t pid = 0;
  uint64_t start_time = 0;
  uint64_t pid_namespace = 0;  // in which it has that pid; 0 where unknown
  std::string lock;            // "MAJ:MIN INODE" of the mount root's lock, "" where it has none
  std::string session;         // the name under which the leases are renewed; "" where they are not
  int64_t lease_ms = 0;        // how long they last without a renewal; 0 is for ever
  // This process, without a lock and a session. kSystem where /proc cannot be read, or is not this process's.
  static Result<Holder> Self(const std::string& node);
};

struct Lease {
  Holder holder;
  uint64_t generation = 0;
  std::string since;        // RFC 3339
  bool fencing = false;     // taken from a node that may still write to the image (fence.h)
  bool taken_over = false;  // not stored: Acquire found it ours already
};

// What is known of a volume's past beside its lease.
struct Generation {
  uint64_t number = 0;  // of the last lease
  bool clean = true;    // whether that one was released after a whole unmount
  // Whether the volume was whole when `lease` was taken: nobody had it in between.
  bool CleanUntil(const Lease& lease) const { return clean && lease.generation == number + 1; }
};

// `volume` is for error texts; `dirfd` is the volume's folder; `path` is "POOL/NAME" for hints; `node` is who
// asks.
class LeaseFile {
 public:
  LeaseFile(int dirfd, std::string volume, std::string path, std::string node);

  // The lease, or nothing where the volume is free. kRefused, with what to do, where the file is
  // damaged: somebody holds it then.
  Result<std::optional<Lease>> Read() const;
  Result<Generation> ReadGeneration() const;

  // Takes the lease, or takes it over from an earlier process or boot of the same node. kRefused
  // names the node that has it, since when, and what to do.
  Result<Lease> Acquire(const Holder& self) const;
  // Whether `lease` is this node's and no other live process has it: what Acquire would take over.
  static bool OursToTake(const Lease& lease, const Holder& self);
  // Takes the number after `generation` for `self`, whoever has that one. The caller knows that its holder is
  // gone. kRefused where another node took it meanwhile.
  Result<Lease> TakeNext(uint64_t generation, const Holder& self, bool fencing = false) const;

  // Gives the lease back; `clean` says whether the filesystem was unmounted whole. kRefused, and
  // nothing is touched, where another one has the volume by now. OK where it is given back already.
  Status Release(const Lease& lease, bool clean) const;

 private:
  struct Numbers {  // what the folder's listing tells
    uint64_t last = 0;
    bool released = false;
  };
  Result<Numbers> List() const;
  Result<std::optional<Lease>> ReadNumber(uint64_t number) const;
  Result<bool> ReadClean(uint64_t number) const;
  Status Held(const Lease& lease, const Holder& self) const;
  void Sweep(uint64_t below) const;
  void Empty(uint64_t number) const;

  int dirfd_;
  std::string volume_, path_, node_;
};

// Whether `name` is of a lease: "lease.7", "released.7".
bool IsLeaseName(const std::string& name);

}  // namespace dvdi

#endif  // DVDI_DRIVER_LEASE_H_
