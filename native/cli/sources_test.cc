#include "cli/sources.h"

#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

using From = SourceOption::From;

class Sources : public CommandTest {
 protected:
  Result<Json> Load(const std::string& form, const std::string& path) {
    return LoadSources({{form, From::kFile, path}});
  }
};

TEST_F(Sources, JsonGoesOnAsItWasWritten) {
  const std::string text = " { \"a\" : 1, \"a\" : 2 }\n";
  for (const char* form : {"statement", "marathon", "mesos"}) {
    const std::string path = WriteFile("x.json", text);
    auto sources = Load(form, path);
    ASSERT_TRUE(sources.ok());
    EXPECT_EQ((*sources)[0], Json({{"form", form}, {"origin", path}, {"text", text}}));
  }
}

TEST_F(Sources, AYamlStatementBecomesJson) {
  auto sources = Load("statement", WriteFile("x.yaml", "volumes:\n  - name: data\n    path: /data\n"));
  ASSERT_TRUE(sources.ok()) << sources.status().message();
  auto json = ParseJson(GetString((*sources)[0], "text"), "it");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ((*json)["volumes"][0]["name"], "data");
}

TEST_F(Sources, WithoutAnEndingTheFirstCharacterDecides) {
  EXPECT_EQ(GetString((*Load("statement", WriteFile("a", "{\"x\": 1}")))[0], "text"), "{\"x\": 1}");
  EXPECT_EQ(GetString((*Load("statement", WriteFile("b", "x: y")))[0], "text"), "{\"x\":\"y\"}");
}

TEST_F(Sources, BadFilesAreErrors) {
  EXPECT_EQ(Load("statement", Path("absent")).status().path(), Path("absent"));
  EXPECT_EQ(Load("statement", WriteFile("big", std::string((1 << 20) + 1, ' '))).status().code(),
            Code::kInvalid);
  EXPECT_EQ(Load("marathon", WriteFile("latin", "{\"\xe9\":1}")).status().code(), Code::kInvalid);
  EXPECT_FALSE(LoadSources({{"volume", From::kText, "\xff:/x"}}).ok());
  EXPECT_FALSE(Load("statement", MakeFolder("folder")).ok());
}

TEST_F(Sources, TheEnvironmentGivesVolumeVariablesOnly) {
  ::setenv("DVDI_VOLUME_NAME", "a=b", 1);
  ::setenv("DVDI_CONFIG", "/x", 1);
  auto sources = LoadSources({{"env", From::kEnvironment, ""}});
  ::unsetenv("DVDI_VOLUME_NAME");
  ::unsetenv("DVDI_CONFIG");
  ASSERT_TRUE(sources.ok());
  EXPECT_EQ((*sources)[0], Json({{"form", "env"}, {"env", {{"DVDI_VOLUME_NAME", "a=b"}}}}));
}

TEST(MountTexts, QuoteAsCsv) {
  EXPECT_EQ(MountText("d", "data", "/mnt/data"), "type=volume,source=data,target=/mnt/data,volume-driver=d");
  EXPECT_EQ(MountText("", "a,\"b", "/x"), "type=volume,\"source=a,\"\"b\",target=/x");
}

}  // namespace
}  // namespace dvdi::cli
