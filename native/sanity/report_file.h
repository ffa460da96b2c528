// The file that the outcome goes to beside stdout.
#ifndef DVDI_SANITY_REPORT_FILE_H_
#define DVDI_SANITY_REPORT_FILE_H_

#include <string>
#include <string_view>

#include "base/status.h"
#include "sys/env.h"
#include "sys/sys_fd.h"

namespace dvdi::sanity {

class ReportFile {
 public:
  // Says now what would be in the way at the end, when all checks have run. A file is not touched yet;
  // anything else that can be written to (a pipe, a terminal) is opened.
  static Result<ReportFile> Prepare(const Env& env, const std::string& path);
  // A file is replaced: whole, or not at all.
  Status Write(std::string_view text);

 private:
  ReportFile(const Env& env, std::string path) : env_(&env), path_(std::move(path)) {}
  const Env* env_;
  std::string path_;
  SysFd stream_;  // where it is no file
};

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_REPORT_FILE_H_
