// Keys and signatures as the stock minisign program makes them.
#include "policy/signature.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "policy/test_blobs.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

bool Minisign(std::vector<std::string> arguments) {
  std::vector<char*> argv;
  arguments.insert(arguments.begin(), "minisign");
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  for (int fd : {0, 1, 2}) posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0);
  pid_t pid = 0;
  const int spawned = ::posix_spawnp(&pid, "minisign", &quiet, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&quiet);
  int status = -1;
  if (spawned != 0) return false;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

class SignatureTest : public testing::Test {
 protected:
  SignatureTest() {
    char name[] = "/tmp/dvdi-signature-test-XXXXXX";
    root_ = ::mkdtemp(name);
  }
  ~SignatureTest() override { fs::remove_all(root_); }
  void SetUp() override {
    if (!Minisign({"-v"})) GTEST_SKIP() << "there is no minisign program";
    for (const char* name : {"one", "two"})
      ASSERT_TRUE(Minisign({"-G", "-W", "-p", Path(name) + ".pub", "-s", Path(name) + ".key"}));
    std::ofstream(Path("blob"), std::ios::binary) << blob_;
  }
  std::string Path(const std::string& name) const { return root_ + "/" + name; }
  MinisignKey Key(const std::string& name) {
    auto key = ParseMinisignKey(FileBytes(Path(name) + ".pub"), name);
    EXPECT_TRUE(key.ok()) << key.status().message();
    return *key;
  }
  // The text of a signature of the blob by that key.
  std::string Sign(const std::string& key, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"-S",        "-s", Path(key) + ".key", "-m", Path("blob"), "-x",
                                          Path("sig"), "-t", "house\t1.0.0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    EXPECT_TRUE(Minisign(arguments));
    return FileBytes(Path("sig"));
  }
  Status Verify(const std::string& signature, const std::vector<MinisignKey>& keys) {
    auto s = ParseMinisignSignature(signature, "blob.minisig");
    return s.ok() ? VerifyMinisign(blob_, *s, keys) : s.status();
  }

  std::string root_, blob_ = std::string("\0asm and more", 13);
};

TEST_F(SignatureTest, BothKindsOfTheStockProgram) {
  for (const char* kind : {"-H", "-l"}) {
    const std::string text = Sign("one", {kind});
    auto s = ParseMinisignSignature(text, "x");
    ASSERT_TRUE(s.ok()) << s.status().message();
    EXPECT_EQ(s->hashed, std::string(kind) == "-H");
    EXPECT_EQ(s->trusted_comment, "house\t1.0.0");
    EXPECT_TRUE(Verify(text, {Key("one")}).ok()) << Verify(text, {Key("one")}).message();
  }
}

TEST_F(SignatureTest, OneOfSeveralKeysIsEnough) {
  const std::string text = Sign("two");
  EXPECT_TRUE(Verify(text, {Key("one"), Key("two")}).ok());
  Status s = Verify(text, {Key("one")});
  EXPECT_EQ(s.code(), Code::kRefused);
  EXPECT_HAS(s.message(), "signed by the key " + KeyIdText(Key("two").id));
  EXPECT_HAS(s.message(), KeyIdText(Key("one").id));
  EXPECT_HAS(Verify(text, {}).message(), "(none)");
  // An ID is no proof: another key under it.
  MinisignKey forged = Key("one");
  forged.id = Key("two").id;
  EXPECT_HAS(Verify(text, {forged}).message(), "is not what the key");
  EXPECT_TRUE(Verify(text, {forged, Key("two")}).ok());
}

TEST_F(SignatureTest, NothingMayBeChanged) {
  for (const char* kind : {"-H", "-l"}) {
    const std::string text = Sign("one", {kind}), was = blob_;
    blob_.back() ^= 1;
    EXPECT_HAS(Verify(text, {Key("one")}).message(), "the blob or its signature was changed");
    blob_ = was;
    std::string changed = text;
    changed.replace(changed.find("1.0.0"), 5, "9.9.9");
    EXPECT_HAS(Verify(changed, {Key("one")}).message(), "trusted comment of its signature was changed");
    changed = text;
    const size_t line = changed.find('\n') + 1;
    changed[line + 40] = changed[line + 40] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(Verify(changed, {Key("one")}).ok());
    // The other kind's letters over this one's signature.
    changed = text;
    changed.replace(line, 2, kind == std::string("-H") ? "RW" : "RU");
    EXPECT_FALSE(Verify(changed, {Key("one")}).ok());
  }
}

TEST_F(SignatureTest, WhatIsNoSignature) {
  const std::string text = Sign("one");
  for (const std::string& bad : {std::string(), std::string("x"), text.substr(0, text.size() / 2),
                                 text + "more\n", "\n" + text, std::string(1 << 20, 'A')})
    EXPECT_EQ(Verify(bad, {Key("one")}).code(), Code::kInvalid) << bad.substr(0, 80);
  // Each line in turn: its comment's first word, its letters, its length.
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 4u);
  const std::pair<size_t, std::string> kWrong[] = {{0, "x" + lines[0]},
                                                   {1, lines[1] + "AAAA"},
                                                   {1, lines[1].substr(4)},
                                                   {1, "AA" + lines[1].substr(2)},
                                                   {1, "RA" + lines[1].substr(2)},
                                                   {2, "x" + lines[2]},
                                                   {2, lines[2] + std::string(9000, 'c')},
                                                   {2, lines[2] + std::string(1, '\0')},
                                                   {2, lines[2] + "\x1b[2J"},
                                                   {2, lines[2] + "\x7f"},
                                                   {3, lines[3] + "AAAA"},
                                                   {3, "?" + lines[3].substr(1)}};
  for (const auto& [at, line] : kWrong) {
    auto changed = lines;
    changed[at] = line;
    const std::string all = changed[0] + "\n" + changed[1] + "\n" + changed[2] + "\n" + changed[3] + "\n";
    EXPECT_EQ(Verify(all, {Key("one")}).code(), Code::kInvalid) << at << ": " << line.substr(0, 80);
  }
  // As an editor of Windows saves it, and with empty lines at its end.
  const std::string windows =
      lines[0] + "\r\n" + lines[1] + "\r\n" + lines[2] + "\r\n" + lines[3] + "\r\n\n\n";
  EXPECT_TRUE(Verify(windows, {Key("one")}).ok()) << Verify(windows, {Key("one")}).message();
  std::string odd = text;
  odd.replace(odd.find("trusted comment: ", odd.find('\n')) + 17, 1, "\x9a");
  EXPECT_EQ(Verify(odd, {Key("one")}).code(), Code::kInvalid);
}

TEST_F(SignatureTest, KeysAsFilesAndAsLines) {
  const std::string file = FileBytes(Path("one.pub")), line = file.substr(file.find('\n') + 1);
  for (const std::string& text : {file, line, line.substr(0, 56)}) {
    auto key = ParseMinisignKey(text, "k");
    ASSERT_TRUE(key.ok()) << key.status().message();
    // The stock program leaves leading zeros out.
    const std::string id = KeyIdText(key->id);
    EXPECT_HAS(file, id.substr(id.find_first_not_of('0')));
  }
  for (const std::string& bad :
       {std::string(), std::string("RWQ"), line + line, line.substr(0, 55), FileBytes(Path("one.key")),
        "x\n" + line, "AA" + line.substr(2), "RA" + line.substr(2)}) {
    auto key = ParseMinisignKey(bad, "the third of policies.keys");
    ASSERT_FALSE(key.ok()) << bad;
    EXPECT_HAS(key.status().message(), "the third of policies.keys is no minisign public key");
  }
}

}  // namespace
}  // namespace dvdi
