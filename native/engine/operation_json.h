// The part of an operation that files about it hold.
#ifndef DVDI_ENGINE_OPERATION_JSON_H_
#define DVDI_ENGINE_OPERATION_JSON_H_

#include "base/json.h"
#include "ledger/rows.h"

namespace dvdi {

Json OperationToJson(const OperationRow& operation);
OperationRow OperationFromJson(const Json& json);

}  // namespace dvdi

#endif  // DVDI_ENGINE_OPERATION_JSON_H_
