#include "policy/instance.h"

#include <pthread.h>

#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/text.h"

namespace dvdi {
namespace {

#ifdef __SANITIZE_THREAD__
// The sanitizer does not see wasmtime's own locks: it takes a slot of the pool that passes from one thread to
// another for a race. Held where slots are taken and given back, in such builds only.
std::mutex& PoolOrder() {
  static auto* mutex = new std::mutex;
  return *mutex;
}
using PoolLock = std::lock_guard<std::mutex>;
#else
struct PoolOrder {};
struct PoolLock {
  explicit PoolLock(const PoolOrder&) {}
};
#endif

}  // namespace

// What one call carries; reached from host functions through the store's data.
struct RunningCall {
  const PolicyLimits& limits;
  const std::string& label;
  const std::string& export_name;
  const HostFunction& host;
  wasmtime_memory_t memory = {};
  wasmtime_func_t alloc = {};
  uint64_t host_calls = 0;
  uint64_t host_bytes = 0;
  bool in_alloc = false;
  // Why a host function ended the operation. Set before it returns its trap, so that the trap itself says
  // nothing.
  Status failure;

  Status Fail(const std::string& why, std::string hint = "") const {
    return Status(Code::kPolicy, label + ": " + export_name + " " + why, std::move(hint));
  }
};

namespace {

// Bytes of stack beneath this frame, or -1 where the thread's stack is not the one that we run on.
int64_t StackLeft() {
  struct Bounds {
    char* low = nullptr;
    size_t size = 0;
  };
  thread_local const Bounds bounds = [] {
    Bounds b;
    pthread_attr_t attr;
    if (::pthread_getattr_np(::pthread_self(), &attr) != 0) return b;
    void* low = nullptr;
    if (::pthread_attr_getstack(&attr, &low, &b.size) == 0) b.low = static_cast<char*>(low);
    ::pthread_attr_destroy(&attr);
    return b;
  }();
  char* here = static_cast<char*>(__builtin_frame_address(0));
  if (bounds.low == nullptr || here < bounds.low || here >= bounds.low + bounds.size) return -1;
  return here - bounds.low;
}

std::string Mebibytes(uint64_t bytes) {
  if (bytes % (1 << 20) == 0) return std::to_string(bytes >> 20) + " MiB";
  return std::to_string(bytes >> 10) + " KiB";
}

// The function in which a trap happened: its name where the blob has names, else its index and place.
std::string Where(const wasm_frame_vec_t& frames) {
  if (frames.size == 0) return "";
  const wasm_frame_t* frame = frames.data[0];
  std::string where = " in ";
  const wasm_name_t* name = wasmtime_frame_func_name(frame);
  if (name != nullptr && name->size > 0)
    where += OneLine(std::string_view(name->data, name->size), 100);
  else
    where += "function " + std::to_string(wasm_frame_func_index(frame));
  const size_t offset = wasm_frame_module_offset(frame);
  if (offset != SIZE_MAX) where += " (byte " + std::to_string(offset) + " of the blob)";
  return where;
}

const char* TrapName(wasmtime_trap_code_t code) {
  switch (code) {
    case WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS: return "out-of-bounds memory access";
    case WASMTIME_TRAP_CODE_HEAP_MISALIGNED: return "misaligned memory access";
    case WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS: return "out-of-bounds table access";
    case WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL: return "call of a missing function";
    case WASMTIME_TRAP_CODE_BAD_SIGNATURE: return "indirect call of a function of another type";
    case WASMTIME_TRAP_CODE_INTEGER_OVERFLOW: return "integer overflow";
    case WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO: return "integer division by zero";
    case WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER: return "conversion of a number that is no integer";
    case WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED: return "unreachable code was reached";
    case WASMTIME_TRAP_CODE_NULL_REFERENCE: return "use of a null reference";
    default: return "trap";
  }
}

// What ended a call, where no host function said so. Exactly one of `error` and `trap` is set; `what` is the
// function that was called; `asked` the bytes that it was asked to allocate. Memory is read from the store,
// which is still there.
Status Ended(const RunningCall& call, wasmtime_context_t* context, const wasmtime_error_t* error,
             const wasm_trap_t* trap, const std::string& what, uint64_t asked = 0) {
  if (!call.failure.ok()) return call.failure;
  const std::string suffix = what == call.export_name ? "" : " (called for " + call.export_name + ")";
  auto fail = [&](const std::string& why, std::string hint = "") {
    return Status(Code::kPolicy, call.label + ": " + what + " " + why + suffix, std::move(hint));
  };
  wasm_frame_vec_t frames;
  if (trap != nullptr)
    wasm_trap_trace(trap, &frames);
  else
    wasmtime_error_wasm_trace(error, &frames);
  const std::string where = Where(frames);
  wasm_frame_vec_delete(&frames);
  if (trap == nullptr) return fail("failed" + where + ": " + ErrorText(error));
  wasmtime_trap_code_t code = 0xFF;
  if (!wasmtime_trap_code(trap, &code)) code = 0xFF;
  if (code == WASMTIME_TRAP_CODE_OUT_OF_FUEL)
    return fail("ran out of fuel (" + std::to_string(call.limits.fuel) + " units)" + where,
                "the policy loops, or limits.fuel is too small for this input");
  if (code == WASMTIME_TRAP_CODE_STACK_OVERFLOW)
    return fail("overflowed its stack (" + Mebibytes(call.limits.stack_bytes) + ")" + where,
                "the policy recurses without end, or limits.stack_bytes is too small");
  if (code == WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED && call.memory.store_id != 0) {
    // wasmtime only answers -1 to memory.grow; the language's allocator then gives up here. It grows by
    // doubling.
    const uint64_t used = wasmtime_memory_data_size(context, &call.memory);
    if (used > call.limits.memory_bytes / 2 || used + asked > call.limits.memory_bytes)
      return fail("ran out of memory (" + Mebibytes(used) + " in use, limit " +
                      Mebibytes(call.limits.memory_bytes) + ")" + where,
                  "the policy leaks, or limits.memory_bytes is too small for this input");
  }
  return fail("trapped: " + std::string(TrapName(code)) + where);
}

// A trap that only unwinds; `call.failure` says why.
wasm_trap_t* Unwind() { return wasmtime_trap_new("ended by the host", 17); }

// The bytes [ptr, ptr + len) of the instance's memory; false where they are not all inside.
bool InMemory(wasmtime_context_t* context, const RunningCall& call, uint32_t ptr, uint32_t len,
              uint8_t** data) {
  const uint64_t size = wasmtime_memory_data_size(context, &call.memory);
  if (uint64_t{ptr} + len > size) return false;
  *data = wasmtime_memory_data(context, &call.memory) + ptr;
  return true;
}

// Puts `text` into memory that the instance's dvdi_alloc gave. `purpose` is for messages.
Status Put(wasmtime_context_t* context, RunningCall& call, std::string_view text, uint32_t* ptr) {
  wasmtime_val_raw_t raw = {};  // the argument, then the result; types were checked when the blob was loaded
  raw.i32 = static_cast<int32_t>(static_cast<uint32_t>(text.size()));
  wasm_trap_t* raw_trap = nullptr;
  call.in_alloc = true;
  ErrorPtr error(wasmtime_func_call_unchecked(context, &call.alloc, &raw, 1, &raw_trap));
  call.in_alloc = false;
  TrapPtr trap(raw_trap);
  if (error || trap) return Ended(call, context, error.get(), trap.get(), "dvdi_alloc", text.size());
  *ptr = static_cast<uint32_t>(raw.i32);
  uint8_t* data = nullptr;  // after the call: the memory may have grown, and moved
  if (!InMemory(context, call, *ptr, static_cast<uint32_t>(text.size()), &data))
    return call.Fail("was given a bad pointer by dvdi_alloc: " + std::to_string(text.size()) + " bytes at " +
                     std::to_string(*ptr) + " are outside of its memory of " +
                     std::to_string(wasmtime_memory_data_size(context, &call.memory)) + " bytes");
  if (!text.empty()) std::memcpy(data, text.data(), text.size());
  return Status();
}

Status DoHostCall(wasmtime_context_t* context, RunningCall& call, const std::string& name, uint32_t ptr,
                  uint32_t len, uint64_t* packed) {
  if (call.in_alloc) return call.Fail("called " + name + " out of dvdi_alloc, which may only allocate");
  const PolicyLimits& limits = call.limits;
  if (++call.host_calls > limits.host_calls)
    return call.Fail("made more than " + std::to_string(limits.host_calls) + " host calls",
                     "the policy loops, or limits.host_calls is too small");
  auto flood = [&] {
    return call.Fail("moved more than " + std::to_string(limits.host_bytes) + " bytes by host calls",
                     "the policy loops, or limits.host_bytes is too small");
  };
  uint8_t* data = nullptr;
  if (!InMemory(context, call, ptr, len, &data))
    return call.Fail("called " + name + " with a bad pointer: " + std::to_string(len) + " bytes at " +
                     std::to_string(ptr) + " are outside of its memory");
  call.host_bytes += len;
  if (call.host_bytes > limits.host_bytes) return flood();
  std::string_view request(reinterpret_cast<const char*>(data), len);
  if (!IsValidUtf8(request)) return call.Fail("called " + name + " with a request that is not UTF-8");
  // No Wasm runs meanwhile, so the request stays where it is.
  Result<std::string> answer = call.host(name, request);
  if (!answer.ok()) return answer.status();
  call.host_bytes += answer->size();
  if (call.host_bytes > limits.host_bytes) return flood();
  if (!IsValidUtf8(*answer))
    return Status(Code::kInternal, "the engine's answer to " + name + " is not UTF-8");
  uint32_t at = 0;
  DVDI_RETURN_IF_ERROR(Put(context, call, *answer, &at));
  *packed = uint64_t{at} << 32 | answer->size();
  return Status();
}

// A text of AssemblyScript: UTF-16 at `ptr`, its byte length in the four bytes before.
std::string LanguageString(wasmtime_context_t* context, const RunningCall& call, uint32_t ptr) {
  uint8_t* data = nullptr;
  uint32_t len = 0;
  if (ptr < 4 || !InMemory(context, call, ptr - 4, 4, &data)) return "";
  std::memcpy(&len, data, 4);
  if (!InMemory(context, call, ptr, len, &data)) return "";
  std::string out;
  for (uint32_t i = 0; i + 1 < len && out.size() < 1'000; i += 2) {
    uint32_t c = data[i] | uint32_t{data[i + 1]} << 8;
    if (c >= 0xD800 && c < 0xDC00 && i + 3 < len) {
      const uint32_t low = data[i + 2] | uint32_t{data[i + 3]} << 8;
      if (low >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        i += 2;
      }
    }
    if (c >= 0xD800 && c < 0xE000) c = '?';
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
      out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
      out += static_cast<char>(0x80 | (c & 0x3F));
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
      out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
      out += static_cast<char>(0x80 | (c & 0x3F));
    }
  }
  return OneLine(out, 300);
}

bool Export(wasmtime_context_t* context, const wasmtime_instance_t& instance, std::string_view name,
            wasmtime_extern_kind_t kind, wasmtime_extern_t* out) {
  // Functions and memories own nothing; there is nothing to delete.
  return wasmtime_instance_export_get(context, &instance, name.data(), name.size(), out) && out->kind == kind;
}

}  // namespace

Instance::~Instance() {
  PoolLock lock{PoolOrder()};
  store_.reset();
}

uint64_t Instance::memory_bytes() const {
  return memory_.store_id == 0 ? 0
                               : wasmtime_memory_data_size(wasmtime_store_context(store_.get()), &memory_);
}

Status Instance::Start(RunningCall& call) {
  wasmtime_context_t* context = wasmtime_store_context(store_.get());
  wasm_trap_t* raw_trap = nullptr;
  {
    PoolLock lock{PoolOrder()};
    ErrorPtr error(wasmtime_instance_pre_instantiate(pre_, context, &instance_, &raw_trap));
    TrapPtr trap(raw_trap);
    // Nothing of the policy has run: it is not at fault, and no other one would find more.
    if (error && !trap && !WasmEngine::HasRoom(limits_))
      return Status::FromErrno(ENOMEM, label_ + " cannot be run: no " + Mebibytes(limits_.memory_bytes) +
                                           " of address space are left, which is limited")
          .WithHint("raise the limit of address space (ulimit -v, LimitAS= of a unit of systemd)");
    if (error || trap) return Ended(call, context, error.get(), trap.get(), "instantiation");
  }
  // The exports' types were checked when the blob was loaded.
  wasmtime_extern_t memory, alloc;
  if (!Export(context, instance_, "memory", WASMTIME_EXTERN_MEMORY, &memory) ||
      !Export(context, instance_, "dvdi_alloc", WASMTIME_EXTERN_FUNC, &alloc))
    return Status(Code::kInternal, label_ + ": an export is gone");
  memory_ = memory.of.memory;
  alloc_ = alloc.of.func;
  return Status();
}

Result<std::string> Instance::Run(RunningCall& call, std::string_view input) {
  const PolicyLimits& limits = limits_;
  const bool first = store_ == nullptr;
  if (first) {
    store_.reset(wasmtime_store_new(engine_->get(), nullptr, nullptr));
    wasmtime_store_limiter(store_.get(), static_cast<int64_t>(limits.memory_bytes), 10'000, 1, 1, 1);
  }
  wasmtime_context_t* context = wasmtime_store_context(store_.get());
  wasmtime_context_set_data(context, &call);
  if (ErrorPtr error(wasmtime_context_set_fuel(context, limits.fuel)); error)
    return Status(Code::kInternal, "cannot give fuel to a policy: " + ErrorText(error.get()));
  if (first) DVDI_RETURN_IF_ERROR(Start(call));
  call.memory = memory_;
  call.alloc = alloc_;
  wasmtime_extern_t function;
  if (!Export(context, instance_, call.export_name, WASMTIME_EXTERN_FUNC, &function))
    return Status(Code::kInternal, label_ + ": an export is gone");

  wasm_trap_t* raw_trap = nullptr;
  uint32_t at = 0;
  if (Status s = Put(context, call, input, &at); !s.ok()) return s;
  wasmtime_val_raw_t raw[2] = {};
  raw[0].i32 = static_cast<int32_t>(at);
  raw[1].i32 = static_cast<int32_t>(static_cast<uint32_t>(input.size()));
  {
    ErrorPtr error(wasmtime_func_call_unchecked(context, &function.of.func, raw, 2, &raw_trap));
    TrapPtr trap(raw_trap);
    if (error || trap) return Ended(call, context, error.get(), trap.get(), call.export_name);
  }
  const auto packed = static_cast<uint64_t>(raw[0].i64);
  const auto ptr = static_cast<uint32_t>(packed >> 32), len = static_cast<uint32_t>(packed);
  if (len == 0) return call.Fail("answered nothing");
  if (len > limits.reply_bytes)
    return call.Fail("answered " + std::to_string(len) + " bytes; at most " +
                         std::to_string(limits.reply_bytes) + " are accepted",
                     "the policy is wrong, or limits.reply_bytes is too small");
  uint8_t* data = nullptr;
  if (!InMemory(context, call, ptr, len, &data))
    return call.Fail("answered with a bad pointer: " + std::to_string(len) + " bytes at " +
                     std::to_string(ptr) + " are outside of its memory");
  std::string_view answer(reinterpret_cast<const char*>(data), len);
  if (!IsValidUtf8(answer)) return call.Fail("answered with text that is not UTF-8");
  return std::string(answer);
}

wasm_trap_t* HostCall(void* env, wasmtime_caller_t* caller, wasmtime_val_raw_t* raw, size_t) {
  wasmtime_context_t* context = wasmtime_caller_context(caller);
  auto* call = static_cast<RunningCall*>(wasmtime_context_get_data(context));
  // An exception must not reach wasmtime's frames above: that would end the process.
  try {
    uint64_t packed = 0;
    Status status = DoHostCall(context, *call, *static_cast<const std::string*>(env),
                               static_cast<uint32_t>(raw[0].i32), static_cast<uint32_t>(raw[1].i32), &packed);
    if (!status.ok()) {
      call->failure = std::move(status);
      return Unwind();
    }
    raw[0].i64 = static_cast<int64_t>(packed);
    return nullptr;
  } catch (const std::exception& e) {
    call->failure = Status(Code::kInternal, std::string("a host call of the policy failed: ") + e.what());
  } catch (...) {
    call->failure = Status(Code::kInternal, "a host call of the policy failed");
  }
  return Unwind();
}

wasm_trap_t* HostAbort(void*, wasmtime_caller_t* caller, wasmtime_val_raw_t* raw, size_t) {
  wasmtime_context_t* context = wasmtime_caller_context(caller);
  auto* call = static_cast<RunningCall*>(wasmtime_context_get_data(context));
  try {
    const std::string message = LanguageString(context, *call, static_cast<uint32_t>(raw[0].i32));
    const std::string file = LanguageString(context, *call, static_cast<uint32_t>(raw[1].i32));
    call->failure = Status(Code::kPolicy, call->label + ": " + call->export_name + ": policy aborted: " +
                                              (message.empty() ? "no message" : message) + " at " +
                                              (file.empty() ? "?" : file) + ":" +
                                              std::to_string(static_cast<uint32_t>(raw[2].i32)) + ":" +
                                              std::to_string(static_cast<uint32_t>(raw[3].i32)));
  } catch (const std::exception&) {
    call->failure = Status(Code::kPolicy, "policy aborted");
  }
  return Unwind();
}

Result<std::string> Instance::Call(const std::string& export_name, std::string_view input,
                                   const HostFunction& host, CallStats* stats) {
  if (stats != nullptr) *stats = CallStats();
  // A guard page hit by Wasm would be a crash of the whole process: wasmtime counts from where it is entered.
  const int64_t left = StackLeft(), need = static_cast<int64_t>(limits_.stack_bytes + kHostStackBytes);
  if (left >= 0 && left < need)
    return Status(Code::kInternal,
                  "this thread has " + std::to_string(left >> 10) +
                      " KiB of stack left; calling a policy needs " + std::to_string(need >> 10) + " KiB",
                  "start the thread with OperationStackKb(limits)");
  try {
    RunningCall call{.limits = limits_, .label = label_, .export_name = export_name, .host = host};
    Result<std::string> result = Run(call, input);
    if (stats != nullptr) {
      uint64_t fuel = limits_.fuel;
      if (ErrorPtr error(wasmtime_context_get_fuel(wasmtime_store_context(store_.get()), &fuel)); error)
        fuel = 0;
      stats->fuel_used = limits_.fuel - fuel;
      stats->memory_bytes = memory_bytes();
      stats->host_calls = call.host_calls;
    }
    return result;
  } catch (const std::exception& e) {
    return Status(Code::kInternal, label_ + ": " + export_name + " could not be run: " + e.what());
  }
}

}  // namespace dvdi
