// What becomes of a blob on a node. The built-in blob is that of revision_test.cc.
#include "policy/life.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <filesystem>

#include "base/text.h"
#include "policy/test_blobs.h"

namespace dvdi {
namespace {

namespace fs = std::filesystem;

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

std::string Blob(const std::string& version, const std::string& name = "house") {
  BlobBuilder b;
  b.manifest = Manifest("[]", version, name);
  return b.Build();
}

class LifeTest : public testing::Test {
 protected:
  LifeTest() {
    char name[] = "/tmp/dvdi-life-test-XXXXXX";
    root_ = ::mkdtemp(name);
    auto runtime = PolicyRuntime::Create(SystemEnv(), PolicyLimits(), "");
    runtime_ = std::move(runtime.value());
    selector_ =
        std::make_unique<PolicySelector>(SystemEnv(), runtime_.get(), root_ + "/policy", Json::object());
    life_ = std::make_unique<PolicyLife>(selector_.get(), PolicyLimits());
    anybody_.unsigned_allowed = true;
    crypto_sign_keypair(key_.key.data(), secret_.data());
    key_.id = {1, 2, 3, 4, 5, 6, 7, 8};
  }
  ~LifeTest() override { fs::remove_all(root_); }

  std::string Active() {
    auto r = selector_->Current();
    return r.ok() ? (*r)->module->manifest().name + " " + (*r)->module->manifest().version
                  : r.status().message();
  }
  std::string Sha(const std::string& version) { return Sha256Hex(Blob(version)); }
  void Install(const std::string& version) {
    auto r = life_->Install(Blob(version), true);
    ASSERT_TRUE(r.ok()) << r.status().message();
  }
  // A signature of the old kind, in minisign's format.
  std::string Sign(const std::string& bytes, const std::string& comment = "house") {
    unsigned char signature[64], global[64];
    auto data = [](const std::string& s) { return reinterpret_cast<const unsigned char*>(s.data()); };
    crypto_sign_detached(signature, nullptr, data(bytes), bytes.size(), secret_.data());
    const std::string first = std::string(reinterpret_cast<char*>(signature), 64);
    const std::string both = first + comment;
    crypto_sign_detached(global, nullptr, data(both), both.size(), secret_.data());
    auto base64 = [&](const std::string& text) {
      std::string out(sodium_base64_ENCODED_LEN(text.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
      sodium_bin2base64(out.data(), out.size(), data(text), text.size(), sodium_base64_VARIANT_ORIGINAL);
      out.pop_back();
      return out;
    };
    return "untrusted comment: x\n" +
           base64("Ed" + std::string(reinterpret_cast<char*>(key_.id.data()), 8) + first) +
           "\ntrusted comment: " + comment + "\n" + base64(std::string(reinterpret_cast<char*>(global), 64)) +
           "\n";
  }

  std::string root_;
  std::unique_ptr<PolicyRuntime> runtime_;
  std::unique_ptr<PolicySelector> selector_;
  std::unique_ptr<PolicyLife> life_;
  PolicyTrust anybody_;
  MinisignKey key_;
  std::array<unsigned char, 64> secret_;
};

TEST_F(LifeTest, OnlyWhatAnAllowedKeySignedIsTaken) {
  const PolicyTrust trust{{key_}, false};
  const std::string blob = Blob("1.0.0");
  auto r = life_->Check(blob, std::nullopt, trust, "");
  EXPECT_EQ(r.status().code(), Code::kRefused);
  EXPECT_HAS(r.status().message(), "is not signed");
  EXPECT_HAS(r.status().hint(), "FILE.minisig");
  r = life_->Check(blob, Sign(blob), trust, "");
  ASSERT_TRUE(r.ok()) << r.status().message();
  EXPECT_EQ(r->key_id, KeyIdText(key_.id));
  EXPECT_EQ(r->comment, "house");
  EXPECT_HAS(life_->Check(blob, Sign(Blob("1.0.1")), trust, "").status().message(), "was changed");
  EXPECT_HAS(life_->Check(blob, "nonsense", trust, "").status().message(), "is no minisign signature");
  EXPECT_HAS(life_->Check(blob, Sign(blob), PolicyTrust{{}, false}, "").status().message(), "(none)");
  // Of a stranger's blob nothing is read: it is no Wasm at all, and that is not what is said.
  EXPECT_HAS(life_->Check("no wasm", std::nullopt, trust, "").status().message(), "is not signed");
}

TEST_F(LifeTest, UnsignedIsAllowedOnlyWhereItIsSaid) {
  const std::string blob = Blob("1.0.0");
  EXPECT_TRUE(life_->Check(blob, std::nullopt, anybody_, "").ok());
  // A signature that is there must be right all the same.
  EXPECT_FALSE(life_->Check(blob, Sign(Blob("1.0.1")), PolicyTrust{{key_}, true}, "").ok());
  // Without a key nobody can say whether it is right.
  EXPECT_TRUE(life_->Check(blob, "nonsense", anybody_, "").ok());
}

TEST_F(LifeTest, KeysAreChangedOverTime) {
  MinisignKey fresh = key_;
  fresh.id = {9}, fresh.key[0] ^= 1;
  auto c = life_->Check(Blob("1.0.0"), Sign(Blob("1.0.0")), PolicyTrust{{fresh, key_}, false}, "");
  ASSERT_TRUE(c.ok()) << c.status().message();
  ASSERT_TRUE(life_->Activate(*c, false, "installed").ok());
  // The old key is gone: what it signed serves on, and cannot be made active again.
  EXPECT_EQ(Active(), "house 1.0.0");
  EXPECT_TRUE(life_->CheckKept(Sha("1.0.0"), PolicyTrust{{fresh, key_}, false}).ok());
  EXPECT_HAS(life_->CheckKept(Sha("1.0.0"), PolicyTrust{{fresh}, false}).status().message(),
             "which is not one that the settings allow");
  // What is inside the library needs nobody's word.
  EXPECT_TRUE(life_->CheckKept(Sha256Hex(BuiltinPolicy()), PolicyTrust{{fresh}, false}).ok());
}

TEST_F(LifeTest, AHashMayBePinned) {
  EXPECT_TRUE(life_->Check(Blob("1.0.0"), std::nullopt, anybody_, Sha("1.0.0")).ok());
  auto r = life_->Check(Blob("1.0.0"), std::nullopt, anybody_, Sha("1.0.1"));
  EXPECT_EQ(r.status().code(), Code::kRefused);
  EXPECT_HAS(r.status().message(), "SHA-256 is " + Sha("1.0.0"));
}

TEST_F(LifeTest, GoesBackStepByStep) {
  EXPECT_EQ(life_->GoBack("", false, "rolled-back", "").status().code(), Code::kNotFound);
  Install("1.0.0");
  Install("1.1.0");
  Install("1.2.0");
  ASSERT_TRUE(life_->GoBack("", false, "rolled-back", "it is slow").ok());
  EXPECT_EQ(Active(), "house 1.1.0");
  ASSERT_TRUE(life_->GoBack(Sha("1.1.0"), true, "taken-back", "it traps").ok());
  // Further back: who left 1.2.0 does not want it again.
  EXPECT_EQ(Active(), "house 1.0.0");
  EXPECT_EQ(life_->GoBack(Sha("1.1.0"), true, "taken-back", "").status().code(), Code::kRefused);
  EXPECT_TRUE(life_->State()->IsBarred(Sha("1.1.0")));
  EXPECT_EQ(life_->State()->watermark, "1.2.0");
  auto barred = life_->Install(Blob("1.1.0"), true);
  EXPECT_HAS(barred.status().message(), "is barred");
  ASSERT_TRUE(life_->Unbar(Sha("1.1.0")).ok());
  EXPECT_EQ(life_->Unbar(Sha("1.1.0")).code(), Code::kNotFound);
  EXPECT_TRUE(life_->Install(Blob("1.1.0"), true).ok());
  // Another process sees it.
  PolicySelector other(SystemEnv(), runtime_.get(), root_ + "/policy", Json::object());
  EXPECT_EQ((*other.Current())->module->manifest().version, "1.1.0");
  const Json history = selector_->folder().History();
  std::string events;
  for (const Json& e : history) events += GetString(e, "event") + " ";
  EXPECT_EQ(events, "installed installed installed rolled-back taken-back unbarred installed ");
  EXPECT_EQ(GetString(history[4], "why"), "it traps");
  EXPECT_EQ(GetString(history[4], "from"), Sha("1.1.0"));
}

// It is away from the active one that an operator wants, and a node whose policy fails.
TEST_F(LifeTest, WhatCannotDecideAnyMoreIsPassedOverOnTheWayBack) {
  for (const char* version : {"1.0.0", "1.1.0", "1.2.0", "1.3.0"}) Install(version);
  ASSERT_EQ(::unlink(selector_->folder().BlobPath(Sha("1.2.0")).c_str()), 0);
  ASSERT_EQ(::chmod(selector_->folder().BlobPath(Sha("1.1.0")).c_str(), 0666), 0);
  auto back = life_->GoBack("", false, "rolled-back", "");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(Active(), "house 1.0.0");
  ASSERT_EQ(back->passed_over.size(), 2u);
  EXPECT_EQ(GetString(back->passed_over[0], "sha256"), Sha("1.2.0"));
  EXPECT_EQ(GetString(back->passed_over[1], "sha256"), Sha("1.1.0"));
  EXPECT_HAS(GetString(back->passed_over[1], "why"), Sha("1.1.0"));
  const Json history = selector_->folder().History();
  EXPECT_EQ(GetMember(history.back(), "passed_over"), back->passed_over);
  // Where none can decide, the error is of the one that was asked for. The built-in one always can.
  Install("1.3.0");
  ASSERT_TRUE(life_->Bar(Sha256Hex(BuiltinPolicy()), "").ok());
  for (const std::string& sha256 : life_->State()->Earlier())
    ASSERT_EQ(::unlink(selector_->folder().BlobPath(sha256).c_str()), 0);
  const Status none = life_->GoBack("", false, "rolled-back", "").status();
  EXPECT_EQ(none.error_number(), ENOENT);
  EXPECT_HAS(none.message(), Sha("1.0.0"));
  EXPECT_EQ(Active(), "house 1.3.0");
}

// For want of a descriptor, or on a disk that fails for a moment, it would be left out for ever.
TEST_F(LifeTest, OneThatCannotBeReadNowIsNotPassedOver) {
  for (const char* version : {"1.0.0", "1.1.0", "1.2.0"}) Install(version);
  struct : Sys {
    std::string name;
    int error = 0;
    int OpenAt(int dirfd, const char* path, int flags, mode_t mode) override {
      return error != 0 && path == name ? -error : Sys::OpenAt(dirfd, path, flags, mode);
    }
  } sys;
  sys.name = Sha("1.1.0") + ".wasm";
  Env env = SystemEnv();
  env.sys = &sys;
  PolicySelector selector(env, runtime_.get(), root_ + "/policy", Json::object());
  const PolicyLife life(&selector, PolicyLimits());
  for (int error : {EIO, EMFILE, ENFILE, ENOMEM}) {
    sys.error = error;
    EXPECT_EQ(life.GoBack("", false, "rolled-back", "").status().error_number(), error);
    EXPECT_EQ(Active(), "house 1.2.0");
  }
  sys.error = 0;
  auto back = life.GoBack("", false, "rolled-back", "");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_TRUE(back->passed_over.empty());
  EXPECT_EQ(Active(), "house 1.1.0");
}

// A blob that is there already, unsigned, or signed by a key that is no more allowed, or damaged.
TEST_F(LifeTest, ABlobIsKeptWithTheSignatureItCameWithLast) {
  const PolicyFolder& folder = selector_->folder();
  const std::string blob = Blob("1.0.0"), sha256 = Sha("1.0.0");
  auto writer = folder.Write();
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  auto put = [&](const std::string& signature) { return writer->PutBlob(sha256, blob, signature).ok(); };
  ASSERT_TRUE(put(""));
  EXPECT_FALSE(folder.ReadSignature(sha256)->has_value());
  for (const char* signature : {"one", "two"}) {
    ASSERT_TRUE(put(signature));
    EXPECT_EQ(*folder.ReadSignature(sha256), signature);
  }
  ASSERT_TRUE(put(""));
  EXPECT_EQ(*folder.ReadSignature(sha256), "two") << "who brings none takes none away";
  std::filesystem::resize_file(folder.BlobPath(sha256), 10);
  ASSERT_TRUE(put("two"));
  auto read = folder.ReadBlob(sha256);
  EXPECT_TRUE(read.ok() && *read == blob) << read.status().message();
}

TEST_F(LifeTest, EachRollbackGoesFurtherBack) {
  for (const char* version : {"1.0.0", "1.1.0", "1.2.0"}) Install(version);
  for (const char* expected : {"house 1.1.0", "house 1.0.0", "builtin 0.9.0"}) {
    ASSERT_TRUE(life_->GoBack("", false, "rolled-back", "").ok());
    EXPECT_EQ(Active(), expected);
  }
  const Status end = life_->GoBack("", false, "rolled-back", "").status();
  EXPECT_EQ(end.code(), Code::kNotFound);
  EXPECT_HAS(end.hint(), "dvdi policy activate");
  EXPECT_EQ(Active(), "builtin 0.9.0");
  // One that was left is still kept, and what is active then has a way back.
  auto again = life_->CheckKept(Sha("1.2.0"), anybody_);
  ASSERT_TRUE(again.ok()) << again.status().message();
  ASSERT_TRUE(life_->Activate(*again, false, "activated").ok());
  ASSERT_TRUE(life_->GoBack("", false, "rolled-back", "").ok());
  EXPECT_EQ(Active(), "builtin 0.9.0");
}

TEST_F(LifeTest, TheBuiltInIsAlwaysThere) {
  const std::string builtin = Sha256Hex(BuiltinPolicy());
  auto listed = [&] {
    auto kept = life_->Kept();
    return std::count_if(kept->begin(), kept->end(),
                         [&](const KeptPolicy& k) { return k.entry.sha256 == builtin; });
  };
  EXPECT_EQ(listed(), 1) << "before anything was installed";
  // Long out of reach of a rollback, and not kept in the folder.
  for (int i = 0; i < 40; ++i) Install("1.0." + std::to_string(i));
  ASSERT_FALSE(fs::exists(selector_->folder().BlobPath(builtin)));
  EXPECT_EQ(listed(), 1);
  for (const char* name : {"built-in", "builtin", "0.9.0"}) {
    auto found = life_->Find(name);
    ASSERT_TRUE(found.ok()) << name;
    EXPECT_EQ(*found, builtin);
  }
  auto c = life_->CheckKept(builtin, PolicyTrust{{key_}, false});
  ASSERT_TRUE(c.ok()) << c.status().message();
  EXPECT_EQ(life_->Activate(*c, false, "activated").status().code(), Code::kRefused) << "it is older";
  ASSERT_TRUE(life_->Activate(*c, true, "activated").ok());
  EXPECT_EQ(Active(), "builtin 0.9.0");
  EXPECT_EQ(listed(), 1) << "kept in the folder, too";
  ASSERT_TRUE(life_->GoBack("", false, "rolled-back", "").ok());
  EXPECT_EQ(Active(), "house 1.0.39");
}

TEST_F(LifeTest, OneThatWasActiveBeforeAndIsAgainIsNoDeadEnd) {
  Install("1.0.0");
  Install("1.1.0");
  Install("1.0.0");
  for (const char* expected : {"house 1.1.0", "house 1.0.0", "builtin 0.9.0"}) {
    ASSERT_TRUE(life_->GoBack("", false, "rolled-back", "").ok());
    EXPECT_EQ(Active(), expected);
  }
}

TEST_F(LifeTest, TheBuiltInCanBeGoneBackTo) {
  Install("1.0.0");
  ASSERT_TRUE(life_->Bar(Sha("1.0.0"), "bad").ok());
  EXPECT_EQ(Active(), "builtin 0.9.0");
  // Nothing else is left.
  EXPECT_EQ(life_->Bar(Sha256Hex(BuiltinPolicy()), "").code(), Code::kNotFound);
  EXPECT_EQ(Active(), "builtin 0.9.0");
}

TEST_F(LifeTest, BarringOfWhatIsNotActive) {
  EXPECT_EQ(life_->Bar(Sha("1.0.0"), "").code(), Code::kRefused);
  Install("1.0.0");
  ASSERT_TRUE(life_->Bar(Sha("2.0.0"), "heard bad things").ok());
  EXPECT_EQ(Active(), "house 1.0.0");
  EXPECT_HAS(life_->Install(Blob("2.0.0"), false).status().message(), "is barred");
}

TEST_F(LifeTest, KeptIsNotActive) {
  Install("1.0.0");
  auto c = life_->Check(Blob("2.0.0"), std::nullopt, anybody_, "");
  ASSERT_TRUE(c.ok());
  ASSERT_TRUE(life_->Keep(*c).ok());
  EXPECT_EQ(Active(), "house 1.0.0");
  for (const std::string& name : {std::string("2.0.0"), std::string("house@2.0.0"), std::string("house"),
                                  Sha("2.0.0"), Sha("2.0.0").substr(0, 8)}) {
    auto found = life_->Find(name);
    ASSERT_TRUE(found.ok()) << name << found.status().message();
    EXPECT_EQ(*found, Sha("2.0.0"));
  }
  EXPECT_EQ(life_->Find("3.0.0").status().code(), Code::kNotFound);
  auto again = life_->CheckKept(Sha("2.0.0"), anybody_);
  ASSERT_TRUE(again.ok());
  ASSERT_TRUE(life_->Activate(*again, false, "activated").ok());
  EXPECT_EQ(Active(), "house 2.0.0");
}

TEST_F(LifeTest, AShadowStandsBesideTheActiveOne) {
  ShadowState bounds{Sha("2.0.0"), 1, 0, 10};
  EXPECT_EQ(life_->SetShadow(bounds, "", "").code(), Code::kRefused);  // beside the built-in
  Install("1.0.0");
  auto c = life_->Check(Blob("2.0.0"), std::nullopt, anybody_, "");
  ASSERT_TRUE(life_->Keep(*c).ok());
  EXPECT_EQ(Active(), "house 1.0.0");
  EXPECT_EQ(selector_->Shadow(), nullptr);
  ASSERT_TRUE(life_->SetShadow(bounds, "", "").ok());
  EXPECT_EQ(Active(), "house 1.0.0");
  auto shadow = selector_->Shadow();
  ASSERT_NE(shadow, nullptr);
  EXPECT_EQ(shadow->revision->module->manifest().version, "2.0.0");
  EXPECT_EQ(shadow->bounds.operations, 10);
  EXPECT_EQ(life_->SetShadow(std::nullopt, Sha("9.0.0"), "").code(), Code::kNotFound);
  // It ends where it becomes the active one, or is barred.
  ASSERT_TRUE(life_->Activate(*c, false, "activated").ok());
  EXPECT_EQ(selector_->Shadow(), nullptr);
  EXPECT_EQ(life_->SetShadow(bounds, "", "").code(), Code::kRefused);
  ASSERT_TRUE(life_->GoBack("", false, "rolled-back", "").ok());
  ASSERT_TRUE(life_->SetShadow(bounds, "", "").ok());
  ASSERT_TRUE(life_->Bar(Sha("2.0.0"), "").ok());
  EXPECT_EQ(Active(), "house 1.0.0");
  EXPECT_EQ(selector_->Shadow(), nullptr);
}

TEST_F(LifeTest, TheFolderDoesNotGrowWithoutEnd) {
  for (int i = 0; i < 40; ++i) Install("1.0." + std::to_string(i));
  EXPECT_LT(selector_->folder().Blobs()->size(), 30u);
  EXPECT_EQ(Active(), "house 1.0.39");
  auto back = life_->GoBack("", false, "rolled-back", "");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(Active(), "house 1.0.38");
}

TEST_F(LifeTest, WhatAnOlderEngineWroteIsRead) {
  auto state = ParsePolicyState(R"({"active":")" + std::string(64, 'a') +
                                R"(","version":"1.0.0","watermark":"1.0.0","barred":[],"installed_ms":1})");
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_TRUE(state->previous.empty());
  EXPECT_FALSE(state->shadow);
  EXPECT_TRUE(state->Earlier().empty());
  state->shadow = ShadowState{std::string(64, 'b'), 1, 2, 3};
  state->previous = {std::string(64, 'c')};
  auto again = ParsePolicyState(ToText(*state));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->shadow->until_ms, 2);
  EXPECT_EQ(again->previous, state->previous);
}

// The built-in one decided before the first of a node, and before no other.
TEST_F(LifeTest, ADamagedStateMakesTheBuiltInOneNothingToGoBackTo) {
  Install("1.0.0");
  Install("1.1.0");
  std::filesystem::resize_file(root_ + "/policy/state.json", 10);
  ASSERT_FALSE(selector_->Current().ok());
  Install("1.0.0");
  EXPECT_EQ(Active(), "house 1.0.0");
  EXPECT_EQ(life_->GoBack("", false, "rolled-back", "").status().code(), Code::kNotFound);
  EXPECT_EQ(Active(), "house 1.0.0");
  Install("1.1.0");
  ASSERT_TRUE(life_->GoBack("", false, "rolled-back", "").ok());
  EXPECT_EQ(Active(), "house 1.0.0");
}

// However much is said of why, what happened before stays known.
TEST_F(LifeTest, ALongReasonCostsNoHistory) {
  Install("1.0.0");
  for (int i = 0; i < 3; ++i) {
    Install("1.1.0");
    auto back = life_->GoBack("", false, "rolled-back", std::string(500'000, 'x') + "\n");
    ASSERT_TRUE(back.ok()) << back.status().message();
  }
  const Json history = selector_->folder().History();
  ASSERT_EQ(history.size(), 7u);
  EXPECT_TRUE(GetString(history[6], "why").starts_with("xxx"));
}

}  // namespace
}  // namespace dvdi
