// An instance of a blob: limits, host calls, and what a trap means.
#ifndef DVDI_POLICY_INSTANCE_H_
#define DVDI_POLICY_INSTANCE_H_

#include <string>
#include <string_view>

#include "policy/wasm_engine.h"

namespace dvdi {

struct RunningCall;

// A store with one instance in it. Not thread-safe, but a call may run on another thread than the one before.
class Instance {
 public:
  // All of these outlive it. `label` ("policy NAME VERSION") begins the messages.
  Instance(WasmEngine* engine, const wasmtime_instance_pre_t* pre, const PolicyLimits& limits,
           const std::string& label)
      : engine_(engine), pre_(pre), limits_(limits), label_(label) {}
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  // Calls an export, as PolicyInstance::Call says; the first call makes the instance. After one that failed
  // there must be no other. The calling thread is the one that host functions run on.
  Result<std::string> Call(const std::string& export_name, std::string_view input, const HostFunction& host,
                           CallStats* stats);
  // Of its memory, now.
  uint64_t memory_bytes() const;

 private:
  Status Start(RunningCall& call);
  Result<std::string> Run(RunningCall& call, std::string_view input);

  WasmEngine* engine_;
  const wasmtime_instance_pre_t* pre_;
  const PolicyLimits& limits_;
  const std::string& label_;
  StorePtr store_;
  wasmtime_instance_t instance_ = {};
  wasmtime_memory_t memory_ = {};
  wasmtime_func_t alloc_ = {};
};

// The host functions behind the imports, for the linker: module dvdi (`env` is the import's name, a
// std::string*) and env.abort. The store's data is the call that runs.
wasm_trap_t* HostCall(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args_and_result, size_t n);
wasm_trap_t* HostAbort(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* args, size_t n);

}  // namespace dvdi

#endif  // DVDI_POLICY_INSTANCE_H_
