#include <algorithm>

#include "sanity/check.h"

namespace dvdi::sanity {

std::vector<Check> AllChecks() {
  std::vector<Check> all;
  for (auto group :
       {ProtocolChecks, TransportChecks, VolumeChecks, MountChecks, NameChecks, LoadChecks, RestartChecks})
    for (Check& check : group()) all.push_back(std::move(check));
  std::stable_partition(all.begin(), all.end(), [](const Check& check) { return !check.last; });
  return all;
}

}  // namespace dvdi::sanity
