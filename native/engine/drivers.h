// What there is to get volumes from: the plugins of this node, the operator's pools.
#ifndef DVDI_ENGINE_DRIVERS_H_
#define DVDI_ENGINE_DRIVERS_H_

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "engine/core.h"

namespace dvdi {

// What operators want to know of drivers: PluginClient::Run, in which those that the operator does not allow
// are not called (promise 9) and answer kUnknown, reason "not-allowed".
std::vector<Answer> AskDrivers(Core& core, const std::vector<Call>& calls);
Answer AskDriver(Core& core, const Call& call);
// What an answer that is not kOk is as an error.
Code CodeOfAnswer(const Answer& answer);

// One entry for each plugin that discovery finds (docs/cli.md, `plugins`). `ask`: each is called, all side by
// side, with 2 s each, if the operator allows it.
Json DescribeDrivers(Core& core, bool ask);

// {"pools": those of the policy's settings, "tiers": what drivers answered that have tiers} (docs/cli.md,
// `pools`). `driver`: that one alone, whose failure is an error then.
Result<Json> DescribePools(Core& core, const std::string& driver);

// {"volumes": [{"name", "mountpoint"?}]}: what the driver itself lists.
Result<Json> ListOfDriver(Core& core, const std::string& driver, int64_t timeout_ms);

}  // namespace dvdi

#endif  // DVDI_ENGINE_DRIVERS_H_
