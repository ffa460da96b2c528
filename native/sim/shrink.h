// Makes a history that breaks a promise short: steps, kills and faults are left out while the same promise is
// broken.
#ifndef DVDI_SIM_SHRINK_H_
#define DVDI_SIM_SHRINK_H_

#include "sim/history.h"

namespace dvdi::sim {

// `runs`: so many histories are tried at most.
Plan Shrink(const Plan& plan, const Shared& shared, int runs);

}  // namespace dvdi::sim

#endif  // DVDI_SIM_SHRINK_H_
