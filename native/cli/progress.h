// A line that says that something takes long: on a terminal only, and gone when it is over.
#ifndef DVDI_CLI_PROGRESS_H_
#define DVDI_CLI_PROGRESS_H_

#include <cstdint>
#include <string>

namespace dvdi::cli {

class Progress {
 public:
  // `what` is being done, as in "removing data". Shown after a second.
  explicit Progress(std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // How long a poll(2) may wait before Tick wants to be called: milliseconds, or -1 where there is no
  // terminal.
  int WaitMs() const;
  // Shows how long it has taken so far.
  void Tick();
  // Takes the line away, so that something else can be written.
  void Clear();

 private:
  const std::string what_;
  const bool on_;
  const int64_t began_ms_;
  bool shown_ = false;
};

}  // namespace dvdi::cli

#endif  // DVDI_CLI_PROGRESS_H_
