#include "cli/print.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "base/log.h"
#include "base/output.h"
#include "base/text.h"

namespace dvdi::cli {
namespace {

bool colors_on = false;
const char* program_name = "dvdi";

// Columns of a terminal, near enough: one for each character.
size_t Width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// journald knows the program; a person at a terminal wants to.
void Say(LogLevel level, std::string_view text) {
  std::string prefix = JournalPrefix(level);
  const std::string line = (prefix.empty() ? std::string(program_name) + ": " : prefix) + Clean(text) + "\n";
  if (::fwrite(line.data(), 1, line.size(), stderr) == line.size()) ::fflush(stderr);
}

}  // namespace

int ExitCodeFor(const Status& status) {
  return status.ok() ? kExitOk : kExitEngine + static_cast<int>(status.code());
}

std::string Clean(std::string_view text) { return OneLine(text, 1 << 20); }

Status ReadError(Code code, const Json& error, const std::string& otherwise) {
  const std::string message = GetString(error, "message");
  Status status(code, message.empty() ? otherwise : message, GetString(error, "hint"));
  status.WithVolume(GetString(error, "driver"), GetString(error, "volume"));
  return std::move(status).WithPath(GetString(error, "path"));
}

std::string ErrorLine(const Status& status) {
  std::string line = status.message();
  while (!line.empty() && (line.back() == '.' || line.back() == ' ')) line.pop_back();
  std::string where;
  auto add = [&](const char* what, const std::string& value) {
    if (!value.empty()) where += (where.empty() ? "" : ", ") + std::string(what) + " " + value;
  };
  add("volume", status.volume());
  add("driver", status.driver());
  if (line.find(status.path()) == std::string::npos) add("path", status.path());
  if (!where.empty()) line += " (" + where + ")";
  std::string hint = status.hint();
  if (!hint.empty() && hint[0] >= 'a' && hint[0] <= 'z') hint[0] = static_cast<char>(hint[0] - 'a' + 'A');
  if (!hint.empty()) line += ". " + hint;
  return Clean(line);
}

std::string ErrorLine(const Json& error) {
  return ErrorLine(ReadError(Code::kInternal, error, GetString(error, "code", "error")));
}

void PrintError(const Status& status, bool json) {
  if (json)
    PrintText("{\"error\":" + SafeJson(ParseJson(status.ToJson(), "a status").value()) + "}\n");
  else
    Say(LogLevel::kError, ErrorLine(status));
}

void SetProgramName(const char* name) { program_name = name; }

void PrintNote(std::string_view text) {
  Say(text.substr(0, 5) == "note:" ? LogLevel::kNotice : LogLevel::kInfo, text);
}

std::string SafeJson(const Json& value) {
  // Dump escapes what is below 0x20; the rest that moves a terminal can only stand inside strings.
  std::string text = Dump(value), out;
  out.reserve(text.size());
  for (std::string_view left = text; !left.empty();) {
    const Character c = FirstCharacter(left);
    if (c.code >= 0x7F && IsControl(c.code)) {
      const unsigned char bytes[2] = {static_cast<unsigned char>(c.code >> 8),
                                      static_cast<unsigned char>(c.code)};
      out += "\\u" + Hex(bytes, 2);
    } else {
      out += left.substr(0, c.length);
    }
    left.remove_prefix(c.length);
  }
  return out;
}

void PrintText(std::string_view text) { WriteOutput(text); }

void PrintJson(const Json& value) { PrintText(SafeJson(value) + "\n"); }

void SetUpColors(bool off) {
  const char* term = ::getenv("TERM");
  const char* no_color = ::getenv("NO_COLOR");
  colors_on = !off && ::isatty(STDOUT_FILENO) && term != nullptr && std::string_view(term) != "dumb" &&
              (no_color == nullptr || *no_color == '\0');
}

bool ColorsOn() { return colors_on; }

std::string Paint(Color color, std::string_view text) {
  if (!colors_on || color == Color::kPlain) return std::string(text);
  const char* code = "";
  switch (color) {
    case Color::kPlain: break;
    case Color::kBold: code = "1"; break;
    case Color::kDim: code = "2"; break;
    case Color::kRed: code = "31"; break;
    case Color::kGreen: code = "32"; break;
    case Color::kYellow: code = "33"; break;
  }
  return "\033[" + std::string(code) + "m" + std::string(text) + "\033[0m";
}

void Table::Add(std::vector<std::string> row, Color color, size_t colored) {
  for (auto& cell : row) {
    cell = Clean(cell);
    if (cell.empty()) cell = "-";
  }
  row.resize(header_.size(), "-");
  rows_.push_back({std::move(row), color, colored});
}

std::string Table::Text() const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < header_.size(); ++i) {
    size_t width = Width(header_[i]);
    for (const auto& row : rows_) width = std::max(width, Width(row.cells[i]));
    widths.push_back(width);
  }
  std::string out;
  auto line = [&](const std::vector<std::string>& cells, auto&& color_of) {
    for (size_t i = 0; i < cells.size(); ++i) {
      out += Paint(color_of(i), cells[i]);
      if (i + 1 < cells.size()) out.append(widths[i] - Width(cells[i]) + 2, ' ');
    }
    out += '\n';
  };
  line(header_, [](size_t) { return Color::kBold; });
  for (const auto& row : rows_)
    line(row.cells, [&](size_t i) { return i == row.colored ? row.color : Color::kPlain; });
  return out;
}

std::string LocalTime(int64_t unix_ms) {
  if (unix_ms <= 0) return "-";
  time_t seconds = static_cast<time_t>(unix_ms / 1000);
  struct tm parts;
  char buffer[64];
  if (::localtime_r(&seconds, &parts) == nullptr ||
      ::strftime(buffer, sizeof buffer, "%Y-%m-%d %H:%M:%S", &parts) == 0)
    return "-";
  return buffer;
}

int64_t NowMs() {
  struct timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

std::string SizeText(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(units)) bytes /= 1024, ++unit;
  char text[64];
  std::snprintf(text, sizeof text, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text;
}

}  // namespace dvdi::cli
