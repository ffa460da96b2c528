#include "cli/format.h"

#include <gtest/gtest.h>

namespace dvdi::cli {
namespace {

const Json& Value() {
  static const Json value = *ParseJson(
      R"({"Name": "data", "Driver": "d", "Links": 2, "Unused": false, "LastUsed": "", "Targets": ["/a", "/b"],
          "Labels": null, "Status": {"size": "5g", "clean": true, "nested": {"x": [1, 2]}}})",
      "it");
  return value;
}

std::string Shown(const std::string& text) {
  auto format = Format::Parse(text);
  if (!format.ok()) return "parse: " + format.status().message();
  auto out = format->Apply(Value());
  return out.ok() ? *out : "apply: " + out.status().message();
}

TEST(Templates, MembersAndText) {
  EXPECT_EQ(Shown("{{.Name}}"), "data");
  EXPECT_EQ(Shown("{{ .Name }}@{{.Driver}}!"), "data@d!");
  EXPECT_EQ(Shown("plain"), "plain");
  EXPECT_EQ(Shown("{{.Links}} {{.Unused}} [{{.LastUsed}}{{.Labels}}]"), "2 false []");
  EXPECT_EQ(Shown("{{.Name}}\\t{{.Driver}}\\n"), "data\td\n");
  EXPECT_EQ(Shown("{{.Targets}}"), R"(["/a","/b"])");
  EXPECT_EQ(Shown("a  {{- .Name -}}  b"), "adatab");
  EXPECT_EQ(Shown("{{.Name}}}}"), "data}}");
}

TEST(Templates, WhatAPluginSaysOfItselfMayBeMissing) {
  EXPECT_EQ(Shown("{{.Status.size}}/{{.Status.nested.x}}/{{.Status.absent}}/{{.Status.absent.more}}"),
            "5g/[1,2]//");
  EXPECT_EQ(Shown("{{.Labels.com}}"), "");
  EXPECT_EQ(Shown("{{.Nmae}}").substr(0, 46), "apply: --format: there is no member .Nmae; the");
  EXPECT_NE(Shown("{{.Name.x}}").find("has no members"), std::string::npos);
}

TEST(Templates, Functions) {
  EXPECT_EQ(Shown("{{json .}}"), Value().dump());
  EXPECT_EQ(Shown("json"), Value().dump());
  EXPECT_EQ(Shown("{{json .Status.nested}}"), R"({"x":[1,2]})");
  EXPECT_EQ(Shown("{{.Name | upper}} {{upper .Name}} {{lower \"ABC\"}} {{title .Name}}"),
            "DATA DATA abc Data");
  EXPECT_EQ(Shown("{{join .Targets \", \"}}"), "/a, /b");
  EXPECT_EQ(Shown("{{.Targets | join \"+\"}}"), "/a+/b");
  EXPECT_EQ(Shown("{{len .Targets}} {{len .Name}}"), "2 4");
  EXPECT_EQ(Shown("{{index .Targets 1}} {{index .Status \"size\"}} {{index .Targets 7}}"), "/b 5g ");
  EXPECT_EQ(Shown("{{index .Labels \"com.example\"}}").substr(0, 5), "apply");
  EXPECT_EQ(Shown("{{truncate .Name 2}}{{truncate \"äöü\" 2}}"), "daäö");
  EXPECT_EQ(Shown("{{(index .Targets 0) | upper}}"), "/A");
  EXPECT_EQ(Shown("{{json (index .Status \"nested\")}}"), R"({"x":[1,2]})");
  EXPECT_EQ(Shown("{{\"a\\\\nb\"}}"), "a\\nb");
}

TEST(Templates, WhatIsNotSupportedIsSaid) {
  for (const char* text :
       {"{{range .Targets}}{{.}}{{end}}", "{{if .Unused}}x{{end}}", "{{printf \"%s\" .Name}}"})
    EXPECT_NE(Shown(text).find("of Go's templates is not supported"), std::string::npos) << text;
  EXPECT_NE(Shown("{{frob .Name}}").find("there is no function \"frob\""), std::string::npos);
  EXPECT_NE(Shown("{{Name}}").find("a member begins with a dot"), std::string::npos);
  for (const char* text :
       {"{{", "{{}}", "{{.Name", "{{..}}", "{{.Name.}}", "{{$x}}", "{{.Name .Driver}}", "{{json}}",
        "{{json .Name .Driver}}", "{{.Name | .Driver}}", "{{\"x}}", "{{(.Name}}", "{{join .Name 3}}",
        "{{index .Name 0}}", "{{99999999999}}", "{{|json}}"})
    EXPECT_NE(Shown(text).find("--format: "), std::string::npos) << text << ": " << Shown(text);
}

TEST(Templates, TablesHaveAHeaderAndColumns) {
  auto format = Format::Parse("table {{.Name}}\\t{{.LastUsed}}\\t{{upper .Driver}}");
  ASSERT_TRUE(format.ok());
  EXPECT_EQ(format->Header(), "NAME\tLAST USED\tDRIVER");
  Json other = Value();
  other["Name"] = "a-longer-name", other["LastUsed"] = "now";
  auto text = FormatRows(*format, Json::array({Value(), other}));
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text,
            "NAME           LAST USED  DRIVER\n"
            "data           -          D\n"
            "a-longer-name  now        D\n");
}

TEST(Templates, NothingRawReachesATerminal) {
  Json evil = {{"Name", "a\033[2Jb\nc"}};
  auto shown = Format::Parse("{{.Name}}")->Apply(evil);
  ASSERT_TRUE(shown.ok());
  for (char c : *shown) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  shown = Format::Parse("{{json .}}")->Apply(evil);
  for (char c : *shown) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
}

}  // namespace
}  // namespace dvdi::cli
