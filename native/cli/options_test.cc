#include "cli/options.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace dvdi::cli {
namespace {

Result<ParsedArguments> Parse(const std::vector<std::string>& arguments) {
  bool run = false;
  return ParseArguments(arguments, &run);
}

Status ParseError(const std::vector<std::string>& arguments) { return Parse(arguments).status(); }

TEST(Duration, TakesNumbersWithUnits) {
  EXPECT_EQ(*ParseDuration("250ms"), 250);
  EXPECT_EQ(*ParseDuration("10"), 10000);
  EXPECT_EQ(*ParseDuration("10s"), 10000);
  EXPECT_EQ(*ParseDuration("5m"), 300000);
  EXPECT_EQ(*ParseDuration("1h"), 3600000);
}

TEST(Duration, RefusesEverythingElse) {
  for (const char* text : {"", "s", "-1s", "1.5s", "0", "10 s", "1d", "99999999999999999999s", "200h"})
    EXPECT_EQ(ParseDuration(text).status().code(), Code::kInvalid) << text;
}

TEST(VolumeNames, SlashSeparatesTheDriverUnlessOneIsGiven) {
  auto split = SplitVolumeName("d/data", "");
  EXPECT_EQ(split.driver, "d");
  EXPECT_EQ(split.name, "data");
  split = SplitVolumeName("a/b", "d");
  EXPECT_EQ(split.driver, "d");
  EXPECT_EQ(split.name, "a/b");
  EXPECT_EQ(SplitVolumeName("data", "").driver, "");
}

TEST(Arguments, RunTakesSourcesInAllForms) {
  auto parsed = Parse({"run",
                       "-v",
                       "a:/a",
                       "--volume=b:/b",
                       "--mount",
                       "type=volume,source=c,target=/c",
                       "--statement",
                       "-",
                       "--marathon",
                       "app.json",
                       "--mesos",
                       "info.json",
                       "--env",
                       "--volume-driver",
                       "d",
                       "-u",
                       "nobody",
                       "--name",
                       "x",
                       "--timeout",
                       "3s",
                       "--",
                       "ls",
                       "--json",
                       "-v",
                       "--",
                       "x"});
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  const Options& o = parsed->options;
  EXPECT_EQ(o.verb, Verb::kRun);
  ASSERT_EQ(o.sources.size(), 7u);
  EXPECT_EQ(o.sources[0].value, "a:/a");
  EXPECT_EQ(o.sources[1].value, "b:/b");
  EXPECT_EQ(o.sources[2].form, "mount");
  EXPECT_EQ(o.sources[3].value, "-");
  EXPECT_EQ(o.sources[3].from, SourceOption::From::kFile);
  EXPECT_EQ(o.sources[6].form, "env");
  EXPECT_EQ(o.default_driver, "d");
  EXPECT_EQ(o.global.timeout_ms, 3000);
  // Words of the command are none of ours.
  EXPECT_FALSE(o.global.json);
  EXPECT_EQ(o.command, (std::vector<std::string>{"ls", "--json", "-v", "--", "x"}));
}

TEST(Arguments, ValuesAreTakenAsTheyAre) {
  auto parsed = Parse({"run", "-v", "[a,b]:/x", "-v", "a,b:/y", "--", "true"});
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  ASSERT_EQ(parsed->options.sources.size(), 2u);
  EXPECT_EQ(parsed->options.sources[0].value, "[a,b]:/x");
  EXPECT_EQ(parsed->options.sources[1].value, "a,b:/y");
}

TEST(Arguments, GlobalOptionsStandBeforeOrAfterTheVerb) {
  for (auto arguments : {std::vector<std::string>{"--json", "--state-dir", "/s", "ls"},
                         std::vector<std::string>{"ls", "--json", "--state-dir", "/s"}}) {
    auto parsed = Parse(arguments);
    ASSERT_TRUE(parsed.ok()) << parsed.status().message();
    EXPECT_TRUE(parsed->options.global.json);
    EXPECT_EQ(parsed->options.global.state_dir, "/s");
  }
}

TEST(Arguments, PathsBecomeAbsolute) {
  auto parsed = Parse({"--state-dir", "s", "--plugin-dir", "p", "--plugin-dir", "/q/../r/", "ls"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->options.global.state_dir[0], '/');
  EXPECT_EQ(parsed->options.global.plugin_dirs[0][0], '/');
  EXPECT_EQ(parsed->options.global.plugin_dirs[1], "/r");
}

TEST(Arguments, ConfigComesFromTheEnvironmentToo) {
  ::setenv("DVDI_CONFIG", "/from/env.yaml", 1);
  EXPECT_EQ(Parse({"ls"})->options.global.config, "/from/env.yaml");
  EXPECT_EQ(Parse({"ls", "--config", "/x"})->options.global.config, "/x");
  ::unsetenv("DVDI_CONFIG");
}

TEST(Arguments, WrongOnesSayWhatIsWrong) {
  EXPECT_NE(ParseError({"run", "-v", "a:/a", "ls"}).hint().find("after --"), std::string::npos);
  EXPECT_EQ(ParseError({"run", "-v", "a:/a", "--"}).message(), "no command after --");
  EXPECT_EQ(ParseError({"run", "--", "ls"}).message(), "no volume was asked for");
  EXPECT_NE(ParseError({"ls", "--", "x"}).message().find("only `dvdi run`"), std::string::npos);
  EXPECT_FALSE(ParseError({"frobnicate"}).ok());
  EXPECT_FALSE(ParseError({"run", "--statement", "-", "--mesos", "-", "--", "ls"}).ok());
  EXPECT_FALSE(ParseError({"mount"}).ok());
  EXPECT_FALSE(ParseError({"mount", "a", "-v", "a:/b"}).ok());
  EXPECT_FALSE(ParseError({"unmount"}).ok());
  EXPECT_FALSE(ParseError({"explain", "a", "--scope", "s"}).ok());
  EXPECT_FALSE(ParseError({"ls", "--timeout", "soon"}).ok());
  EXPECT_FALSE(ParseError({"policy"}).ok());
  EXPECT_FALSE(ParseError({"run", "-v"}).ok());
}

TEST(Arguments, AWordThatIsNotKnownIsSaidWithWhatWasMeant) {
  const auto said = [](const std::vector<std::string>& arguments) {
    const Status s = ParseError(arguments);
    return s.message() + " | " + s.hint();
  };
  EXPECT_EQ(said({"statsu"}),
            "this argument was not expected: statsu | did you mean status? See: dvdi --help");
  EXPECT_EQ(said({"policy", "instal", "f"}),
            "these arguments were not expected: instal f | did you mean install? See: dvdi policy --help");
  EXPECT_EQ(said({"oci", "bundel", "b"}),
            "these arguments were not expected: bundel b | did you mean bundle? See: dvdi oci --help");
  EXPECT_EQ(said({"run", "--volum", "a:/a", "--", "ls"}),
            "these arguments were not expected: --volum a:/a | did you mean --volume? See: dvdi run --help");
  EXPECT_EQ(said({"ls", "--jsn"}),
            "this argument was not expected: --jsn | did you mean --json? See: dvdi ls --help");
  EXPECT_EQ(said({"zzzzzzzz"}), "this argument was not expected: zzzzzzzz | See: dvdi --help");
  EXPECT_EQ(said({"policy"}), "A subcommand is required | See: dvdi policy --help");
}

TEST(Arguments, VariablesWithoutEnvAreHintedAt) {
  ::setenv("DVDI_VOLUME_NAME", "x", 1);
  EXPECT_NE(ParseError({"run", "--", "ls"}).hint().find("--env"), std::string::npos);
  ::unsetenv("DVDI_VOLUME_NAME");
}

TEST(Arguments, HelpIsNoError) {
  auto parsed = Parse({"run", "--help"});
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(parsed->help);
  EXPECT_NE(parsed->help_text.find("--volume"), std::string::npos);
  EXPECT_TRUE(Parse({})->help);
}

}  // namespace
}  // namespace dvdi::cli
