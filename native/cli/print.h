// What people and scripts get to read. Nothing that came from outside reaches a terminal raw.
#ifndef DVDI_CLI_PRINT_H_
#define DVDI_CLI_PRINT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace dvdi::cli {

// Exit codes (docs/cli.md).
enum ExitCode {
  kExitOk = 0,
  kExitMissing = 1,  // doctor: something required is missing
  kExitUsage = 2,    // the command line is wrong
  kExitEngine = 10,  // plus dvdi_code
  kExitSystem = kExitEngine + static_cast<int>(Code::kSystem),
  kExitRunFailed = 125,      // run: dvdi itself failed, the command was not started
  kExitCannotExecute = 126,  // run: the command cannot be executed
  kExitNoCommand = 127,      // run: there is no such command
};
int ExitCodeFor(const Status& status);

// An error in one of the engine's answers, {"message", "hint", "volume", "driver", "path"}; `otherwise` is
// its message where it has none.
Status ReadError(Code code, const Json& error, const std::string& otherwise);

// "MESSAGE (volume V, driver D). HINT" as one printable line.
std::string ErrorLine(const Status& status);
// The same of an error in one of the engine's answers: {"message", "hint", …}, "code" where it has no
// message.
std::string ErrorLine(const Json& error);
// Prints a failure: `dvdi: …` on standard error, or {"error": …} on standard output with --json.
void PrintError(const Status& status, bool json);
// What stands in front of every line on standard error: "dvdi", unless set. A literal.
void SetProgramName(const char* name);
// `dvdi: TEXT` on standard error.
void PrintNote(std::string_view text);
// Text on standard output, as it is.
void PrintText(std::string_view text);
// One JSON document and a newline on standard output.
void PrintJson(const Json& value);
// JSON text in which no control character (IsControl), not even DEL or a C1 control, is raw.
std::string SafeJson(const Json& value);

// A value as one printable line, not cut.
std::string Clean(std::string_view text);

enum class Color { kPlain, kBold, kDim, kRed, kGreen, kYellow };
// Colours are used on a terminal that has them, unless NO_COLOR is set or `off`.
void SetUpColors(bool off);
bool ColorsOn();
std::string Paint(Color color, std::string_view text);

// A table with a header; columns are as wide as their widest cell.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  // Cells are cleaned here. `color` paints the cell of column `colored`.
  void Add(std::vector<std::string> row, Color color = Color::kPlain, size_t colored = 0);
  bool empty() const { return rows_.empty(); }
  std::string Text() const;

 private:
  struct Row {
    std::vector<std::string> cells;
    Color color;
    size_t colored;
  };
  std::vector<std::string> header_;
  std::vector<Row> rows_;
};

// "2024-05-06 07:08:09", local time; "-" for 0.
std::string LocalTime(int64_t unix_ms);

// "512 B", "1.5 GiB", "120 GiB".
std::string SizeText(double bytes);
int64_t NowMs();

}  // namespace dvdi::cli

#endif  // DVDI_CLI_PRINT_H_
