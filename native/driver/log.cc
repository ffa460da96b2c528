#include "driver/log.h"

#include <unistd.h>

#include <string>

#include "base/text.h"

namespace dvdi {

void Log(LogLevel level, std::string_view text) {
  std::string line = JournalPrefix(level);
  if (line.empty()) {
    line = "dvdi-driver: ";
    if (level == LogLevel::kError) line += "error: ";
    if (level == LogLevel::kWarning) line += "warning: ";
  }
  line += OneLine(text, 2000);
  line += '\n';
  // A log that cannot be written has nowhere to be reported.
  [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace dvdi
