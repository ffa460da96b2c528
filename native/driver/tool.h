// Runs one of the filesystem's own programs (mkfs, fsck) on an open file, with a fixed command line.
#ifndef DVDI_DRIVER_TOOL_H_
#define DVDI_DRIVER_TOOL_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dvdi {

// Where the program finds the file: no text from outside is on its command line.
constexpr char kToolFile[] = "/proc/self/fd/3";

struct Tool {
  std::vector<const char*>
      arguments;        // the program's name first, without a folder; kToolFile where the file goes
  const char* package;  // what to install where it is missing
  // Each line of its output, also those that end in a carriage return. May be empty.
  std::function<void(std::string_view)> line;
  // Asked before the program starts, then several times a second: true ends it (SIGKILL). May be empty.
  std::function<bool()> give_up;
};

struct ToolResult {
  int status = 0;    // its exit status
  std::string text;  // the first 2000 bytes of its output
};

// The absolute path of a program, from a fixed list of folders. kUnsupported names the package.
Result<std::string> FindTool(const std::string& name, const char* package);

// Waits for its end. `volume` is for error texts; a program that ends by a signal is an error, one with an
// exit status is not.
Result<ToolResult> RunTool(const Tool& tool, int file, const std::string& volume);

}  // namespace dvdi

#endif  // DVDI_DRIVER_TOOL_H_
