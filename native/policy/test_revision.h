// What tests of revisions share.
#ifndef DVDI_POLICY_TEST_REVISION_H_
#define DVDI_POLICY_TEST_REVISION_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "policy/life.h"
#include "policy/revision.h"
#include "policy/state_file.h"
#include "policy/test_blobs.h"

namespace dvdi {

inline std::string Blob(const std::string& version, const std::string& name = "house") {
  BlobBuilder b;
  b.manifest = Manifest("[]", version, name);
  b.configure_answer = R"({"ok":{"from":")" + version + R"("}})";
  return b.Build();
}

class RevisionTest : public testing::Test {
 protected:
  RevisionTest() {
    char name[] = "/tmp/dvdi-revision-test-XXXXXX";
    root_ = ::mkdtemp(name);
    dir_ = root_ + "/policy";
    auto runtime = PolicyRuntime::Create(SystemEnv(), PolicyLimits(), "");
    runtime_ = std::move(runtime.value());
  }
  ~RevisionTest() override {
    runtime_.reset();  // what it compiles still goes into the folder
    std::filesystem::remove_all(root_);
  }

  PolicySelector Selector(Json settings = Json::object()) {
    return PolicySelector(SystemEnv(), runtime_.get(), dir_, std::move(settings));
  }
  // "NAME VERSION" of the current revision, or the failure's message.
  std::string Now(PolicySelector& s) {
    auto r = s.Current();
    if (!r.ok()) {
      EXPECT_EQ(r.status().code(), Code::kPolicy) << r.status().message();
      return r.status().message();
    }
    return (*r)->module->manifest().name + " " + (*r)->module->manifest().version;
  }
  std::string Now() {
    auto s = Selector();
    return Now(s);
  }
  static Result<std::shared_ptr<const Revision>> InstallBlob(PolicySelector& s, const std::string& blob,
                                                             bool allow_downgrade) {
    return PolicyLife(&s, PolicyLimits()).Install(blob, allow_downgrade);
  }
  void Install(const std::string& version) {
    auto s = Selector();
    auto r = InstallBlob(s, Blob(version), false);
    ASSERT_TRUE(r.ok()) << r.status().message();
  }
  std::string StatePath() { return dir_ + "/state.json"; }
  PolicyState State() {
    auto state = ParsePolicyState(FileBytes(StatePath()));
    EXPECT_TRUE(state.ok());
    return state.ok() ? *state : PolicyState();
  }
  void WriteState(const std::string& text) { std::ofstream(StatePath(), std::ios::trunc) << text; }

  std::string root_, dir_;
  std::unique_ptr<PolicyRuntime> runtime_;
};

}  // namespace dvdi

#endif  // DVDI_POLICY_TEST_REVISION_H_
