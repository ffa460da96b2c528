// Keeps the leases of one driver alive in one pool, and knows when they are about to end.
//
// All leases that a driver takes in a pool name one *session*, a file POOL/.sessions/NODE.HEX with a counter
// in it. The driver replaces it by rename(2) several times within the lease time, so that a renewal costs one
// write however many volumes there are. Another node may take a volume when it has seen the counter stand
// still for the whole lease time and a margin, by its own clock: no clocks of two nodes are ever compared.
//
// A lease counts from the *begin* of the last renewal that succeeded. Where none succeeds, the session ends a
// margin before the lease does: the keeper says which volumes have to be let go of, at once, and goes on with
// a new session for leases that are taken later. A session that has ended never comes back.
#ifndef DVDI_DRIVER_KEEPER_H_
#define DVDI_DRIVER_KEEPER_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// "NODE.HEX", as it stands in a lease.
bool IsSessionName(const std::string& name);

// Time by a clock that also runs while the machine sleeps (CLOCK_BOOTTIME).
int64_t BootMs();

struct KeeperOptions {
  std::string pool;  // its path, for messages
  // The pool's folder; the keeper has a descriptor of its own. Not by its path: what is mounted there later
  // is another folder than the one that the images and leases are in.
  int folder = -1;
  std::string node;
  int64_t lease_ms = 0;  // 0: leases last for ever, nothing is renewed, the functions below do nothing
  // Called after the keeper's end too, by a thread that is left behind.
  std::function<int64_t()> now = BootMs;
  // The leases of these volumes end, or are lost: called on a thread that never touches the pool. What it
  // does must not wait for the pool either.
  std::function<void(const std::vector<std::string>& volumes, const std::string& why)> lost;
};

// Thread-safe.
class LeaseKeeper {
 public:
  // Makes the first session and starts the threads. Fails where the pool cannot be written to. One thread
  // renews (and looks, after each renewal, whether another node has taken a volume all the same); the other
  // never touches the pool.
  static Result<std::unique_ptr<LeaseKeeper>> Start(KeeperOptions options);
  // Ends the threads; one that hangs in a dead pool is left behind, with what it needs.
  ~LeaseKeeper();

  // The session to take a lease under. kUnavailable where the pool cannot be reached in time.
  Result<std::string> Session() const;
  int64_t lease_ms() const { return options_.lease_ms; }

  // From now on the volume is one of those that `lost` names; its lease is of `session`.
  void Guard(const std::string& volume, const std::string& session, uint64_t generation);
  void Unguard(const std::string& volume);
  // Whether the volume's lease still lasts (true where leases are not renewed).
  bool Holds(const std::string& volume) const;

  // How long before its end a lease is given up, and how much longer than it another node waits.
  static int64_t Margin(int64_t lease_ms);

 private:
  struct Shared;
  LeaseKeeper(KeeperOptions options, std::shared_ptr<Shared> shared)
      : options_(std::move(options)), shared_(std::move(shared)) {}
  static void Renew(std::shared_ptr<Shared> s);
  static void Watch(std::shared_ptr<Shared> s);

  const KeeperOptions options_;
  const std::shared_ptr<Shared> shared_;
};

// The text of a session's file, read under a name that was never used, so that no cache of names or of
// content (NFS, FUSE) stands between. "" where there is none. `pool`: its folder.
Result<std::string> ReadSession(int pool, const std::string& session, const std::string& node);

// Removes sessions of `node` that none of `in_use` is. For a driver that starts.
void SweepSessions(int pool, const std::string& node, const std::vector<std::string>& in_use);

}  // namespace dvdi

#endif  // DVDI_DRIVER_KEEPER_H_
