// What must hold after every step, and what must hold once everything has been healed and all workloads are
// gone.
#ifndef DVDI_SIM_INVARIANTS_H_
#define DVDI_SIM_INVARIANTS_H_

#include <functional>
#include <string>
#include <vector>

#include "sim/state.h"

namespace dvdi::sim {

using Report = std::function<void(const std::string& what)>;

struct Invariant {
  const char* name;
  const char* promise;  // what it guards, by DESIGN's numbers where there is one
  void (*check)(const State& state, const Report& broken);
};

const std::vector<Invariant>& AlwaysTrue();
// Once faults are over and a live engine was left alone: what was begun is undone, whoever began it.
const std::vector<Invariant>& TrueOnceLeftAlone();
// Once all workloads are gone, each owner has had one recovery, and a live engine was left alone.
const std::vector<Invariant>& TrueOnceReleased();
// Once a recovery has swept besides.
const std::vector<Invariant>& TrueAtTheEnd();

// What is on a node that is not ours: put there at the start and at each boot.
void PlantStrangers(NodeState& node);

}  // namespace dvdi::sim

#endif  // DVDI_SIM_INVARIANTS_H_
