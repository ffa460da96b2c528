#include "policy/test_blobs.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "sys/sys.h"

namespace dvdi {
namespace {

std::string Sized(const std::string& bytes) { return Leb(bytes.size()) + bytes; }

std::string Section(char id, const std::string& content) { return id + Sized(content); }

// i32.const and i64.const take signed numbers.
std::string SignedLeb(int64_t n) {
  std::string out;
  for (;;) {
    const auto b = static_cast<char>(n & 0x7F);
    n >>= 7;
    const bool sign = (b & 0x40) != 0;
    if ((n == 0 && !sign) || (n == -1 && sign)) return out + b;
    out += static_cast<char>(b | 0x80);
  }
}

}  // namespace

std::string Leb(uint64_t n) {
  std::string out;
  do {
    const auto b = static_cast<char>(n & 0x7F);
    n >>= 7;
    out += static_cast<char>(n != 0 ? b | 0x80 : b);
  } while (n != 0);
  return out;
}

std::string WithSection(std::string wasm, const std::string& name, const std::string& content) {
  return std::move(wasm) + Section(0, Sized(name) + content);
}

std::string Manifest(const std::string& imports, const std::string& version, const std::string& name) {
  return R"({"name":")" + name + R"(","version":")" + version +
         R"(","abi":1,"description":"for tests","imports":)" + imports + "}";
}

std::string FileBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::string ReadFixture(const std::string& name) {
  return FileBytes(std::string(DVDI_POLICY_FIXTURES) + "/" + name);
}

std::string HostileBlob(const std::string& version) {
  return WithSection(ReadFixture("hostile.wasm"), "dvdi.manifest",
                     Manifest(R"(["plugin_call","log"])", version, "hostile"));
}

std::string ScriptBlob(const ScriptSteps& parse, const ScriptSteps& prepare, const std::string& version,
                       const std::string& name) {
  std::vector<std::pair<int, std::string>> data = {{0, R"({"ok":{}})"},
                                                   {32, R"({"ok":{"checks":3}})"},
                                                   {64, "\xFF\xFE\xFD"},
                                                   {96, std::string("\6\0\0\0b\0a\0d\0", 10)},
                                                   {128, std::string("\x8\0\0\0a\0.\0t\0s\0", 12)}};
  int at = 65536;
  for (const ScriptSteps* steps : {&parse, &prepare}) {
    std::string bytes;
    for (const auto& [letter, payload] : *steps) {
      const size_t n = payload.size();
      bytes += letter;
      for (int shift : {0, 8, 16, 24}) bytes += static_cast<char>(n >> shift & 0xFF);
      bytes += payload;
    }
    data.emplace_back(at, bytes);
    at += 16384;
  }
  std::string section = Leb(data.size());
  for (const auto& [offset, bytes] : data)
    section += std::string("\x00\x41", 2) + SignedLeb(offset) + "\x0B" + Sized(bytes);
  return WithSection(ReadFixture("script.wasm") + Section(11, section), "dvdi.manifest",
                     Manifest(R"(["log","plugin_call","stage","query","sleep"])", version, name));
}

BlobBuilder::BlobBuilder() {
  // Functions: 0 dvdi_alloc, 1 an operation, 2 canary, 3 configure (behind the imports).
  exports = {{"memory", std::string("\x02\x00", 2)},
             {"dvdi_abi_1", std::string("\x03\x00", 2)},
             {"dvdi_alloc", "f0"},
             {"parse", "f1"},
             {"prepare", "f1"},
             {"cleanup", "f1"},
             {"recover", "f1"},
             {"canary", "f2"},
             {"configure", "f3"}};
}

void BlobBuilder::Drop(const std::string& export_name) {
  exports.erase(
      std::remove_if(exports.begin(), exports.end(), [&](const auto& e) { return e.first == export_name; }),
      exports.end());
}

std::string BlobBuilder::Build() const {
  const std::string ok = R"({"ok":{}})";
  const uint32_t at = 16, canary_at = at + static_cast<uint32_t>(ok.size()),
                 configure_at = canary_at + static_cast<uint32_t>(canary_answer.size());
  auto answer = [](uint32_t where, const std::string& text) {
    const uint64_t packed = uint64_t{where} << 32 | text.size();
    return Sized(std::string("\x00\x42", 2) + SignedLeb(static_cast<int64_t>(packed)) + "\x0B");
  };
  std::string out("\0asm\1\0\0\0", 8);
  // Types: 0 (i32) -> i32, 1 (i32, i32) -> i64, 2 abort, 3 () -> ().
  out += Section(1, std::string("\x04"
                                "\x60\x01\x7F\x01\x7F"
                                "\x60\x02\x7F\x7F\x01\x7E"
                                "\x60\x04\x7F\x7F\x7F\x7F\x00"
                                "\x60\x00\x00",
                                1 + 5 + 6 + 7 + 3));
  if (!imports.empty()) {
    std::string content = Leb(imports.size());
    for (const Import& i : imports) content += Sized(i.module) + Sized(i.name) + i.descriptor;
    out += Section(2, content);
  }
  size_t imported = 0;
  for (const Import& i : imports) imported += i.descriptor[0] == 0;
  const bool more = !extra_body.empty();
  out += Section(3, Leb(more ? 5 : 4) + std::string("\x00\x01\x01\x01", 4) + (more ? "\x03" : ""));
  if (!table.empty()) out += Section(4, table);
  if (!memory.empty()) out += Section(5, memory);
  out += Section(6, std::string("\x01\x7F\x00\x41\x01\x0B", 6));
  std::string content = Leb(exports.size());
  for (const auto& [name, what] : exports) {
    content += Sized(name);
    if (what[0] == 'f')
      content += '\0' + Leb(static_cast<uint64_t>(what[1] - '0') + imported);
    else
      content += what;
  }
  out += Section(7, content);
  out += extra;
  // dvdi_alloc answers 1024, always: enough for what these blobs are asked.
  content = Leb(more ? 5 : 4) + Sized(std::string("\x00\x41\x80\x08\x0B", 5)) + answer(at, ok) +
            answer(canary_at, canary_answer) + answer(configure_at, configure_answer);
  if (more) content += Sized(extra_body);
  out += Section(10, content);
  const std::string data = ok + canary_answer + configure_answer;
  out += Section(11, std::string("\x01\x00\x41", 3) + SignedLeb(data_offset) + "\x0B" + Sized(data));
  if (has_manifest) out = WithSection(std::move(out), "dvdi.manifest", manifest);
  return out;
}

}  // namespace dvdi
