#include "policy/runtime.h"

#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/text.h"
#include "policy/blob.h"
#include "policy/cache.h"
#include "policy/instance.h"
#include "policy/wasm_engine.h"
#include "wasmtime/dvdi_wasmtime.h"

namespace dvdi {
namespace {

// The compiler recurses with the code that it is given.
constexpr size_t kCompileStackBytes = 16u << 20;
#ifdef __SANITIZE_THREAD__
// The sanitizer does not see how the compiler's own threads wait for each other.
constexpr size_t kCompileThreads = 1;
#else
constexpr size_t kCompileThreads = 0;
#endif

struct Bytes {
  wasm_byte_vec_t vec = {0, nullptr};
  ~Bytes() {
    if (vec.data != nullptr) wasm_byte_vec_delete(&vec);
  }
  std::string_view view() const { return {vec.data, vec.size}; }
};

Status FromWasmtime(const char* what, wasmtime_error_t* raw) {
  ErrorPtr error(raw);
  return Status(Code::kPolicy, std::string(what) + ErrorText(error.get()));
}

// A module in one engine, ready to be instantiated.
struct Compiled {
  WasmEngine* engine = nullptr;
  ModulePtr module;
  InstancePrePtr pre;

  static Result<Compiled> From(WasmEngine* engine, wasmtime_module_t* module) {
    Compiled c;
    c.engine = engine;
    c.module.reset(module);
    wasmtime_instance_pre_t* pre = nullptr;
    if (auto* error = wasmtime_linker_instantiate_pre(engine->linker(), module, &pre))
      return FromWasmtime("the policy blob cannot be linked: ", error);
    c.pre.reset(pre);
    return c;
  }
  // `bytes` come from Serialize of this process, or from the cache that only we can write; so does the file.
  static Result<Compiled> Deserialize(WasmEngine* engine, std::string_view bytes) {
    wasmtime_module_t* module = nullptr;
    if (auto* error = wasmtime_module_deserialize(
            engine->get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), &module))
      return FromWasmtime("the compiled policy cannot be loaded: ", error);
    return From(engine, module);
  }
  static Result<Compiled> Map(WasmEngine* engine, const std::string& path) {
    wasmtime_module_t* module = nullptr;
    if (auto* error = wasmtime_module_deserialize_file(engine->get(), path.c_str(), &module))
      return FromWasmtime("the compiled policy cannot be mapped: ", error);
    return From(engine, module);
  }
  Status Serialize(Bytes* out) const {
    if (auto* error = wasmtime_module_serialize(module.get(), &out->vec))
      return FromWasmtime("the compiled policy cannot be written: ", error);
    return Status();
  }
};

class Module;

// An instance with its place in the pool.
class OperationInstance : public PolicyInstance {
 public:
  explicit OperationInstance(std::shared_ptr<const Module> module) : module_(std::move(module)) {}
  ~OperationInstance() override { Drop(); }
  Result<std::string> Call(const std::string& export_name, std::string_view input, const HostFunction& host,
                           CallStats* stats) override;

 private:
  void Drop();

  const std::shared_ptr<const Module> module_;
  WasmEngine* engine_ = nullptr;  // whose instance it is
  std::optional<Instance> instance_;
  bool idle_ = false;  // counted as such by the engine
};

class Module : public PolicyModule, public std::enable_shared_from_this<Module> {
 public:
  Module(const Env& env, const PolicyLimits& limits, std::string sha256, PolicyManifest manifest,
         Compiled main)
      : env_(env),
        limits_(limits),
        sha256_(std::move(sha256)),
        manifest_(std::move(manifest)),
        label_("policy " + manifest_.name + " " + manifest_.version),
        main_(std::move(main)) {}

  const std::string& sha256() const override { return sha256_; }
  const PolicyManifest& manifest() const override { return manifest_; }
  std::unique_ptr<PolicyInstance> Begin() const override {
    return std::make_unique<OperationInstance>(shared_from_this());
  }

 private:
  friend class OperationInstance;

  // Whether a call can be made at all.
  Status Check(const std::string& export_name, std::string_view input) const {
    static constexpr std::string_view kExports[] = {"configure", "parse",   "prepare",
                                                    "cleanup",   "recover", "canary"};
    bool known = false;
    for (auto name : kExports) known = known || name == export_name;
    if (!known) return Status(Code::kInternal, label_ + ": no operation is called " + export_name);
    if (input.size() > limits_.input_bytes)
      return Status(Code::kInvalid,
                    "the input of " + export_name + " has " + std::to_string(input.size()) +
                        " bytes; at most " + std::to_string(limits_.input_bytes) + " are accepted",
                    "declare less, or raise limits.input_bytes");
    if (!IsValidUtf8(input)) return Status(Code::kInvalid, "the input of " + export_name + " is not UTF-8");
    return Status();
  }

  // The module in the engine that serves when the pool is full; made when it is needed first.
  Result<const Compiled*> Reserve() const {
    std::lock_guard<std::mutex> lock(mutex_);
    if (reserve_.pre == nullptr) {
      Bytes bytes;
      DVDI_RETURN_IF_ERROR(main_.Serialize(&bytes));
      DVDI_ASSIGN_OR_RETURN(reserve_, Compiled::Deserialize(WasmEngine::Reserve(limits_), bytes.view()));
    }
    return &reserve_;
  }

  const Env env_;
  const PolicyLimits limits_;
  const std::string sha256_;
  const PolicyManifest manifest_;
  const std::string label_;
  const Compiled main_;
  mutable std::mutex mutex_;
  mutable Compiled reserve_;
};

void OperationInstance::Drop() {
  if (!instance_) return;
  instance_.reset();
  if (idle_) engine_->EndIdle();
  idle_ = false;
  engine_->Release();
}

Result<std::string> OperationInstance::Call(const std::string& export_name, std::string_view input,
                                            const HostFunction& host, CallStats* stats) {
  const Module& m = *module_;
  DVDI_RETURN_IF_ERROR(m.Check(export_name, input));
  const int64_t start = m.env_.clock->MonotonicNs();
  if (idle_) engine_->EndIdle();
  idle_ = false;
  if (!instance_) {
    const Compiled* compiled = &m.main_;
    if (!compiled->engine->Acquire()) {
      DVDI_ASSIGN_OR_RETURN(compiled, m.Reserve());
    }
    engine_ = compiled->engine;
    instance_.emplace(engine_, compiled->pre.get(), m.limits_, m.label_);
  }
  auto result = instance_->Call(export_name, input, host, stats);
  idle_ = result.ok() && instance_->memory_bytes() <= WasmEngine::kIdleBytes && engine_->BeginIdle();
  if (!idle_) Drop();
  if (stats != nullptr) stats->duration_ns = m.env_.clock->MonotonicNs() - start;
  return result;
}

class Runtime : public PolicyRuntime {
 public:
  Runtime(const Env& env, const PolicyLimits& limits, std::string cache_dir)
      : env_(env), limits_(limits), cache_(env, std::move(cache_dir)) {
    engine_ = WasmEngine::Pool(limits);
    if (engine_ == nullptr) engine_ = WasmEngine::Reserve(limits);
  }

  Result<std::shared_ptr<const PolicyModule>> Load(std::string_view blob,
                                                   const std::string& sha256) override {
    try {
      return DoLoad(blob, sha256);
    } catch (const std::exception& e) {
      return Status(Code::kInternal, std::string("cannot load the policy blob: ") + e.what());
    }
  }

 private:
  Result<std::shared_ptr<const PolicyModule>> DoLoad(std::string_view blob, const std::string& sha256) {
    std::lock_guard<std::mutex> lock(mutex_);  // so that one blob is compiled once
    if (auto it = modules_.find(sha256); it != modules_.end())
      if (auto module = it->second.lock()) return module;
    DVDI_ASSIGN_OR_RETURN(PolicyManifest manifest, InspectBlob(blob, limits_));
    const std::string key = CompiledCache::Key(sha256, CompilationSettings(limits_));
    Compiled compiled = FromCache(key);
    if (compiled.pre == nullptr) {
      DVDI_ASSIGN_OR_RETURN(compiled, Compile(blob));
      Bytes bytes;
      if (compiled.Serialize(&bytes).ok()) cache_.Put(key, bytes.view());
    }
    auto module =
        std::make_shared<const Module>(env_, limits_, sha256, std::move(manifest), std::move(compiled));
    std::erase_if(modules_, [](const auto& entry) { return entry.second.expired(); });
    modules_[sha256] = module;
    return std::shared_ptr<const PolicyModule>(module);
  }

  // Empty where there is none that can be used: wasmtime refuses what another CPU or build has made.
  Compiled FromCache(const std::string& key) {
    auto cached = cache_.Get(key);
    if (!cached) return Compiled();
    if (auto c = Compiled::Map(engine_, cached->path()); c.ok()) return std::move(*c);
    // Nothing is mapped executable from a filesystem that is mounted noexec.
    if (auto c = Compiled::Deserialize(engine_, cached->compiled()); c.ok()) return std::move(*c);
    return Compiled();
  }

  Result<Compiled> Compile(std::string_view blob) {
    const auto* wasm = reinterpret_cast<const uint8_t*>(blob.data());
    wasmtime_error_t* error = nullptr;
    wasmtime_module_t* module = nullptr;
    if (!dvdi_wasmtime_module_new(engine_->get(), wasm, blob.size(), kCompileThreads, kCompileStackBytes,
                                  &module, &error))
      return Status(Code::kInternal, "cannot start threads to compile the policy",
                    "the process or the node has too many threads, or too little memory");
    if (error != nullptr) return FromWasmtime("the policy blob is refused: it is not valid: ", error);
    return Compiled::From(engine_, module);
  }

  const Env env_;
  const PolicyLimits limits_;
  const CompiledCache cache_;
  WasmEngine* engine_ = nullptr;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const PolicyModule>> modules_;
};

}  // namespace

Result<std::shared_ptr<const PolicyModule>> PolicyRuntime::Load(std::string_view blob) {
  return Load(blob, BlobSha256(blob));
}

Result<std::unique_ptr<PolicyRuntime>> PolicyRuntime::Create(const Env& env, const PolicyLimits& limits,
                                                             std::string cache_dir) {
  DVDI_RETURN_IF_ERROR(CheckLimits(limits));
  try {
    return std::unique_ptr<PolicyRuntime>(std::make_unique<Runtime>(env, limits, std::move(cache_dir)));
  } catch (const std::exception& e) {
    return Status(Code::kInternal, std::string("cannot start wasmtime: ") + e.what());
  }
}

}  // namespace dvdi
