#include "base/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

namespace dvdi {
namespace {

// A child of a service inherits the variable also where its standard error was sent elsewhere: only the same
// file counts, as sd_journal_stream_fd(3) has it.
bool StderrIsJournal() {
  const char* named = ::getenv("JOURNAL_STREAM");
  struct stat st = {};
  if (named == nullptr || ::fstat(STDERR_FILENO, &st) != 0) return false;
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) == named;
}

}  // namespace

std::string JournalPrefix(LogLevel level) {
  static const bool journal = StderrIsJournal();
  return journal ? "<" + std::to_string(static_cast<int>(level)) + ">" : "";
}

}  // namespace dvdi
