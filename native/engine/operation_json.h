// The part of an operation that files about it hold, and what is kept beside its answer.
#ifndef DVDI_ENGINE_OPERATION_JSON_H_
#define DVDI_ENGINE_OPERATION_JSON_H_

#include "base/json.h"
#include "ledger/rows.h"

namespace dvdi {

// In OperationRow::answer, and not given out: the number of the mount namespace in which its stages were
// made.
inline constexpr const char* kMadeIn = "mount_namespace";

Json OperationToJson(const OperationRow& operation);
OperationRow OperationFromJson(const Json& json);

}  // namespace dvdi

#endif  // DVDI_ENGINE_OPERATION_JSON_H_
