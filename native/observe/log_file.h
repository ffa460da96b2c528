// A file of lines that several processes append to, rotated by size and number.
#ifndef DVDI_OBSERVE_LOG_FILE_H_
#define DVDI_OBSERVE_LOG_FILE_H_

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// Thread-safe. Nothing is fsynced: what was appended survives the process, not a power loss.
class LogFile {
 public:
  // PATH is the newest file, PATH.1 to PATH.keep (at least 1) the older ones. Rotated before it would grow
  // over `max_bytes`.
  LogFile(const Env& env, std::string path, int64_t max_bytes, int keep);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  // Appends whole lines, each with its line feed, by one write: lines of several processes do not mix. Makes
  // the file (0600) where it is missing. kRefused where it is not ours or others could write it. Empty text
  // only looks whether it could be written.
  Status Append(std::string_view lines);
  const std::string& path() const { return path_; }

 private:
  Status OpenCurrent(int64_t* size);
  void CloseCurrent();
  Status Rotate(int64_t more);

  const Env env_;
  const std::string path_;
  const int64_t max_bytes_;
  const int keep_;
  std::mutex mu_;
  int fd_ = -1;
  uint64_t device_ = 0, inode_ = 0;
  bool torn_ = false;  // the last write ended within a line
};

}  // namespace dvdi

#endif  // DVDI_OBSERVE_LOG_FILE_H_
