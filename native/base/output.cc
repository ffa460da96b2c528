#include "base/output.h"

#include <cerrno>
#include <cstdio>

namespace dvdi {
namespace {

// Why it failed first. stdio keeps no more than that it did, and drops what it could not write.
int why = 0;

void Flush() {
  if (::fflush(stdout) != 0 && why == 0) why = errno;
}

}  // namespace

void WriteOutput(std::string_view text) {
  if (::fwrite(text.data(), 1, text.size(), stdout) != text.size() && why == 0) why = errno;
  Flush();
}

Status OutputWritten() {
  Flush();
  if (why == EPIPE || (why == 0 && ::ferror(stdout) == 0)) return OkStatus();
  if (why == 0) return Status(Code::kSystem, "the output cannot be written to standard output");
  return Status::FromErrno(why, "the output cannot be written to standard output");
}

bool ReaderHasGone() { return why == EPIPE; }

}  // namespace dvdi
