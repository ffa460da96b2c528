#include "sanity/report_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "sys/files.h"

namespace dvdi::sanity {

Result<ReportFile> ReportFile::Prepare(const Env& env, const std::string& path) {
  ReportFile report(env, path);
  struct stat st = {};
  const int there = env.sys->FstatAt(AT_FDCWD, path.c_str(), &st, 0);
  if (there < 0 && there != -ENOENT) return Status::FromErrno(-there, "cannot look at " + path, path);
  if (there >= 0 && S_ISDIR(st.st_mode))
    return Status(Code::kInvalid, path + " is a folder", "name a file in it").WithPath(path);
  if (there >= 0 && !S_ISREG(st.st_mode)) {
    report.stream_ = SysFd(env.sys, env.sys->OpenAt(AT_FDCWD, path.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC));
    if (!report.stream_.valid())
      return Status::FromErrno(report.stream_.error(), "cannot open " + path, path);
    return report;
  }
  // A link stays one: what it leads to is replaced.
  if (there >= 0)
    if (const int r = env.sys->RealPath(path.c_str(), &report.path_); r < 0)
      return Status::FromErrno(-r, "cannot find " + path, path);
  DVDI_RETURN_IF_ERROR(CheckReplaceable(env, report.path_));
  return report;
}

Status ReportFile::Write(std::string_view text) {
  if (stream_.valid()) return WriteAll(env_->sys, stream_.get(), text, path_);
  return ReplaceNamedFile(*env_, path_, text);
}

}  // namespace dvdi::sanity
