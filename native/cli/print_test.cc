#include "cli/print.h"

#include <gtest/gtest.h>

namespace dvdi::cli {
namespace {

TEST(ErrorLines, SayWhatWhereAndWhatToDo) {
  Status status(Code::kDriver, "Mount failed: no space.", "free some space");
  status.WithVolume("d", "data");
  EXPECT_EQ(ErrorLine(status), "Mount failed: no space (volume data, driver d). Free some space");
  EXPECT_EQ(ErrorLine(Status(Code::kSystem, "cannot open /x").WithPath("/x")), "cannot open /x");
  EXPECT_EQ(ErrorLine(Status(Code::kSystem, "cannot open").WithPath("/x")), "cannot open (path /x)");
}

TEST(ErrorLines, AreTheSameForAnErrorInAnAnswer) {
  Json error = {{"code", "driver"},
                {"message", "no space."},
                {"hint", "free some"},
                {"volume", "data"},
                {"driver", "d"}};
  EXPECT_EQ(ErrorLine(error), "no space (volume data, driver d). Free some");
  EXPECT_EQ(ErrorLine(Json{{"code", "timeout"}}), "timeout");
}

TEST(ErrorLines, AreOneLineWithoutControls) {
  Status status(Code::kDriver,
                "a\nb\x1b[31mc\xc2\x9b"
                "d\x7f",
                "h\r\ni");
  std::string line = ErrorLine(status);
  EXPECT_EQ(line, "a b?[31mc?d?. H i");
}

TEST(ExitCodes, FollowTheAbi) {
  EXPECT_EQ(ExitCodeFor(OkStatus()), 0);
  EXPECT_EQ(ExitCodeFor(Status(Code::kInvalid, "x")), 11);
  EXPECT_EQ(ExitCodeFor(Status(Code::kInternal, "x")), 20);
}

TEST(SafeJsonText, EscapesWhatMovesATerminal) {
  Json value = {{"k\x7f",
                 "a\x1b"
                 "b\xc2\x9b"
                 "c\xc3\xa9"}};
  EXPECT_EQ(SafeJson(value), "{\"k\\u007f\":\"a\\u001bb\\u009bc\xc3\xa9\"}");
  EXPECT_EQ(*ParseJson(SafeJson(value), "x"), value);
  EXPECT_EQ(SafeJson("a\u202Eb\u2066c♥"), "\"a\\u202eb\\u2066c♥\"");
}

TEST(Tables, AlignAndClean) {
  Table table({"A", "LONG"});
  EXPECT_TRUE(table.empty());
  table.Add({"\xc3\xa9\xc3\xa9\xc3\xa9", "x"});
  table.Add({"b\n\x1b", ""});
  EXPECT_EQ(table.Text(), "A    LONG\n\xc3\xa9\xc3\xa9\xc3\xa9  x\nb ?  -\n");
}

TEST(Colors, AreOffWithoutATerminal) {
  SetUpColors(true);
  EXPECT_EQ(Paint(Color::kRed, "x"), "x");
}

TEST(Times, UnknownIsADash) { EXPECT_EQ(LocalTime(0), "-"); }

}  // namespace
}  // namespace dvdi::cli
