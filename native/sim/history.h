// One seed's history: workloads come and go, plugins fail, engines are killed, nodes reboot; at the end all
// is healed, and what must hold is checked.
#ifndef DVDI_SIM_HISTORY_H_
#define DVDI_SIM_HISTORY_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dvdi::sim {

struct HistoryOptions {
  uint64_t seed = 0;
  int steps = 40;
  std::string folder;   // empty, removed by the caller
  std::string volumes;  // where the plugins' mountpoints are: not in a system folder; removed by the caller
  std::string policy_dir;  // shared by histories, so that the blob is compiled once
};

struct HistoryResult {
  std::vector<std::string> violations;  // empty: all promises were kept
  std::vector<std::string> transcript;  // what happened, one line each; the same for the same seed
  int prepared = 0, refused = 0, crashes = 0, reboots = 0;
};

HistoryResult RunHistory(const HistoryOptions& options);

}  // namespace dvdi::sim

#endif  // DVDI_SIM_HISTORY_H_
