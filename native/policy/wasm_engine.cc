#include "policy/wasm_engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

#include "base/text.h"
#include "policy/instance.h"

namespace dvdi {
namespace {

constexpr uint64_t kPage = 65'536;
constexpr uint64_t kGuardBytes = 64 * 1024;
// Cleared by writing instead of by giving the pages back: what a decision touches, and some more.
constexpr size_t kKeepResidentBytes = 512 * 1024;
// Of idle slots, these keep their pages: at most kWarmSlots * kKeepResidentBytes stay resident.
constexpr uint32_t kWarmSlots = 8;

uint64_t RoundUp(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// Whether so much address space can be had (RLIMIT_AS, a crowded process). wasmtime ends the process where
// its own reservation fails.
bool CanReserve(uint64_t bytes) {
  void* p = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return false;
  ::munmap(p, bytes);
  return true;
}

wasm_functype_t* FunctionType(int params, bool has_result) {
  wasm_valtype_t* types[4];
  for (int i = 0; i < params; ++i) types[i] = wasm_valtype_new(WASM_I32);
  wasm_valtype_vec_t in, out;
  wasm_valtype_vec_new(&in, static_cast<size_t>(params), types);
  if (has_result) {
    wasm_valtype_t* result = wasm_valtype_new(WASM_I64);
    wasm_valtype_vec_new(&out, 1, &result);
  } else {
    wasm_valtype_vec_new_empty(&out);
  }
  return wasm_functype_new(&in, &out);
}

wasm_config_t* NewConfig(const PolicyLimits& limits, WasmEngine::Kind kind) {
  wasm_config_t* config = wasm_config_new();
  // The process may have handlers for SIGSEGV and SIGFPE of its own: every check is in the code instead.
  wasmtime_config_signals_based_traps_set(config, false);
  // Unwind tables would be registered with the process's unwinder, under a lock of the process.
  wasmtime_config_native_unwind_info_set(config, false);
  wasmtime_config_consume_fuel_set(config, true);
  wasmtime_config_max_wasm_stack_set(config, limits.stack_bytes);
  if (kind == WasmEngine::Kind::kQuick) {
    wasmtime_config_cranelift_opt_level_set(config, WASMTIME_OPT_LEVEL_NONE);
    wasmtime_config_cranelift_regalloc_algorithm_set(config, WASMTIME_REGALLOC_SINGLE_PASS);
  } else {
    wasmtime_config_cranelift_opt_level_set(config, WASMTIME_OPT_LEVEL_SPEED);
  }
  // Deterministic: a decision can be replayed on another machine.
  wasmtime_config_cranelift_nan_canonicalization_set(config, true);
  wasmtime_config_wasm_relaxed_simd_set(config, false);
  wasmtime_config_wasm_simd_set(config, false);
  wasmtime_config_wasm_tail_call_set(config, false);
  wasmtime_config_wasm_multi_memory_set(config, false);
  wasmtime_config_wasm_memory64_set(config, false);
  wasmtime_config_wasm_custom_page_sizes_set(config, false);
  wasmtime_config_wasm_wide_arithmetic_set(config, false);
  wasmtime_config_wasm_stack_switching_set(config, false);
  wasmtime_config_shared_memory_set(config, false);
  // The pool wants a reservation at least as large as its largest memory.
  const uint64_t memory = RoundUp(limits.memory_bytes);
  wasmtime_config_memory_reservation_set(config, memory);
  wasmtime_config_memory_reservation_for_growth_set(config, 0);
  // No memory may be larger than its reservation, so none moves, and its base is loaded less often.
  wasmtime_config_memory_may_move_set(config, false);
  wasmtime_config_memory_guard_size_set(config, kGuardBytes);
  if (kind == WasmEngine::Kind::kPool) {
    auto* pool = wasmtime_pooling_allocation_config_new();
    wasmtime_pooling_allocation_config_total_core_instances_set(pool, WasmEngine::kPoolSlots);
    wasmtime_pooling_allocation_config_total_memories_set(pool, WasmEngine::kPoolSlots);
    wasmtime_pooling_allocation_config_total_tables_set(pool, WasmEngine::kPoolSlots);
    wasmtime_pooling_allocation_config_table_elements_set(pool, 10'000);
    wasmtime_pooling_allocation_config_max_memory_size_set(pool, memory);
    wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, kWarmSlots);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(
        pool, std::min<uint64_t>(kKeepResidentBytes, memory));
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, 16 * 1024);
    wasmtime_pooling_allocation_strategy_set(config, pool);
    wasmtime_pooling_allocation_config_delete(pool);
  }
  return config;
}

}  // namespace

std::string ErrorText(const wasmtime_error_t* error) {
  wasm_name_t name;
  wasmtime_error_message(error, &name);
  std::string text = OneLine(std::string_view(name.data, name.size), 300);
  wasm_byte_vec_delete(&name);
  return text;
}

Status CheckLimits(const PolicyLimits& limits) {
  struct Range {
    const char* name;
    uint64_t value, min, max;
  };
  const Range ranges[] = {
      {"fuel", limits.fuel, 1'000, uint64_t{1} << 60},
      {"memory_bytes", limits.memory_bytes, kPage, uint64_t{4} << 30},
      {"stack_bytes", limits.stack_bytes, 32 << 10, 1 << 20},
      {"blob_bytes", limits.blob_bytes, 1 << 10, 64 << 20},
      {"host_calls", limits.host_calls, 1, 1'000'000'000},
      {"host_bytes", limits.host_bytes, 1, uint64_t{1} << 40},
      {"reply_bytes", limits.reply_bytes, 1, uint64_t{1} << 31},
      {"input_bytes", limits.input_bytes, 1, uint64_t{1} << 31},
  };
  for (const Range& r : ranges)
    if (r.value < r.min || r.value > r.max)
      return Status(Code::kInvalid, std::string("limits.") + r.name + " is " + std::to_string(r.value) +
                                        "; accepted are " + std::to_string(r.min) + " to " +
                                        std::to_string(r.max));
  return Status();
}

std::string CompilationSettings(const PolicyLimits& limits) {
  return "fuel no-signals fixed reservation=" + std::to_string(RoundUp(limits.memory_bytes)) +
         " guard=" + std::to_string(kGuardBytes);
}

WasmEngine::WasmEngine(const PolicyLimits& limits, Kind kind) : pooled_(kind == Kind::kPool) {
  engine_ = wasm_engine_new_with_config(NewConfig(limits, kind));
  linker_ = wasmtime_linker_new(engine_);
  wasm_functype_t* call = FunctionType(2, true);
  wasm_functype_t* abort = FunctionType(4, false);
  // Defining a function fails only for a name that is defined already; a blob that needs it would not load.
  for (const std::string& name : OfferedImports()) {
    ErrorPtr error(wasmtime_linker_define_func_unchecked(linker_, "dvdi", 4, name.data(), name.size(), call,
                                                         &HostCall, const_cast<std::string*>(&name),
                                                         nullptr));
  }
  ErrorPtr error(wasmtime_linker_define_func_unchecked(linker_, "env", 3, "abort", 5, abort, &HostAbort,
                                                       nullptr, nullptr));
  wasm_functype_delete(call);
  wasm_functype_delete(abort);
}

WasmEngine* WasmEngine::Get(const PolicyLimits& limits, Kind kind) {
  using Key = std::tuple<uint64_t, uint64_t, Kind>;
  static std::mutex mutex;
  static auto* engines = new std::map<Key, WasmEngine*>;
  std::lock_guard<std::mutex> lock(mutex);
  const Key key(limits.stack_bytes, RoundUp(limits.memory_bytes), kind);
  auto it = engines->find(key);
  if (it != engines->end()) return it->second;
  WasmEngine* engine = nullptr;
  // Memories, tables (10,000 elements of 16 bytes each), and as much again for what else is mapped.
  if (kind != Kind::kPool ||
      CanReserve(kPoolSlots * (RoundUp(limits.memory_bytes) + kGuardBytes + 320'000) + (64 << 20)))
    engine = new WasmEngine(limits, kind);
  return engines->emplace(key, engine).first->second;
}

bool WasmEngine::HasRoom(const PolicyLimits& limits) {
  return CanReserve(RoundUp(limits.memory_bytes) + 2 * kGuardBytes);
}

WasmEngine* WasmEngine::Pool(const PolicyLimits& limits) { return Get(limits, Kind::kPool); }
WasmEngine* WasmEngine::Reserve(const PolicyLimits& limits) { return Get(limits, Kind::kReserve); }
WasmEngine* WasmEngine::Quick(const PolicyLimits& limits) { return Get(limits, Kind::kQuick); }

bool WasmEngine::Take(std::atomic<int>* count, int most) {
  if (count->fetch_add(1, std::memory_order_acq_rel) < most) return true;
  count->fetch_sub(1, std::memory_order_acq_rel);
  return false;
}

bool WasmEngine::Acquire() { return !pooled_ || Take(&in_use_, kPoolSlots); }
bool WasmEngine::BeginIdle() { return pooled_ && Take(&idle_, kIdleInstances); }
void WasmEngine::EndIdle() { idle_.fetch_sub(1, std::memory_order_acq_rel); }

void WasmEngine::Release() {
  if (pooled_) in_use_.fetch_sub(1, std::memory_order_acq_rel);
}

}  // namespace dvdi
