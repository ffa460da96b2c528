// explain --export: records as JSON lines, for a replay elsewhere (docs/replay.md).
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/fd.h"
#include "base/output.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace dvdi::cli {
namespace {

// An answer of the engine is in memory as a whole, and one record may be of some 100 KiB.
constexpr int64_t kAtOnce = 100;

// Standard output, or a new file.
class Lines {
 public:
  ~Lines() { Drop(); }
  Status Open(const std::string& path) {
    path_ = path;
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid())
      return Status::FromErrno(errno, "cannot make " + path, path)
          .WithHint(errno == EEXIST ? "no file is written over: name one that is not there" : "");
    file_ = ::fdopen(fd.get(), "w");
    if (file_ == nullptr) return Status::FromErrno(errno, "cannot write " + path, path);
    static_cast<void>(fd.release());
    return OkStatus();
  }
  Status Write(const Json& value) {
    const std::string line = SafeJson(value) + "\n";
    if (file_ == nullptr) {
      WriteOutput(line);
      return OutputWritten();
    }
    return ::fwrite(line.data(), 1, line.size(), file_) == line.size() ? OkStatus() : Failed();
  }
  Status Close() {
    if (file_ == nullptr) return OkStatus();
    if (::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) return Failed();
    FILE* file = file_;
    file_ = nullptr;
    return ::fclose(file) == 0 ? OkStatus() : Failed();
  }

 private:
  Status Failed() {
    const int error = errno;
    Status s = Status::FromErrno(error, "cannot write the records to " + path_, path_);
    Drop();
    return s;
  }
  // What is not whole is not left behind.
  void Drop() {
    if (file_ == nullptr) return;
    ::fclose(file_);
    ::unlink(path_.c_str());
    file_ = nullptr;
  }

  std::string path_;
  FILE* file_ = nullptr;
};

// Behind which record the newest `wanted` begin.
Result<int64_t> Before(Engine& engine, Json query, int64_t wanted) {
  if (wanted == 0) return 0;
  query["last"] = 1, query["skip"] = wanted;
  DVDI_ASSIGN_OR_RETURN(Json before, engine.Ask(dvdi_explain, query));
  const Json& operations = GetMember(before, "operations");
  return operations.empty() ? 0 : GetInt(operations[0], "seq");
}

}  // namespace

Status ExportRecords(Engine& engine, const Options& options, Json query) {
  DVDI_ASSIGN_OR_RETURN(int64_t after, Before(engine, query, options.last));
  Lines lines;
  if (!options.file.empty()) DVDI_RETURN_IF_ERROR(lines.Open(options.file));
  query["last"] = kAtOnce, query["head"] = true;
  for (bool more = true; more;) {
    query["after"] = after;
    DVDI_ASSIGN_OR_RETURN(Json answer, engine.Ask(dvdi_explain, query));
    if (const Json& head = GetMember(answer, "head"); !head.is_null())
      DVDI_RETURN_IF_ERROR(lines.Write(head));
    query.erase("head");
    const Json& operations = GetMember(answer, "operations");
    for (const Json& operation : operations) DVDI_RETURN_IF_ERROR(lines.Write(operation));
    more = operations.size() == kAtOnce && !ReaderHasGone();
    if (more) after = GetInt(operations.back(), "seq");
  }
  return lines.Close();
}

}  // namespace dvdi::cli
