// Log lines of the driver: stderr, one line each, free of control characters.
#ifndef DVDI_DRIVER_LOG_H_
#define DVDI_DRIVER_LOG_H_

#include <string_view>

#include "base/log.h"

namespace dvdi {

// Writes one line with one write(2), with its priority where journald reads it. Any thread.
void Log(LogLevel level, std::string_view text);

}  // namespace dvdi

#endif  // DVDI_DRIVER_LOG_H_
