#include "sanity/report.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "sanity/expected.h"
#include "sanity/options.h"
#include "sanity/process.h"

namespace dvdi::sanity {
namespace {

using Kind = Outcome::Kind;

class ReportTest : public ::testing::Test {
 protected:
  Outcome Make(std::vector<std::string> found, std::string expected = "", std::string skipped = "") {
    Outcome o;
    o.check = &check_;
    o.found = std::move(found);
    o.expected = std::move(expected);
    o.skipped = std::move(skipped);
    o.ms = 1005;
    return o;
  }
  const Check check_{"mount.two-ids", "two # users",    "It says \"so\".",
                     "They <do>.",    Severity::kError, nullptr};
};

TEST_F(ReportTest, WhatAnOutcomeCounts) {
  EXPECT_EQ(Make({}).kind(), Kind::kPassed);
  EXPECT_EQ(Make({"x"}).kind(), Kind::kFound);
  EXPECT_EQ(Make({"x"}, "known").kind(), Kind::kExpected);
  EXPECT_EQ(Make({}, "known").kind(), Kind::kStale);
  EXPECT_EQ(Make({}, "", "no command").kind(), Kind::kSkipped);
  EXPECT_EQ(Make({"not cleaned up"}, "", "no command").kind(), Kind::kFound) << "a finding outweighs a skip";
  Outcome sometimes = Make({}, "known");
  sometimes.may_pass = true;
  EXPECT_EQ(sometimes.kind(), Kind::kPassed);
  EXPECT_TRUE(Clean({Make({}), Make({"x"}, "known"), Make({}, "", "no command")}));
  EXPECT_FALSE(Clean({Make({"x"})}));
  EXPECT_FALSE(Clean({Make({}, "known")}));
}

TEST_F(ReportTest, Tap) {
  EXPECT_EQ(TapHead(2), "TAP version 14\n1..2\n");
  EXPECT_EQ(TapPoint(1, Make({})), "ok 1 - mount.two-ids two \\# users\n");
  EXPECT_EQ(TapPoint(2, Make({}, "", "no #1")), "ok 2 - mount.two-ids two \\# users # SKIP no \\#1\n");
  EXPECT_EQ(
      TapPoint(3, Make({"it \"fails\""}, "known")),
      "not ok 3 - mount.two-ids two \\# users # TODO expected: known\n  ---\n  severity: error\n  found:\n"
      "    - \"it \\\"fails\\\"\"\n  protocol: \"It says \\\"so\\\".\"\n  clients: \"They <do>.\"\n  ...\n");
  EXPECT_TRUE(TapPoint(4, Make({}, "known")).starts_with("not ok 4 - mount.two-ids two \\# users\n"));
}

TEST_F(ReportTest, Junit) {
  std::string xml =
      JunitXml({Make({}), Make({"a <b>"}), Make({"c"}, "known"), Make({}, "", "no command")}, "s");
  EXPECT_NE(xml.find("tests=\"4\" failures=\"1\" skipped=\"2\" errors=\"0\" time=\"4.020\""),
            std::string::npos)
      << xml;
  EXPECT_NE(xml.find("<testcase classname=\"mount\" name=\"two-ids: two # users\" time=\"1.005\">"),
            std::string::npos);
  EXPECT_NE(xml.find("<failure type=\"error\" message=\"a &lt;b&gt;\">"), std::string::npos);
  EXPECT_NE(xml.find("<skipped message=\"expected: known\"/>"), std::string::npos);
}

TEST_F(ReportTest, JunitHasNoCharacterThatXmlHasNot) {
  std::string xml = JunitXml({Make({"a\xEF\xBF\xBE\xEF\xBF\xBF", "\xEF\xBF\xBD \xF0\x9F\x98\x80"}),
                              Make({"c"}, "kn\x01own\xFF"), Make({}, "", "no\ncommand\xEF\xBF\xBF")},
                             "/run/\xC3.sock");
  EXPECT_NE(xml.find("message=\"a??\">a??\n\xEF\xBF\xBD \xF0\x9F\x98\x80\n"), std::string::npos) << xml;
  EXPECT_NE(xml.find("message=\"expected: kn?own?\"/>"), std::string::npos) << xml;
  EXPECT_NE(xml.find("message=\"no command?\"/>"), std::string::npos) << xml;
  EXPECT_NE(xml.find("name=\"/run/?.sock\""), std::string::npos) << xml;
}

TEST_F(ReportTest, ForPeople) {
  EXPECT_EQ(Summary({Make({}), Make({"x"}), Make({}, "", "y")}), "3 checks: 1 passed, 1 found, 1 skipped");
}

TEST_F(ReportTest, ExpectationsAreReadStrictly) {
  std::vector<Check> checks = {check_};
  auto read = ReadExpectations("mount.two-ids: {reason: because, sometimes: true}\n", "f", checks);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->at("mount.two-ids").reason, "because");
  EXPECT_TRUE(read->at("mount.two-ids").sometimes);
  EXPECT_TRUE(ReadExpectations("# none\n", "f", checks).ok());
  for (const char* wrong :
       {"mount.three-ids: no such check", "mount.two-ids:", "mount.two-ids: {sometimes: true}",
        "mount.two-ids: {reason: a, whenever: true}", "[a]", "mount.two-ids: 'open"})
    EXPECT_EQ(ReadExpectations(wrong, "f", checks).status().code(), Code::kInvalid) << wrong;
}

TEST_F(ReportTest, WhatTheCommandLineSays) {
  EXPECT_EQ(Address("/run/p.sock")->ToString(), "unix:///run/p.sock");
  EXPECT_EQ(Address("unix:///run/p.sock")->ToString(), "unix:///run/p.sock");
  EXPECT_EQ(Address("tcp://127.0.0.1:80")->ToString(), "tcp://127.0.0.1:80");
  for (const char* wrong : {"tcp://127.0.0.1", "tcp://h:0", "tcp://h:99999", "tcp://h:1x"})
    EXPECT_FALSE(Address(wrong).ok()) << wrong;
  EXPECT_EQ(CreateOptions({"a=b=c", "d="})->at("a"), "b=c");
  EXPECT_FALSE(CreateOptions({"=x"}).ok());
  EXPECT_FALSE(CreateOptions({"x"}).ok());
  std::vector<Check> all(3);
  all[0].id = "load.creates", all[1].id = "mount.two-ids", all[2].id = "mount.two";
  auto chosen = [&all](const std::vector<std::string>& only) {
    std::string ids;
    auto checks = ChosenOf(only, all);
    if (!checks.ok()) return checks.status().message();
    for (const Check* check : *checks) ids += check->id + " ";
    return ids;
  };
  EXPECT_EQ(chosen({}), "load.creates mount.two-ids mount.two ");
  EXPECT_EQ(chosen({"mount", "load"}), "load.creates mount.two-ids mount.two ");
  EXPECT_EQ(chosen({"mount.two-ids", "mount"}), "mount.two-ids mount.two ");
  EXPECT_EQ(chosen({"mount.two"}), "mount.two ");
  EXPECT_EQ(chosen({"mount", "loda"}), "--only 'loda' is no check and no group");
  EXPECT_EQ(chosen({"moun"}), "--only 'moun' is no check and no group");
}

TEST(SanityProcessTest, AChildThatHangsIsLeft) {
  EXPECT_TRUE(InChild([] { return true; }, 30'000));
  EXPECT_FALSE(InChild([] { return false; }, 30'000));
  EXPECT_FALSE(InChild([] { return ::pause() == 0; }, 20));
}

// A Ctrl-C that ends us after a check must not end a restart half way, nor the plugin that it starts; and a
// plugin has its own mind about SIGPIPE.
TEST(SanityProcessTest, ACommandIsOfItsOwnProcessGroupAndIgnoresNoSignal) {
  EXPECT_TRUE(
      RunCommand({"/bin/sh", "-c", "read -r pid _ _ _ group _ < /proc/$$/stat; test $pid = $group"}, 30'000)
          .ok());
  auto* before = ::signal(SIGPIPE, SIG_IGN);
  EXPECT_FALSE(RunCommand({"/bin/sh", "-c", "kill -PIPE $$"}, 30'000).ok());
  ::signal(SIGPIPE, before);
}

TEST(SanityProcessTest, ACommandIsRunWithoutAShell) {
  EXPECT_TRUE(RunCommand({"/usr/bin/test", "$HOME", "=", "$HOME"}, 30'000).ok());
  EXPECT_EQ(RunCommand({"/usr/bin/false"}, 30'000).code(), Code::kSystem);
  EXPECT_FALSE(RunCommand({"/no/such/program"}, 30'000).ok());
  EXPECT_FALSE(RunCommand({"/usr/bin/sleep", "600"}, 20).ok());
}

}  // namespace
}  // namespace dvdi::sanity
