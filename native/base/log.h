// What every program of ours does with standard error where journald reads it.
#ifndef DVDI_BASE_LOG_H_
#define DVDI_BASE_LOG_H_

#include <string>

namespace dvdi {

// Syslog's numbers.
enum class LogLevel { kError = 3, kWarning = 4, kNotice = 5, kInfo = 6 };

// "<N>", by which journald knows a line's priority, where standard error is journald's own stream (the one
// that JOURNAL_STREAM names); else "". Any thread.
std::string JournalPrefix(LogLevel level);

}  // namespace dvdi

#endif  // DVDI_BASE_LOG_H_
