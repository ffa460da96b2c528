#include "policy/runtime.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/caught.h"
#include "base/text.h"
#include "policy/blob.h"
#include "policy/cache.h"
#include "policy/compiled.h"
#include "policy/instance.h"
#include "policy/wasm_engine.h"

namespace dvdi {
namespace {

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
  WasmEngine* engine_ = nullptr;              // whose instance it is
  std::shared_ptr<const Compiled> compiled_;  // what it is made of: the module may have a better one by now
  std::optional<Instance> instance_;
  bool idle_ = false;  // counted as such by the engine
};

using CompiledPtr = std::shared_ptr<const Compiled>;

class Module : public PolicyModule, public std::enable_shared_from_this<Module> {
 public:
  Module(const Env& env, const PolicyLimits& limits, std::string sha256, PolicyManifest manifest,
         Compiled main)
      : env_(env),
        limits_(limits),
        sha256_(std::move(sha256)),
        manifest_(std::move(manifest)),
        label_("policy " + manifest_.name + " " + manifest_.version),
        main_(std::make_shared<const Compiled>(std::move(main))) {}

  const std::string& sha256() const override { return sha256_; }
  const PolicyManifest& manifest() const override { return manifest_; }
  std::unique_ptr<PolicyInstance> Begin() const override {
    return std::make_unique<OperationInstance>(shared_from_this());
  }
  // Instances that are made from now on run this form.
  void Replace(Compiled better) const {
    auto main = std::make_shared<const Compiled>(std::move(better));
    std::lock_guard<std::mutex> lock(mutex_);
    main_ = std::move(main);
    reserve_ = nullptr;
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

  CompiledPtr Main() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return main_;
  }
  // The module in the engine that serves when the pool is full; made when it is needed first.
  Result<CompiledPtr> Reserve() const {
    std::lock_guard<std::mutex> lock(mutex_);
    if (reserve_ == nullptr) {
      CompiledBytes bytes;
      DVDI_RETURN_IF_ERROR(Serialize(main_->module.get(), &bytes));
      DVDI_ASSIGN_OR_RETURN(Compiled c, Compiled::Deserialize(WasmEngine::Reserve(limits_), bytes.view()));
      reserve_ = std::make_shared<const Compiled>(std::move(c));
    }
    return reserve_;
  }

  const Env env_;
  const PolicyLimits limits_;
  const std::string sha256_;
  const PolicyManifest manifest_;
  const std::string label_;
  mutable std::mutex mutex_;
  mutable CompiledPtr main_, reserve_;
};

void OperationInstance::Drop() {
  if (!instance_) return;
  instance_.reset();
  compiled_.reset();
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
    compiled_ = m.Main();
    if (!compiled_->engine->Acquire()) {
      DVDI_ASSIGN_OR_RETURN(compiled_, m.Reserve());
    }
    engine_ = compiled_->engine;
    instance_.emplace(engine_, compiled_->pre.get(), m.limits_, m.label_);
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
      : env_(env), limits_(limits), cached_(!cache_dir.empty()), cache_(env, std::move(cache_dir)) {
    engine_ = WasmEngine::Pool(limits);
    if (engine_ == nullptr) engine_ = WasmEngine::Reserve(limits);
  }
  ~Runtime() override { Finish(); }

  Result<std::shared_ptr<const PolicyModule>> Load(std::string_view blob,
                                                   const std::string& sha256) override {
    try {
      return DoLoad(blob, sha256);
    } catch (const std::exception& e) {
      return Status(Code::kInternal, std::string("cannot load the policy blob: ") + e.what());
    }
  }

  std::shared_ptr<const PolicyModule> Kept(const std::string& sha256, uint64_t blob_bytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (auto module = Loaded(sha256)) return module;
    if (blob_bytes > limits_.blob_bytes) return nullptr;
    Form form = FromCache(KeyOf(sha256));
    // One that is to be compiled again wants the blob's bytes.
    if (form.compiled.pre == nullptr || form.note.quick || form.note.blob_bytes != blob_bytes) return nullptr;
    return Add(sha256, std::move(form.note.manifest), std::move(form.compiled));
  }

  void Finish() override {
    std::unique_lock<std::mutex> lock(jobs_mutex_);
    while (working_) env_.scheduler->Wait(lock, finished_, env_.clock->MonotonicMs() + 1000);
  }

 private:
  struct Form {
    Compiled compiled;  // without `pre` where there is none
    FormNote note;
  };
  // A blob that was compiled quickly.
  struct Job {
    std::string key, blob;
    FormNote note;
    std::weak_ptr<const Module> module;
  };

  std::string KeyOf(const std::string& sha256) const {
    return CompiledCache::Key(sha256, CompilationSettings(limits_));
  }

  std::shared_ptr<const Module> Loaded(const std::string& sha256) const {
    auto it = modules_.find(sha256);
    return it == modules_.end() ? nullptr : it->second.lock();
  }

  std::shared_ptr<const Module> Add(const std::string& sha256, PolicyManifest manifest, Compiled compiled) {
    auto module =
        std::make_shared<const Module>(env_, limits_, sha256, std::move(manifest), std::move(compiled));
    std::erase_if(modules_, [](const auto& entry) { return entry.second.expired(); });
    modules_[sha256] = module;
    return module;
  }

  Result<std::shared_ptr<const PolicyModule>> DoLoad(std::string_view blob, const std::string& sha256) {
    std::lock_guard<std::mutex> lock(mutex_);  // so that one blob is compiled once
    if (auto module = Loaded(sha256)) return std::shared_ptr<const PolicyModule>(module);
    DVDI_ASSIGN_OR_RETURN(PolicyManifest manifest, InspectBlob(blob, limits_));
    const std::string key = KeyOf(sha256);
    Form form = FromCache(key);
    if (form.compiled.pre == nullptr) {
      form.note = {true, blob.size(), manifest};
      DVDI_ASSIGN_OR_RETURN(form.compiled, CompileInto(WasmEngine::Quick(limits_), blob, key, form.note));
    }
    auto module = Add(sha256, std::move(manifest), std::move(form.compiled));
    if (form.note.quick) ImproveLater({key, std::string(blob), std::move(form.note), module});
    return std::shared_ptr<const PolicyModule>(module);
  }

  // Empty where there is none that can be used: wasmtime refuses what another CPU or build has made.
  Form FromCache(const std::string& key) const {
    auto cached = cache_.Get(key);
    auto note = cached ? FormNote::Read(cached->note()) : std::nullopt;
    if (!note) return Form();
    if (auto c = Compiled::Map(engine_, cached->path()); c.ok()) return {std::move(*c), std::move(*note)};
    // Nothing is mapped executable from a filesystem that is mounted noexec.
    if (auto c = Compiled::Deserialize(engine_, cached->compiled()); c.ok())
      return {std::move(*c), std::move(*note)};
    return Form();
  }

  // Compiles by that engine, for the cache and for the engine that has the instances.
  Result<Compiled> CompileInto(WasmEngine* by, std::string_view blob, const std::string& key,
                               const FormNote& note) const {
    DVDI_ASSIGN_OR_RETURN(ModulePtr module, CompileBlob(by, blob));
    CompiledBytes bytes;
    DVDI_RETURN_IF_ERROR(Serialize(module.get(), &bytes));
    cache_.Put(key, bytes.view(), note.ToText());
    if (by == engine_) return Compiled::From(engine_, std::move(module));
    module.reset();
    return Compiled::Deserialize(engine_, bytes.view());
  }

  // Without a thread for it the quick form stays in use.
  void ImproveLater(Job job) {
    std::lock_guard<std::mutex> lock(jobs_mutex_);
    jobs_.push_back(std::move(job));
    if (working_) return;
    working_ = env_.scheduler->Spawn([this] { ImproveAll(); }, "dvdi-compile", kOperationStackKb).ok();
    if (!working_) jobs_.clear();
  }

  void ImproveAll() {
    std::unique_lock<std::mutex> lock(jobs_mutex_);
    while (!jobs_.empty()) {
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      (void)Caught([&] { Improve(job); });  // no memory: it goes on with the quick form
      lock.lock();
    }
    // Under the lock, and last: whoever waits for it may destroy this object then.
    working_ = false;
    finished_.notify_all();
  }

  void Improve(Job& job) const {
    if (!cached_ && job.module.expired()) return;
    Form form = FromCache(job.key);  // another process may have been at it
    if (form.compiled.pre == nullptr || form.note.quick) {
      job.note.quick = false;
      auto compiled = CompileInto(engine_, job.blob, job.key, job.note);
      if (!compiled.ok()) return;
      form.compiled = std::move(*compiled);
    }
    if (auto module = job.module.lock()) module->Replace(std::move(form.compiled));
  }

  const Env env_;
  const PolicyLimits limits_;
  const bool cached_;
  const CompiledCache cache_;
  WasmEngine* engine_ = nullptr;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const Module>> modules_;

  std::mutex jobs_mutex_;
  std::condition_variable finished_;
  std::deque<Job> jobs_;
  bool working_ = false;  // a thread is at the jobs
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
