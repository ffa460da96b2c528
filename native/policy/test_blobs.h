// Blobs for tests: built by hand where the bytes matter, from testdata/*.wat where the code does.
#ifndef DVDI_POLICY_TEST_BLOBS_H_
#define DVDI_POLICY_TEST_BLOBS_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "policy/runtime.h"
#include "sys/env.h"

namespace dvdi {

std::string Leb(uint64_t n);

// `wasm` with a custom section behind it.
std::string WithSection(std::string wasm, const std::string& name, const std::string& content);
// A manifest text; `imports` is JSON.
std::string Manifest(const std::string& imports, const std::string& version = "1.0.0",
                     const std::string& name = "test");
// testdata/hostile.wat with its manifest.
std::string HostileBlob(const std::string& version = "1.0.0");
// testdata/script.wat: a policy that follows these steps, each a letter with what belongs to it. Valid: `a`
// answers with a text, `c` calls plugins, `s` stages; the others are in script.wat.
using ScriptSteps = std::vector<std::pair<char, std::string>>;
std::string ScriptBlob(const ScriptSteps& parse, const ScriptSteps& prepare,
                       const std::string& version = "1.0.0", const std::string& name = "script");
// A file's bytes; "" where there is none.
std::string FileBytes(const std::string& path);
// A file of the folder that CMake compiled testdata to.
std::string ReadFixture(const std::string& name);

// A small module, valid unless told otherwise: every export answers {"ok":{}}, canary {"ok":{"checks":1}}.
struct BlobBuilder {
  struct Import {
    std::string module, name;
    std::string descriptor;  // kind and index or type, as bytes
  };
  std::vector<Import> imports;
  std::string memory = std::string("\x01\x00\x01", 3);       // content of the memory section
  std::string table;                                         // content of the table section
  std::vector<std::pair<std::string, std::string>> exports;  // name, kind and index as bytes
  std::string configure_answer = R"({"ok":{}})";
  std::string canary_answer = R"({"ok":{"checks":1}})";
  uint32_t data_offset = 16;
  std::string extra;       // sections as bytes, before the code section (start: "\x08…")
  std::string extra_body;  // a further function's body
  std::string manifest = Manifest("[]");
  bool has_manifest = true;

  BlobBuilder();
  void Drop(const std::string& export_name);
  std::string Build() const;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_TEST_BLOBS_H_
