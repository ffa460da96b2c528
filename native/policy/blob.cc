#include "policy/blob.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "policy/wasm_reader.h"

namespace dvdi {
namespace {

// Bounds of what the compiler is given: far above any policy, far below what would keep it busy for minutes.
constexpr uint32_t kMaxFunctions = 20'000;
constexpr uint32_t kMaxTypes = 5'000;
constexpr uint32_t kMaxExports = 1'000;
constexpr size_t kMaxBodyBytes = 256 * 1024;
constexpr uint64_t kMaxLocals = 5'000;
constexpr uint32_t kMaxTableElements = 10'000;  // WasmEngine's tables have as much room
constexpr size_t kMaxManifestBytes = 64 * 1024;
constexpr uint64_t kPage = 65'536;
constexpr const char* kManifestSection = "dvdi.manifest";
constexpr std::array<const char*, 6> kOperations = {"configure", "parse",   "prepare",
                                                    "cleanup",   "recover", "canary"};

enum SectionId : uint8_t {
  kCustom = 0,
  kType = 1,
  kImport = 2,
  kFunction = 3,
  kTable = 4,
  kMemory = 5,
  kGlobal = 6,
  kExport = 7,
  kStart = 8,
  kElement = 9,
  kCode = 10,
  kData = 11,
  kDataCount = 12,
};
enum ExternKind : uint8_t { kFunc = 0, kTableKind = 1, kMemoryKind = 2, kGlobalKind = 3 };

Status Refuse(std::string why, std::string hint = "") {
  return Status(Code::kPolicy, "the policy blob is refused: " + std::move(why), std::move(hint));
}

Status CutOff(const char* section) {
  return Refuse(std::string("its ") + section + " section is cut off or malformed",
                "the file is damaged, or no WebAssembly module of version 1");
}

std::string Quote(std::string_view name) { return "\"" + OneLine(name, 80) + "\""; }

template <class Names>
std::string Join(const Names& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + std::string(name);
  return out.empty() ? "none" : out;
}

// Parameters and results as value type bytes.
struct FunctionType {
  std::string params, results;
  bool operator==(const FunctionType&) const = default;
};

const FunctionType kOperationType = {"\x7F\x7F", "\x7E"};  // (i32, i32) -> i64
const FunctionType kAllocType = {"\x7F", "\x7F"};          // (i32) -> i32
const FunctionType kAbortType = {"\x7F\x7F\x7F\x7F", ""};  // (i32, i32, i32, i32) -> ()

std::string ToText(const FunctionType& type) {
  auto list = [](const std::string& types) {
    std::string out = "(";
    for (char c : types) {
      if (out.size() > 1) out += ", ";
      switch (static_cast<uint8_t>(c)) {
        case 0x7F: out += "i32"; break;
        case 0x7E: out += "i64"; break;
        case 0x7D: out += "f32"; break;
        case 0x7C: out += "f64"; break;
        default: out += "?"; break;
      }
    }
    return out + ")";
  };
  return OneLine(list(type.params) + " -> " + list(type.results), 120);
}

class Inspector {
 public:
  explicit Inspector(const PolicyLimits& limits) : limits_(limits) {}

  Result<PolicyManifest> Run(std::string_view blob) {
    if (blob.size() > limits_.blob_bytes)
      return Refuse("it has " + std::to_string(blob.size()) + " bytes; at most " +
                        std::to_string(limits_.blob_bytes) + " are accepted",
                    "raise limits.blob_bytes, or make the policy smaller");
    if (blob.substr(0, 8) != std::string_view("\0asm\1\0\0\0", 8))
      return Refuse("it is not a WebAssembly module of version 1", "name a file made by dvdi-policy build");
    WasmReader reader(blob.substr(8));
    while (!reader.done()) {
      uint8_t id = 0;
      std::string_view body;
      if (!reader.Byte(&id) || !reader.Sized(&body))
        return Refuse("it is cut off at byte " + std::to_string(8 + reader.position()),
                      "copy the file again");
      DVDI_RETURN_IF_ERROR(Section(id, body));
    }
    if (memories_ != 1) return Refuse("it defines no memory; a policy has exactly one of its own");
    DVDI_RETURN_IF_ERROR(CheckExports());
    DVDI_RETURN_IF_ERROR(CheckManifest());
    return std::move(manifest_);
  }

 private:
  Status Section(uint8_t id, std::string_view body) {
    if (id != kCustom) {
      if (id > kDataCount)
        return Refuse("it has a section of kind " + std::to_string(id) + ", which no accepted feature uses");
      if (seen_[id]) return Refuse("its section of kind " + std::to_string(id) + " comes twice");
      seen_[id] = true;
    }
    WasmReader reader(body);
    switch (id) {
      case kCustom: return Custom(reader);
      case kType: return Types(reader);
      case kImport: return Imports(reader);
      case kFunction: return Functions(reader);
      case kTable: return Tables(reader);
      case kMemory: return Memories(reader);
      case kExport: return Exports(reader);
      case kCode: return Bodies(reader);
      case kStart:
        return Refuse("it has a start function; a policy does nothing before it is called",
                      "make its global values constants, or build them where they are first used");
      default: return Status();  // globals, elements, data: validated by wasmtime, bounded by the blob's size
    }
  }

  Status Custom(WasmReader& reader) {
    std::string_view name;
    if (!reader.Sized(&name)) return CutOff("custom");
    if (name != kManifestSection) return Status();
    if (has_manifest_) return Refuse("it has two dvdi.manifest sections");
    has_manifest_ = true;
    manifest_text_ = reader.Rest();
    return Status();
  }

  // The entries of a section: their number, which is at most `max`, and each of them.
  template <class Entry>
  Status Each(WasmReader& reader, const char* section, const char* entries, uint32_t max, Entry entry) {
    uint32_t n = 0;
    if (!reader.U32(&n)) return CutOff(section);
    if (n > max) return TooMany(entries, n, max);
    for (uint32_t i = 0; i < n; ++i) DVDI_RETURN_IF_ERROR(entry(i));
    return Status();
  }

  Status Types(WasmReader& reader) {
    return Each(reader, "type", "types", kMaxTypes, [&](uint32_t i) -> Status {
      uint8_t form = 0;
      if (!reader.Byte(&form)) return CutOff("type");
      if (form != 0x60) return Refuse("its type " + std::to_string(i) + " is not a plain function type");
      std::string_view params, results;
      if (!reader.Sized(&params) || !reader.Sized(&results)) return CutOff("type");
      types_.push_back({std::string(params), std::string(results)});
      return Status();
    });
  }

  Status Imports(WasmReader& reader) {
    const auto& offered = OfferedImports();
    return Each(reader, "import", "imports", kMaxFunctions, [&](uint32_t) -> Status {
      std::string_view module, name;
      uint8_t kind = 0;
      if (!reader.Sized(&module) || !reader.Sized(&name) || !reader.Byte(&kind)) return CutOff("import");
      const std::string what = Quote(std::string(module) + "." + std::string(name));
      if (kind == kMemoryKind) return Refuse("it imports the memory " + what + "; a policy defines its own");
      if (kind != kFunc) return Refuse("it imports " + what + ", which is no function");
      uint32_t type = 0;
      if (!reader.U32(&type)) return CutOff("import");
      if (type >= types_.size()) return Refuse("its import " + what + " has no type");
      const bool abort = module == "env" && name == "abort";
      if (!abort && (module != "dvdi" || !std::binary_search(offered.begin(), offered.end(), name)))
        return Refuse("it imports " + what + "; offered are env.abort and, in module dvdi, " + Join(offered),
                      "a policy has no other way to the outside (docs/abi.md)");
      const FunctionType& want = abort ? kAbortType : kOperationType;
      if (types_[type] != want)
        return Refuse("its import " + what + " is " + ToText(types_[type]) + "; it must be " + ToText(want));
      functions_.push_back(type);
      if (!abort) imports_.push_back(std::string(name));
      return Status();
    });
  }

  Status Functions(WasmReader& reader) {
    return Each(reader, "function", "functions", kMaxFunctions, [&](uint32_t i) -> Status {
      uint32_t type = 0;
      if (!reader.U32(&type)) return CutOff("function");
      if (type >= types_.size()) return Refuse("its function " + std::to_string(i) + " has no type");
      functions_.push_back(type);
      return Status();
    });
  }

  Status Tables(WasmReader& reader) {
    uint32_t n = 0;
    if (!reader.U32(&n)) return CutOff("table");
    if (n > 1) return TooMany("tables", n, 1);
    if (n == 0) return Status();
    uint8_t type = 0, flags = 0;
    uint32_t min = 0;
    if (!reader.Byte(&type)) return CutOff("table");
    if (type != 0x70) return Refuse("its table does not hold plain functions");
    if (!reader.Byte(&flags) || !reader.U32(&min)) return CutOff("table");
    if (flags > 1) return Refuse("its table is neither 32-bit nor unshared");
    if (min > kMaxTableElements) return TooMany("table elements", min, kMaxTableElements);
    return Status();
  }

  Status Memories(WasmReader& reader) {
    if (!reader.U32(&memories_)) return CutOff("memory");
    if (memories_ != 1) return TooMany("memories", memories_, 1);
    uint8_t flags = 0;
    uint32_t min = 0;
    if (!reader.Byte(&flags)) return CutOff("memory");
    if (flags & 2) return Refuse("its memory is shared; a policy's memory is its own");
    if (flags & 4) return Refuse("its memory is 64-bit; ABI 1 is 32-bit");
    if (flags > 1) return Refuse("its memory has pages of its own size");
    if (!reader.U32(&min)) return CutOff("memory");
    if (min * kPage > limits_.memory_bytes)
      return Refuse("it starts with " + std::to_string(min * kPage) + " bytes of memory; at most " +
                        std::to_string(limits_.memory_bytes) + " are allowed",
                    "raise limits.memory_bytes, or compile it with less --initialMemory");
    return Status();
  }

  Status Exports(WasmReader& reader) {
    return Each(reader, "export", "exports", kMaxExports, [&](uint32_t) -> Status {
      Export e;
      if (!reader.Sized(&e.name) || !reader.Byte(&e.kind) || !reader.U32(&e.index)) return CutOff("export");
      exports_.push_back(e);
      return Status();
    });
  }

  Status Bodies(WasmReader& reader) {
    return Each(reader, "code", "bodies", kMaxFunctions, [&](uint32_t i) -> Status {
      std::string_view body;
      if (!reader.Sized(&body)) return CutOff("code");
      if (body.size() > kMaxBodyBytes)
        return Refuse("its function " + std::to_string(i) + " has " + std::to_string(body.size()) +
                      " bytes of code; at most " + std::to_string(kMaxBodyBytes) + " are accepted");
      WasmReader locals(body);
      uint32_t groups = 0;
      uint64_t total = 0;
      if (!locals.U32(&groups)) return CutOff("code");
      for (uint32_t g = 0; g < groups; ++g) {
        uint32_t count = 0;
        uint8_t type = 0;
        if (!locals.U32(&count) || !locals.Byte(&type)) return CutOff("code");
        total += count;
        if (total > kMaxLocals) return TooMany("locals in one function", total, kMaxLocals);
      }
      return Status();
    });
  }

  Status CheckExports() {
    auto find = [&](std::string_view name) {
      return std::find_if(exports_.begin(), exports_.end(), [&](const Export& e) { return e.name == name; });
    };
    auto marker = find("dvdi_abi_1");
    if (marker == exports_.end() || (marker->kind != kFunc && marker->kind != kGlobalKind))
      return Refuse("it does not export dvdi_abi_1 as a global or function: this engine speaks ABI 1",
                    "build it against ABI 1 (docs/abi.md)");
    auto memory = find("memory");
    if (memory == exports_.end() || memory->kind != kMemoryKind)
      return Refuse("it does not export its memory as \"memory\"");
    DVDI_RETURN_IF_ERROR(CheckFunction("dvdi_alloc", find("dvdi_alloc"), kAllocType));
    for (const char* name : kOperations)
      DVDI_RETURN_IF_ERROR(CheckFunction(name, find(name), kOperationType));
    return Status();
  }

  template <class Iterator>
  Status CheckFunction(const std::string& name, Iterator it, const FunctionType& want) {
    if (it == exports_.end() || it->kind != kFunc)
      return Refuse("it does not export the function " + name + " " + ToText(want));
    if (it->index >= functions_.size()) return Refuse("its export " + name + " names no function");
    const FunctionType& type = types_[functions_[it->index]];
    if (type != want)
      return Refuse("its export " + name + " is " + ToText(type) + "; it must be " + ToText(want));
    return Status();
  }

  Status CheckManifest() {
    const std::string hint = "build it with dvdi-policy build, which writes the manifest";
    if (!has_manifest_) return Refuse("it has no custom section dvdi.manifest", hint);
    if (manifest_text_.size() > kMaxManifestBytes)
      return Refuse("its manifest has more than " + std::to_string(kMaxManifestBytes) + " bytes", hint);
    if (!IsValidUtf8(manifest_text_)) return Refuse("its manifest is not UTF-8", hint);
    auto json = ParseJson(manifest_text_, "its manifest", 8);
    if (!json.ok()) return Refuse(json.status().message(), hint);
    if (!json->is_object()) return Refuse("its manifest is not a JSON object", hint);
    manifest_.name = GetString(*json, "name");
    manifest_.version = GetString(*json, "version");
    manifest_.description = OneLine(GetString(*json, "description"));
    const int64_t abi = GetInt(*json, "abi", -1);
    auto plain = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
             c == '_' || c == '.';
    };
    if (manifest_.name.empty() || manifest_.name.size() > 64 ||
        !std::all_of(manifest_.name.begin(), manifest_.name.end(), plain))
      return Refuse("its manifest's name " + Quote(manifest_.name) +
                        " is not 1 to 64 letters, digits, \"-\", \"_\" or \".\"",
                    hint);
    if (!ParseSemVer(manifest_.version))
      return Refuse("its manifest's version " + Quote(manifest_.version) + " is not three numbers like 1.2.3",
                    hint);
    if (abi != 1)
      return Refuse("its manifest's abi is " + (abi < 0 ? std::string("missing") : std::to_string(abi)) +
                    "; this engine speaks 1");
    manifest_.abi = 1;
    const Json& imports = GetMember(*json, "imports");
    if (!imports.is_array()) return Refuse("its manifest has no list \"imports\"", hint);
    const auto& offered = OfferedImports();
    for (const Json& item : imports) {
      std::string name = item.is_string() ? item.get<std::string>() : "";
      if (!std::binary_search(offered.begin(), offered.end(), name))
        return Refuse("its manifest asks for the import " + Quote(item.is_string() ? name : Dump(item)) +
                      "; offered are " + Join(offered));
      manifest_.imports.push_back(std::move(name));
    }
    std::sort(manifest_.imports.begin(), manifest_.imports.end());
    std::sort(imports_.begin(), imports_.end());
    imports_.erase(std::unique(imports_.begin(), imports_.end()), imports_.end());
    if (manifest_.imports != imports_)
      return Refuse("its manifest names the imports " + Join(manifest_.imports) + ", its code imports " +
                        Join(imports_),
                    hint);
    return Status();
  }

  static Status TooMany(const char* what, uint64_t n, uint64_t max) {
    return Refuse("it has " + std::to_string(n) + " " + what + "; at most " + std::to_string(max) +
                  " are accepted");
  }

  struct Export {
    std::string_view name;
    uint8_t kind = 0;
    uint32_t index = 0;
  };

  const PolicyLimits& limits_;
  std::array<bool, kDataCount + 1> seen_ = {};
  std::vector<FunctionType> types_;
  std::vector<uint32_t> functions_;  // the type of each function, imported ones first
  std::vector<std::string> imports_;
  std::vector<Export> exports_;
  uint32_t memories_ = 0;
  bool has_manifest_ = false;
  std::string_view manifest_text_;
  PolicyManifest manifest_;
};

}  // namespace

const std::vector<std::string>& OfferedImports() {
  static const auto* names =
      new std::vector<std::string>{"log", "now", "plugin_call", "query", "random", "sleep", "stage"};
  return *names;
}

Result<PolicyManifest> InspectBlob(std::string_view blob, const PolicyLimits& limits) {
  try {
    return Inspector(limits).Run(blob);
  } catch (const std::exception& e) {  // allocation: the sizes come from outside
    return Status(Code::kInternal, std::string("cannot inspect the policy blob: ") + e.what());
  }
}

}  // namespace dvdi
