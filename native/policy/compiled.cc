#include "policy/compiled.h"

#include <utility>

#include "base/json.h"
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

Status FromWasmtime(const char* what, wasmtime_error_t* raw) {
  ErrorPtr error(raw);
  return Status(Code::kPolicy, std::string(what) + ErrorText(error.get()));
}

}  // namespace

Result<Compiled> Compiled::From(WasmEngine* engine, ModulePtr module) {
  wasmtime_instance_pre_t* pre = nullptr;
  if (auto* error = wasmtime_linker_instantiate_pre(engine->linker(), module.get(), &pre))
    return FromWasmtime("the policy blob cannot be linked: ", error);
  return Compiled{engine, std::move(module), InstancePrePtr(pre)};
}

Result<Compiled> Compiled::Deserialize(WasmEngine* engine, std::string_view bytes) {
  wasmtime_module_t* module = nullptr;
  if (auto* error = wasmtime_module_deserialize(engine->get(), reinterpret_cast<const uint8_t*>(bytes.data()),
                                                bytes.size(), &module))
    return FromWasmtime("the compiled policy cannot be loaded: ", error);
  return From(engine, ModulePtr(module));
}

Result<Compiled> Compiled::Map(WasmEngine* engine, const std::string& path) {
  wasmtime_module_t* module = nullptr;
  if (auto* error = wasmtime_module_deserialize_file(engine->get(), path.c_str(), &module))
    return FromWasmtime("the compiled policy cannot be mapped: ", error);
  return From(engine, ModulePtr(module));
}

Result<ModulePtr> CompileBlob(WasmEngine* by, std::string_view blob) {
  const auto* wasm = reinterpret_cast<const uint8_t*>(blob.data());
  wasmtime_error_t* error = nullptr;
  wasmtime_module_t* module = nullptr;
  if (!dvdi_wasmtime_module_new(by->get(), wasm, blob.size(), kCompileThreads, kCompileStackBytes, &module,
                                &error))
    return Status(Code::kInternal, "cannot start threads to compile the policy",
                  "the process or the node has too many threads, or too little memory");
  if (error != nullptr) return FromWasmtime("the policy blob is refused: it is not valid: ", error);
  return ModulePtr(module);
}

Status Serialize(const wasmtime_module_t* module, CompiledBytes* out) {
  if (auto* error = wasmtime_module_serialize(const_cast<wasmtime_module_t*>(module), &out->vec))
    return FromWasmtime("the compiled policy cannot be written: ", error);
  return Status();
}

std::string FormNote::ToText() const {
  return Dump({{"quick", quick},
               {"blob_bytes", blob_bytes},
               {"name", manifest.name},
               {"version", manifest.version},
               {"description", manifest.description},
               {"abi", manifest.abi},
               {"imports", manifest.imports}});
}

std::optional<FormNote> FormNote::Read(std::string_view text) {
  auto json = ParseJson(text, "a note");
  if (!json.ok() || !json->is_object()) return std::nullopt;
  FormNote note;
  note.quick = GetBool(*json, "quick");
  note.blob_bytes = static_cast<uint64_t>(GetInt(*json, "blob_bytes"));
  note.manifest.name = GetString(*json, "name");
  note.manifest.version = GetString(*json, "version");
  note.manifest.description = GetString(*json, "description");
  note.manifest.abi = static_cast<int>(GetInt(*json, "abi"));
  for (const Json& name : GetMember(*json, "imports"))
    if (name.is_string()) note.manifest.imports.push_back(name.get<std::string>());
  return note;
}

}  // namespace dvdi
