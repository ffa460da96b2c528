// The policy blob in wasmtime: validated once, compiled once, a fresh instance for each operation.
#ifndef DVDI_POLICY_RUNTIME_H_
#define DVDI_POLICY_RUNTIME_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// Bounds of one operation's instance. Part of the key of the compiled form where they change it.
struct PolicyLimits {
  uint64_t fuel = 500'000'000;
  uint64_t memory_bytes = 64u << 20;
  uint64_t stack_bytes = 256u << 10;
  uint64_t blob_bytes = 4u << 20;   // size of a blob
  uint64_t host_calls = 10'000;     // number
  uint64_t host_bytes = 16u << 20;  // requests and answers together
  uint64_t reply_bytes = 4u << 20;  // an export's answer
  uint64_t input_bytes = 4u << 20;  // an export's input
};

// Stack that a call of a policy must find on its thread, beside limits.stack_bytes for the Wasm itself: what
// host functions (ledger, plugin client, JSON) use beneath it. Call checks it, because running out of stack
// is a crash of the whole process.
constexpr uint64_t kHostStackBytes = 768u << 10;
// The stack, in KiB, of a thread that calls policies (Scheduler::Spawn), with room for its own frames. Pages
// that are never touched cost nothing.
constexpr size_t OperationStackKb(const PolicyLimits& limits) {
#ifdef __SANITIZE_THREAD__
  constexpr size_t kOwn = 1088;  // the sanitizer keeps its own thread-local data on the stack
#else
  constexpr size_t kOwn = 64;
#endif
  return static_cast<size_t>((limits.stack_bytes + kHostStackBytes) >> 10) + kOwn;
}
constexpr size_t kOperationStackKb = OperationStackKb(PolicyLimits{});

// From the custom section "dvdi.manifest" (JSON).
struct PolicyManifest {
  std::string name, version, description;
  int abi = 0;
  std::vector<std::string> imports;  // the functions of module "dvdi" that it needs
};

// The imports that an engine of ABI 1 offers ("plugin_call", …), sorted.
const std::vector<std::string>& OfferedImports();

// Answers one host call: `name` is the import's, `request` its JSON bytes (valid UTF-8, bounded). The
// answer is JSON text. Runs on the thread that called PolicyModule::Call. An error Status ends the
// operation with that status (for what must not go on: the deadline passed, the engine closes).
using HostFunction = std::function<Result<std::string>(std::string_view name, std::string_view request)>;

struct CallStats {
  uint64_t fuel_used = 0, memory_bytes = 0, host_calls = 0;
  int64_t duration_ns = 0;
};

// The instance of one operation. It is made by the first call. It is thrown away with this object, by a call
// that fails, and between two calls where it would keep others from their memory (it has grown, or too many
// wait); the next call has a new one then, so an answer must never depend on an earlier call. Not
// thread-safe, but each call may run on another thread.
class PolicyInstance {
 public:
  virtual ~PolicyInstance() = default;
  // Calls an export ("configure", "parse", "prepare", "cleanup", "recover", "canary") and returns its answer:
  // valid UTF-8, not yet parsed. Fuel, host calls and their bytes are limited for each call, memory for all
  // of them. kPolicy, with a message that names the cause (trap and its place, fuel, memory, stack, flood of
  // host calls, forged pointer, not UTF-8, abort message), for every way in which a blob can fail. kInvalid
  // for an input that is too large or not UTF-8; kInternal where the thread has less stack than
  // kOperationStackKb asks for.
  virtual Result<std::string> Call(const std::string& export_name, std::string_view input,
                                   const HostFunction& host, CallStats* stats = nullptr) = 0;
};

// A compiled blob. Thread-safe; instances share nothing.
class PolicyModule {
 public:
  virtual ~PolicyModule() = default;
  virtual const std::string& sha256() const = 0;
  virtual const PolicyManifest& manifest() const = 0;
  // For an operation that makes several calls. It keeps the module.
  virtual std::unique_ptr<PolicyInstance> Begin() const = 0;
  // For an operation of one call.
  Result<std::string> Call(const std::string& export_name, std::string_view input, const HostFunction& host,
                           CallStats* stats = nullptr) const {
    return Begin()->Call(export_name, input, host, stats);
  }
};

// One wasmtime engine per process. Thread-safe.
class PolicyRuntime {
 public:
  // `cache_dir` holds compiled forms (made 0700; "" for none). A folder or file there that could
  // have been written by anyone but this user is not used.
  static Result<std::unique_ptr<PolicyRuntime>> Create(const Env& env, const PolicyLimits& limits,
                                                       std::string cache_dir);
  virtual ~PolicyRuntime() = default;
  // Validates (size, wasm, imports within the list, exports and their types, ABI marker, manifest, no
  // start function, memory) and compiles, or loads the compiled form. kPolicy with the reason else.
  Result<std::shared_ptr<const PolicyModule>> Load(std::string_view blob);
  // The same where the caller has the blob's SHA-256 already: it must be of these bytes. A blob that is not
  // in the cache is compiled quickly, and is ready for use then; a thread of the runtime's compiles it well,
  // for the cache and for the operations that begin after that. Both forms decide the same, with the same
  // fuel.
  virtual Result<std::shared_ptr<const PolicyModule>> Load(std::string_view blob,
                                                           const std::string& sha256) = 0;
  // The blob of that SHA-256 by its compiled form alone, where the cache has a good one of a blob of so many
  // bytes; else null.
  virtual std::shared_ptr<const PolicyModule> Kept(const std::string& sha256, uint64_t blob_bytes) = 0;
  // Waits until all that was compiled quickly is compiled well, as the destructor does.
  virtual void Finish() = 0;
};

// The blob that is part of the library, and its SHA-256 from the build.
std::string_view BuiltinPolicy();
const std::string& BuiltinPolicySha256();

}  // namespace dvdi

#endif  // DVDI_POLICY_RUNTIME_H_
