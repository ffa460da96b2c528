// One call of an export in a fresh instance: limits, host calls, and what a trap means.
#ifndef DVDI_POLICY_INSTANCE_H_
#define DVDI_POLICY_INSTANCE_H_

#include <string>
#include <string_view>

#include "policy/wasm_engine.h"

namespace dvdi {

// Runs one export and throws the instance away. `label` ("policy NAME VERSION") begins the messages. As
// PolicyModule::Call says otherwise. The calling thread is the one that host functions run on.
Result<std::string> RunInstance(WasmEngine* engine, const wasmtime_instance_pre_t* pre,
                                const PolicyLimits& limits, const std::string& label,
                                const std::string& export_name, std::string_view input,
                                const HostFunction& host, CallStats* stats);

// The host functions behind the imports, for the linker: module dvdi (`env` is the import's name, a
// std::string*) and env.abort. The store's data is the call that runs.
wasm_trap_t* HostCall(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args_and_result, size_t n);
wasm_trap_t* HostAbort(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t n);

}  // namespace dvdi

#endif  // DVDI_POLICY_INSTANCE_H_
