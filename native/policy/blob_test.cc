#include "policy/blob.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "policy/test_blobs.h"

namespace dvdi {
namespace {

const std::string kFunc1("\x00\x01", 2);  // a function of type (i32, i32) -> i64

// The message of the refusal; "accepted" where there is none.
std::string Why(const std::string& blob, const PolicyLimits& limits = {}) {
  auto r = InspectBlob(blob, limits);
  if (r.ok()) return "accepted";
  EXPECT_EQ(r.status().code(), Code::kPolicy);
  EXPECT_EQ(r.status().message().find('\n'), std::string::npos);
  return r.status().message();
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Blob, AcceptsAGoodOne) {
  BlobBuilder b;
  b.imports = {
      {"dvdi", "log", kFunc1}, {"env", "abort", std::string("\x00\x02", 2)}, {"dvdi", "now", kFunc1}};
  b.manifest = Manifest(R"(["now","log"])", "1.20.3", "stock");
  auto r = InspectBlob(b.Build(), {});
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(r->name, "stock");
  EXPECT_EQ(r->version, "1.20.3");
  EXPECT_EQ(r->abi, 1);
  EXPECT_EQ(r->imports, (std::vector<std::string>{"log", "now"}));
}

TEST(Blob, IsNamedByItsSha256) {
  EXPECT_EQ(BlobSha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  for (size_t length : {0u, 1u, 55u, 56u, 63u, 64u, 65u, 4'095u, 200'001u}) {
    std::string bytes(length, '\0');
    for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<char>(i * 7);
    EXPECT_EQ(BlobSha256(bytes), Sha256Hex(bytes)) << length;
  }
}

TEST(Blob, OffersItsImportsSorted) {
  EXPECT_TRUE(std::is_sorted(OfferedImports().begin(), OfferedImports().end()));
  EXPECT_EQ(OfferedImports().size(), 7u);
}

TEST(Blob, RefusesWhatIsNoWasm) {
  EXPECT_HAS(Why(""), "not a WebAssembly module");
  EXPECT_HAS(Why("#!/bin/sh"), "not a WebAssembly module");
  EXPECT_HAS(Why(std::string("\0asm\x0d\0\1\0", 8)), "not a WebAssembly module");  // a component
  PolicyLimits small;
  small.blob_bytes = 20;
  EXPECT_HAS(Why(BlobBuilder().Build(), small), "at most 20 are accepted");
}

TEST(Blob, SurvivesEveryTruncation) {
  const std::string good = HostileBlob();
  ASSERT_GT(good.size(), 500u);
  for (size_t n = 0; n < good.size(); ++n) EXPECT_NE(Why(good.substr(0, n)), "accepted") << n;
}

TEST(Blob, SurvivesEveryChangedByte) {
  // Many of these are accepted here (a byte of code, of a name): wasmtime validates afterwards. None may
  // crash.
  const std::string good = HostileBlob();
  for (size_t i = 0; i < good.size(); ++i)
    for (unsigned char c : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
      std::string bad = good;
      bad[i] = static_cast<char>(c);
      Why(bad);
    }
}

TEST(Blob, RefusesUnknownImports) {
  BlobBuilder b;
  b.imports = {{"dvdi", "exec", kFunc1}};
  EXPECT_HAS(Why(b.Build()),
             R"(it imports "dvdi.exec"; offered are env.abort and, in module dvdi, log, now)");
  b.imports = {{"wasi_snapshot_preview1", "fd_write", kFunc1}};
  EXPECT_HAS(Why(b.Build()), "wasi_snapshot_preview1.fd_write");
  b.imports = {{"env", "log", kFunc1}};
  EXPECT_HAS(Why(b.Build()), "env.log");
  b.imports = {{"dvdi", "lo\x1B[2Jg", kFunc1}};
  EXPECT_EQ(Why(b.Build()).find('\x1B'), std::string::npos);
}

TEST(Blob, RefusesImportsOfAnotherTypeOrKind) {
  BlobBuilder b;
  b.imports = {{"dvdi", "log", std::string("\x00\x00", 2)}};
  EXPECT_HAS(Why(b.Build()), R"("dvdi.log" is (i32) -> (i32); it must be (i32, i32) -> (i64))");
  b.imports = {{"env", "abort", kFunc1}};
  EXPECT_HAS(Why(b.Build()), R"("env.abort" is (i32, i32) -> (i64))");
  b.imports = {{"dvdi", "log", std::string("\x00\x63", 2)}};
  EXPECT_HAS(Why(b.Build()), "has no type");
  b.imports = {{"env", "memory", std::string("\x02\x00\x01", 3)}};
  EXPECT_HAS(Why(b.Build()), "imports the memory");
  b.imports = {{"env", "table", std::string("\x01\x70\x00\x01", 4)}};
  EXPECT_HAS(Why(b.Build()), "no function");
  b.imports = {{"dvdi", "log", std::string("\x03\x7F\x00", 3)}};
  EXPECT_HAS(Why(b.Build()), "no function");
}

TEST(Blob, RefusesMissingOrWrongExports) {
  for (const char* name : {"configure", "parse", "prepare", "cleanup", "recover", "canary", "dvdi_alloc"}) {
    BlobBuilder b;
    b.Drop(name);
    EXPECT_HAS(Why(b.Build()), std::string("does not export the function ") + name);
    b.exports.push_back({name, std::string(name) == "dvdi_alloc" ? "f1" : "f0"});
    EXPECT_HAS(Why(b.Build()), std::string("its export ") + name + " is ");
    b.exports.back().second = std::string("\x03\x00", 2);
    EXPECT_HAS(Why(b.Build()), std::string("does not export the function ") + name);
    b.exports.back().second = std::string("\x00\x50", 2);
    EXPECT_HAS(Why(b.Build()), std::string("its export ") + name + " names no function");
  }
  BlobBuilder b;
  b.Drop("dvdi_abi_1");
  EXPECT_HAS(Why(b.Build()), "dvdi_abi_1");
  b.exports.push_back({"dvdi_abi_2", std::string("\x03\x00", 2)});
  EXPECT_HAS(Why(b.Build()), "speaks ABI 1");
  b.exports.back() = {"dvdi_abi_1", "f1"};  // a function will do
  EXPECT_EQ(Why(b.Build()), "accepted");
  b.Drop("memory");
  EXPECT_HAS(Why(b.Build()), "export its memory");
}

TEST(Blob, RefusesStartFunctions) {
  BlobBuilder b;
  b.extra_body = std::string("\x00\x0B", 2);
  b.extra = std::string("\x08\x01\x04", 3);
  EXPECT_HAS(Why(b.Build()), "start function");
}

TEST(Blob, RefusesOtherMemories) {
  BlobBuilder b;
  b.memory = "";
  EXPECT_HAS(Why(b.Build()), "no memory");
  b.memory = std::string("\x02\x00\x01\x00\x01", 5);
  EXPECT_HAS(Why(b.Build()), "2 memories; at most 1");
  b.memory = std::string("\x01\x03\x01\x02", 4);
  EXPECT_HAS(Why(b.Build()), "shared");
  b.memory = std::string("\x01\x04\x01", 3);
  EXPECT_HAS(Why(b.Build()), "64-bit");
  b.memory = std::string("\x01\x08\x01\x00", 4);
  EXPECT_HAS(Why(b.Build()), "pages of its own size");
  b.memory = std::string("\x01\x00\x81\x08", 4);  // 1025 pages
  EXPECT_HAS(Why(b.Build()), "67174400 bytes of memory; at most 67108864");
  b.memory = std::string("\x01\x00\xFF\xFF\xFF\xFF\x0F", 7);
  EXPECT_HAS(Why(b.Build()), "bytes of memory; at most");
}

TEST(Blob, BoundsWhatTheCompilerIsGiven) {
  BlobBuilder b;
  b.table = std::string("\x01\x70\x00\xFF\xFF\x3F", 6);
  EXPECT_HAS(Why(b.Build()), "table elements; at most");
  b.table = std::string("\x02\x70\x00\x01\x70\x00\x01", 7);
  EXPECT_HAS(Why(b.Build()), "2 tables");
  b.table = "";
  b.extra_body = std::string("\x01\xFF\xFF\xFF\xFF\x0F\x7F\x0B", 8);
  EXPECT_HAS(Why(b.Build()), "locals in one function; at most");
  b.extra_body = std::string("\x00", 1) + std::string(300 * 1024, '\x01') + "\x0B";
  EXPECT_HAS(Why(b.Build()), "bytes of code; at most");
}

TEST(Blob, RefusesSectionsThatComeTwice) {
  BlobBuilder b;
  b.extra = std::string("\x05\x03\x01\x00\x01", 5);
  EXPECT_HAS(Why(b.Build()), "comes twice");
  b.extra = std::string("\x0D\x01\x00", 3);
  EXPECT_HAS(Why(b.Build()), "section of kind 13");
}

TEST(Blob, RefusesWrongManifests) {
  auto with = [](const std::string& manifest) {
    BlobBuilder b;
    b.manifest = manifest;
    return Why(b.Build());
  };
  BlobBuilder none;
  none.has_manifest = false;
  EXPECT_HAS(Why(none.Build()), "no custom section dvdi.manifest");
  EXPECT_HAS(Why(WithSection(BlobBuilder().Build(), "dvdi.manifest", "{}")), "two dvdi.manifest");
  EXPECT_HAS(with("{"), "its manifest is not JSON");
  EXPECT_HAS(with("[]"), "not a JSON object");
  EXPECT_HAS(with("\"\xFF\""), "not UTF-8");
  EXPECT_HAS(with(std::string(70'000, ' ')), "more than 65536 bytes");
  EXPECT_HAS(with(std::string(20, '[') + std::string(20, ']')), "nested deeper");
  EXPECT_HAS(with(Manifest("[]", "1.0.0", "")), "manifest's name");
  EXPECT_HAS(with(Manifest("[]", "1.0.0", "a b")), "manifest's name");
  EXPECT_HAS(with(Manifest("[]", "1.0")), "three numbers");
  EXPECT_HAS(with(Manifest("{}")), "no list \"imports\"");
  EXPECT_HAS(with(Manifest(R"(["exec"])")), R"(asks for the import "exec")");
  EXPECT_HAS(with(Manifest("[1]")), "asks for the import");
  EXPECT_HAS(with(Manifest(R"(["log"])")), "names the imports log, its code imports none");
  EXPECT_HAS(with(R"({"name":"a","version":"1.0.0","abi":2,"imports":[]})"),
             "abi is 2; this engine speaks 1");
  EXPECT_HAS(with(R"({"name":"a","version":"1.0.0","imports":[]})"), "abi is missing");
}

TEST(SemVer, Parses) {
  EXPECT_EQ(ParseSemVer("1.20.3"), (SemVer{1, 20, 3}));
  EXPECT_EQ(ParseSemVer("0.0.0"), (SemVer{0, 0, 0}));
  EXPECT_EQ(ParseSemVer("999999999.0.1"), (SemVer{999'999'999, 0, 1}));
  for (const char* bad : {"", "1", "1.2", "1.2.", "1.2.3.4", "1.2.3-rc", "01.2.3", "1.2.x", "-1.2.3",
                          " 1.2.3", "1.2.3 ", "1..3", "9999999999.0.0"})
    EXPECT_FALSE(ParseSemVer(bad)) << bad;
  EXPECT_LT(*ParseSemVer("1.9.9"), *ParseSemVer("1.10.0"));
}

}  // namespace
}  // namespace dvdi
