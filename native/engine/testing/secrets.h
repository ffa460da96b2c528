// What tests of secrets share.
#ifndef DVDI_ENGINE_TESTING_SECRETS_H_
#define DVDI_ENGINE_TESTING_SECRETS_H_

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/secrets.h"
#include "engine/testing/sim_engine.h"

namespace dvdi {

// Found nowhere by chance, and escaped where it is put into JSON.
inline constexpr char kSecretValue[] = "hunter2\\\"\xC3\xA9-q";

class SecretsTest : public SimEngineTest {
 protected:
  SecretsTest() { settings_.secret_options = {"password", "access_key"}; }

  // What a policy would see of the text; the values go to taken_.
  std::string Take(const std::string& form, const std::string& text) {
    taken_.clear();
    return TakeSecrets(Random::Real(), settings_, form, text, &taken_);
  }
  std::vector<std::string> Values() const {
    std::vector<std::string> out;
    for (const auto& t : taken_) out.push_back(t.second);
    return out;
  }
  void WriteSecret(const std::string& name, const std::string& value, mode_t mode = 0600) {
    std::filesystem::create_directory(settings_.secrets_dir);
    ASSERT_EQ(::chmod(settings_.secrets_dir.c_str(), 0700), 0);
    std::string path = settings_.secrets_dir + "/" + name;
    std::ofstream(path, std::ios::binary) << value;
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }
  // The value, plain and as it stands in JSON, once and twice over.
  static std::vector<std::string> Guises(const std::string& value) {
    std::vector<std::string> out = {value};
    for (int i = 0; i < 2; ++i) {
      std::string quoted = Dump(Json(out.back()));
      out.push_back(quoted.substr(1, quoted.size() - 2));
    }
    return out;
  }
  // After a prepare: where the value must be, and where it must not be.
  void ExpectOnlyTheDriverSaw(const std::string& value, const std::string& what) {
    bool sent = false;
    for (const auto& r : transport_.requests) {
      if (r.path.find("Create") == std::string::npos) continue;
      Json body = Json::parse(r.body);
      for (const auto& [name, v] : body["Opts"].items()) sent |= v == value;
    }
    EXPECT_TRUE(sent) << what << ": the driver gets the value";
    std::string ledger = LedgerBytes();
    EXPECT_HAS(ledger, "scope-of-a-test") << "the ledger is what is looked at";
    std::string seen = Dump(seen_);
    std::string explained = Dump(engine().Explain({{"last", 1000}}).value());
    for (const auto& guise : Guises(value)) {
      EXPECT_EQ(ledger.find(guise), std::string::npos) << what << ": in the ledger";
      EXPECT_EQ(seen.find(guise), std::string::npos) << what << ": the policy saw it";
      EXPECT_EQ(explained.find(guise), std::string::npos) << what << ": in a record";
    }
  }
  SecretList taken_;
  Json seen_ = Json::array();  // all that the policy got
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_TESTING_SECRETS_H_
