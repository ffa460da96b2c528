// One seed's history: workloads come and go on two nodes, plugins fail, engines are killed, nodes reboot and
// lose power; at the end all is healed. What must hold is checked after every step.
#ifndef DVDI_SIM_HISTORY_H_
#define DVDI_SIM_HISTORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policy/runtime.h"
#include "sim/plan.h"

namespace dvdi::sim {

// What histories of one process share: compiled policies.
class Shared {
 public:
  // `second_policy`: another blob to swap in; "": the stock one, built a second time (with another version).
  // `compiled`: a folder of root's for compiled policies, which several processes may share; "": one of its
  // own.
  Shared(const std::string& second_policy, const std::string& compiled = "");
  ~Shared();
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  std::string stock, second;
  std::string second_name, second_version, second_sha256;
  // Whether that one does what no sane policy does (native/sim/wild), and so whatever else it likes.
  bool wild() const { return second_name == "wild"; }
  std::shared_ptr<PolicyRuntime> runtime;

 private:
  std::string folder_;  // its own, gone with it
  std::vector<std::shared_ptr<const PolicyModule>> kept_;
};

struct Violation {
  std::string invariant, what, after;  // after: the step
};

struct HistoryResult {
  std::vector<Violation> violations;    // empty: all promises were kept
  std::vector<std::string> transcript;  // what happened, one line each, where it was asked for
  uint64_t digest = 0;                  // of all lines and of all that is on the disks at the end
  int64_t operations = 0, prepared = 0, refused = 0, kills = 0,
          kills_within = 0,  // at a change that an open engine makes
      kills_opening = 0,     // at one of an engine that opens
      reboots = 0, power_losses = 0, swaps = 0,
          ledgers_harmed = 0,  // of engines that had them open
      disk_errors = 0,         // writes and fsyncs that failed
      looks_failed = 0,        // at mountinfo
      files_unseen = 0,        // looks at files of the state folder that failed
      unmount_errors = 0, threads_refused = 0,
          pids_again = 0,  // of processes that have ended
      plugin_calls = 0, switches = 0;
};

// Ends at the first step after which something is broken.
HistoryResult RunHistory(const Plan& plan, const Shared& shared, bool keep_transcript);

}  // namespace dvdi::sim

#endif  // DVDI_SIM_HISTORY_H_
