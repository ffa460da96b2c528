#include "cli/progress.h"

#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "cli/print.h"

namespace dvdi::cli {
namespace {

constexpr int64_t kPatienceMs = 1000;
constexpr int64_t kStepMs = 250;

int64_t SteadyMs() {
  struct timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

bool OnTerminal() {
  const char* term = ::getenv("TERM");
  return ::isatty(STDERR_FILENO) && term != nullptr && std::string_view(term) != "dumb";
}

}  // namespace

Progress::Progress(std::string what) : what_(Clean(what)), on_(OnTerminal()), began_ms_(SteadyMs()) {}

Progress::~Progress() { Clear(); }

int Progress::WaitMs() const {
  if (!on_) return -1;
  return static_cast<int>(std::max(kStepMs, began_ms_ + kPatienceMs - SteadyMs()));
}

void Progress::Tick() {
  int64_t took = SteadyMs() - began_ms_;
  if (!on_ || took < kPatienceMs) return;
  static constexpr const char* kTurns[] = {"|", "/", "-", "\\"};
  std::string line = "dvdi: " + what_ + " … " + std::to_string(took / 1000) + " s " +
                     kTurns[static_cast<size_t>(took / kStepMs) % 4];
  struct winsize size;
  // A line that wraps could not be taken away again. It may end within a character; that goes, too.
  size_t columns = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
  if (line.size() > columns) {
    line.resize(columns);
    while (!line.empty() && (line.back() & 0x80) != 0) line.pop_back();
  }
  ::dprintf(STDERR_FILENO, "\r%s\033[K", line.c_str());
  shown_ = true;
}

void Progress::Clear() {
  if (shown_) ::dprintf(STDERR_FILENO, "\r\033[K");
  shown_ = false;
}

}  // namespace dvdi::cli
