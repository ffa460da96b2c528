// `dvdi doctor`: what this node has, what it lacks, and how to get it.
#ifndef DVDI_CLI_DOCTOR_H_
#define DVDI_CLI_DOCTOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/options.h"

namespace dvdi::cli {

struct DoctorCheck {
  std::string name;
  bool ok = false;
  bool required = false;
  std::string found;  // what is there
  std::string fix;    // how to get it, where it is missing
};

// Kernel calls, rights and tools. Forks for what would change this process (call it while there is one
// thread); leaves nothing behind.
std::vector<DoctorCheck> CheckKernel();
std::vector<DoctorCheck> CheckRights();
std::vector<DoctorCheck> CheckTools();
// Owner, mode and filesystem of a state folder. That it does not exist yet is fine.
DoctorCheck CheckStateFolder(const std::string& folder);

// So few bytes are free that workloads with volumes may not start: less than what is set aside for cleanups,
// or, where that is not set aside (`reserve`), than it takes to do so.
bool IsFull(uint64_t free_bytes, bool reserve);

// All of it and the engine's own checks (sockets, plugins, ledger). 1 where something required is missing.
int Doctor(const Options& options);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_DOCTOR_H_
