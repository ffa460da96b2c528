// The process's wasmtime engines, and what wasmtime's C objects need around them. Only native/policy/ uses
// this.
#ifndef DVDI_POLICY_WASM_ENGINE_H_
#define DVDI_POLICY_WASM_ENGINE_H_

#include <wasm.h>
#include <wasmtime.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "policy/runtime.h"

namespace dvdi {

// Owned C objects.
template <auto Delete>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Delete(p);
  }
};
using ModulePtr = std::unique_ptr<wasmtime_module_t, Deleter<wasmtime_module_delete>>;
using InstancePrePtr = std::unique_ptr<wasmtime_instance_pre_t, Deleter<wasmtime_instance_pre_delete>>;
using StorePtr = std::unique_ptr<wasmtime_store_t, Deleter<wasmtime_store_delete>>;
using ErrorPtr = std::unique_ptr<wasmtime_error_t, Deleter<wasmtime_error_delete>>;
using TrapPtr = std::unique_ptr<wasm_trap_t, Deleter<wasm_trap_delete>>;

// The error's text as one line.
std::string ErrorText(const wasmtime_error_t* error);

// Limits that are wasmtime's own settings, checked before they reach it: a configuration that it cannot take
// ends the process. kInvalid, naming the setting and its range.
Status CheckLimits(const PolicyLimits& limits);

// One wasmtime engine with the host functions of ABI 1 defined in its linker. Two kinds exist for each pair
// of stack and memory limits (one pair in a real process; tests use more):
//  - the pool keeps the memories of past instances mapped and clears them by writing zeroes. An instance then
//    costs a microsecond and no page faults, which are most of the cost otherwise;
//  - the reserve maps memory anew for each instance. It serves while every slot of the pool is taken (each
//    operation that waits for a driver holds one), and where the address space for the pool cannot be had.
// A third one has no instances. It compiles in a half of the time, with neither optimization nor a thorough
// choice of registers, what the two others run then: no setting by which wasmtime tells forms apart differs.
// Never destroyed: code of a module may run until the process ends. Thread-safe.
class WasmEngine {
 public:
  enum class Kind { kPool, kReserve, kQuick };
  static constexpr int kPoolSlots = 128;
  // So many instances may wait between two calls of their operations, with so much memory each.
  static constexpr int kIdleInstances = 16;
  static constexpr uint64_t kIdleBytes = 1u << 20;

  // Null where there is no pool. `limits` passed CheckLimits.
  static WasmEngine* Pool(const PolicyLimits& limits);
  static WasmEngine* Reserve(const PolicyLimits& limits);
  static WasmEngine* Quick(const PolicyLimits& limits);

  // Whether there is address space for the memory of one more instance outside of the pool.
  static bool HasRoom(const PolicyLimits& limits);

  wasm_engine_t* get() const { return engine_; }
  const wasmtime_linker_t* linker() const { return linker_; }
  // Takes a slot: false where all are taken. Always true for the reserve.
  bool Acquire();
  void Release();
  // An instance is to wait for its next call: false where it must go instead. Always false for the reserve.
  bool BeginIdle();
  void EndIdle();

 private:
  WasmEngine(const PolicyLimits& limits, Kind kind);
  static bool Take(std::atomic<int>* count, int most);
  static WasmEngine* Get(const PolicyLimits& limits, Kind kind);

  wasm_engine_t* engine_ = nullptr;
  wasmtime_linker_t* linker_ = nullptr;
  const bool pooled_;
  std::atomic<int> in_use_{0}, idle_{0};
};

// What changes the compiled form, as text (for the key of the cache).
std::string CompilationSettings(const PolicyLimits& limits);

}  // namespace dvdi

#endif  // DVDI_POLICY_WASM_ENGINE_H_
