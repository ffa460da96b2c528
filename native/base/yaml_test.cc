#include "base/yaml.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <random>

namespace dvdi {
namespace {

std::string Read(const std::string& text) {
  auto value = ParseYaml(text, "file");
  return value.ok() ? Dump(*value) : value.status().message();
}

TEST(YamlTest, CoreSchema) {
  EXPECT_EQ(Read("[null, Null, NULL, ~, '', ]"), R"([null,null,null,null,""])");
  EXPECT_EQ(Read("[true, True, TRUE, false, False, FALSE]"), "[true,true,true,false,false,false]");
  EXPECT_EQ(Read("[yes, No, on, OFF, y, tRue, nULL]"), R"(["yes","No","on","OFF","y","tRue","nULL"])");
  EXPECT_EQ(Read("[0, -0, +5, 007, 0x1F, 0o17, -12, 18446744073709551615, -9223372036854775808]"),
            "[0,0,5,7,31,15,-12,18446744073709551615,-9223372036854775808]");
  EXPECT_EQ(Read("[1.5, -.5, 1., 1e3, +2.5E-1]"), "[1.5,-0.5,1.0,1000.0,0.25]");
  EXPECT_EQ(
      Read("[1.2.3, 1_000, 0x, 0o8, -0x1, 12:30, 10GB, ., -, +, e5, 1e, 2024-01-01, '12', \"true\"]"),
      R"(["1.2.3","1_000","0x","0o8","-0x1","12:30","10GB",".","-","+","e5","1e","2024-01-01","12","true"])");
}

TEST(YamlTest, Shapes) {
  EXPECT_EQ(Read(""), "null");
  EXPECT_EQ(Read("# only words\n"), "null");
  EXPECT_EQ(Read("---\n...\n"), "null");
  EXPECT_EQ(Read("a:\n  - b: 1\n    c:\n  - [x, {y: z}]\n1: one\n"),
            R"({"1":"one","a":[{"b":1,"c":null},["x",{"y":"z"}]]})");
  EXPECT_EQ(Read("a: |\n  two\n  lines\nb: >-\n  one\n  line\n"), R"({"a":"two\nlines\n","b":"one line"})");
  EXPECT_EQ(Read(R"({"json": [1, "two", null], "n": {"a": false}})"),
            R"({"json":[1,"two",null],"n":{"a":false}})");
  EXPECT_EQ(Read("\"\\u00e9\\n\""), "\"é\\n\"");
}

TEST(YamlTest, CoreTags) {
  EXPECT_EQ(Read("[!!str 12, ! 12, !!int 12, !!float 1.5, !!bool true, !!null ~, !!int '7']"),
            R"(["12","12",12,1.5,true,null,7])");
  EXPECT_EQ(Read("!!map {a: !!seq [1]}"), R"({"a":[1]})");
  for (const char* text : {"!!int x", "!!binary aGk=", "!local x", "!!python/object:os.system x", "!!set {a}",
                           "!!seq {a: 1}", "!<tag:example.com,2000:x> y", "!!str [a]", "!!int 1: a"})
    EXPECT_NE(Read(text).find("tag"), std::string::npos) << text << " -> " << Read(text);
}

TEST(YamlTest, RefusedWithLine) {
  EXPECT_EQ(Read("a: 1\nb: &x 1"), "file, line 2: anchors (&x) are not accepted");
  EXPECT_EQ(Read("a: 1\nb: &x [1]"), "file, line 2: anchors (&x) are not accepted");
  EXPECT_EQ(Read("- a\n- *x"), "file, line 2: aliases (*x) are not accepted");
  EXPECT_EQ(Read("a: 1\n<<: {b: 2}"), "file, line 2: merge keys (<<) are not accepted");
  EXPECT_EQ(Read("a: 1\nb: 2\na: 3"), "file, line 3: the key a stands here twice");
  EXPECT_EQ(Read("1: a\n\"1\": b"), "file, line 2: the key 1 stands here twice");
  EXPECT_EQ(Read("a: 1\n---\nb: 2"), "file, line 2: a second document; only one is accepted");
  EXPECT_EQ(Read("? [a]\n: b"), "file, line 1: a key must be a scalar");
  EXPECT_EQ(Read("? {a: b}\n: c"), "file, line 1: a key must be a scalar");
  EXPECT_EQ(Read("a: 18446744073709551616"),
            "file, line 1: 18446744073709551616 is a number out of range; quote it if it is meant as text");
  for (const char* text : {"1e999", "-9223372036854775809", ".inf", "-.Inf", ".NaN", "0xFFFFFFFFFFFFFFFFF"})
    EXPECT_NE(Read(text).find("is a number"), std::string::npos) << text;
  for (const char* text :
       {"a: [", "a: 'x", "\ta: 1", "a: b: c", "a:\n - b\n c", "%YAML 9.9\n---\na", "@x", "\"\\q\""})
    EXPECT_NE(Read(text).find("not YAML"), std::string::npos) << text << " -> " << Read(text);
}

TEST(YamlTest, Bounds) {
  EXPECT_EQ(Read("\xff\xfe"), "file is not UTF-8");
  EXPECT_NE(Read("a: \x01").find("not YAML"), std::string::npos);
  EXPECT_NE(Read(std::string("a: \0b", 5)).find("not YAML"), std::string::npos);
  EXPECT_EQ(Read(std::string((1 << 20) + 1, ' ')), "file is longer than 1048576 bytes");
  EXPECT_EQ(Read(std::string(32, '[') + std::string(32, ']')).find("nested"), std::string::npos);
  EXPECT_NE(Read(std::string(33, '[') + std::string(33, ']')).find("nested deeper than 32"),
            std::string::npos);
  EXPECT_NE(Read(std::string(500'000, '[')).find("file, line 1: "), std::string::npos);
  EXPECT_NE(Read(std::string(100'000, '{')).find("file, line 1: "), std::string::npos);
}

// A text of a megabyte with one long key took the memory of the node.
TEST(YamlTest, ALongKeyCostsNoMemoryForEachOfItsItems) {
  std::string text = "? \"" + std::string(50'000, 'k') + "\"\n: [1";
  for (int i = 1; i < 20'000; ++i) text += ",1";
  struct rusage before = {}, after = {};
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &before), 0);
  auto value = ParseYaml(text + "]", "file");
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &after), 0);
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ(value->begin()->size(), 20'000u);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 500'000) << "KiB";
}

TEST(YamlTest, AnEditorsMarkIsNoColumn) {
  auto d = ParseYamlDocument(
      "\xEF\xBB\xBF"
      "a: 1\nb:\n  c: 2\n",
      "file");
  ASSERT_TRUE(d.ok()) << d.status().message();
  EXPECT_EQ(Dump(d->value), R"({"a":1,"b":{"c":2}})");
  EXPECT_EQ(d->lines["/b"], 2);
}

TEST(YamlTest, LinesOfMembers) {
  auto d = ParseYamlDocument("a: 1\nb:\n  - x\n  -\n    c/d: 2\n    e~f:\n      g: 1\n", "file");
  ASSERT_TRUE(d.ok()) << d.status().message();
  EXPECT_EQ(d->lines["/a"], 1);
  EXPECT_EQ(d->lines["/b"], 2);
  EXPECT_EQ(d->lines["/b/0"], 3);
  EXPECT_EQ(d->lines["/b/1/c~1d"], 5);
  EXPECT_EQ(d->lines["/b/1/e~0f"], 6);
  EXPECT_EQ(d->lines["/b/1/e~0f/g"], 7);
}

// Whatever comes: a value that is JSON, or a message; never a crash.
TEST(YamlTest, DamagedText) {
  const std::string seed =
      "a: {b: [1, 'x', \"y\\n\"], c: !!str 1}\nd: |\n  text\n- &e *e\n? f\n: ~\n%TAG ! x\n---\n<<: 1.5e3\n";
  std::mt19937 random(3);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = seed.substr(random() % seed.size(), 1 + random() % 30);
    for (unsigned n = random() % 4; n > 0; --n) text[random() % text.size()] = static_cast<char>(random());
    auto value = ParseYaml(text, "file");
    ++(value.ok() ? accepted : refused);
    if (value.ok()) {
      EXPECT_TRUE(ParseJson(Dump(*value), "dump").ok()) << text;
    } else {
      EXPECT_EQ(value.status().message().find('\n'), std::string::npos) << text;
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace dvdi
