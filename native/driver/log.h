// Log lines of the driver: stderr, one line each, free of control characters.
#ifndef DVDI_DRIVER_LOG_H_
#define DVDI_DRIVER_LOG_H_

#include <string_view>

namespace dvdi {

// Syslog's numbers, which journald reads from the "<N>" prefix.
enum class LogLevel { kError = 3, kWarning = 4, kInfo = 6 };

// Writes one line with one write(2). The "<N>" prefix is there only where stderr is journald's
// (JOURNAL_STREAM). Any thread.
void Log(LogLevel level, std::string_view text);

}  // namespace dvdi

#endif  // DVDI_DRIVER_LOG_H_
