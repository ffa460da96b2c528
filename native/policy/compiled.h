// What a blob is compiled to, in memory and as it is kept. Only native/policy/ uses this.
#ifndef DVDI_POLICY_COMPILED_H_
#define DVDI_POLICY_COMPILED_H_

#include <wasm.h>
#include <wasmtime.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "policy/runtime.h"
#include "policy/wasm_engine.h"

namespace dvdi {

// A module as bytes, wasmtime's own.
struct CompiledBytes {
  wasm_byte_vec_t vec = {0, nullptr};
  CompiledBytes() = default;
  CompiledBytes(const CompiledBytes&) = delete;
  CompiledBytes& operator=(const CompiledBytes&) = delete;
  ~CompiledBytes() {
    if (vec.data != nullptr) wasm_byte_vec_delete(&vec);
  }
  std::string_view view() const { return {vec.data, vec.size}; }
};

// A module in one engine, ready to be instantiated. Each function fails with kPolicy and wasmtime's words.
struct Compiled {
  WasmEngine* engine = nullptr;
  ModulePtr module;
  InstancePrePtr pre;  // null: there is none

  static Result<Compiled> From(WasmEngine* engine, ModulePtr module);
  // `bytes` come from Serialize of this process, or from the cache that only we can write; so does the file.
  static Result<Compiled> Deserialize(WasmEngine* engine, std::string_view bytes);
  static Result<Compiled> Map(WasmEngine* engine, const std::string& path);
};

// Validates and compiles, on several threads that end with it. kPolicy for what is no valid module; kInternal
// where the threads cannot be had.
Result<ModulePtr> CompileBlob(WasmEngine* by, std::string_view blob);
Status Serialize(const wasmtime_module_t* module, CompiledBytes* out);

// What stands beside a compiled form in the cache, as JSON.
struct FormNote {
  bool quick = false;       // by WasmEngine::Quick
  uint64_t blob_bytes = 0;  // how large the blob is
  PolicyManifest manifest;  // as it was checked

  std::string ToText() const;
  static std::optional<FormNote> Read(std::string_view text);
};

}  // namespace dvdi

#endif  // DVDI_POLICY_COMPILED_H_
