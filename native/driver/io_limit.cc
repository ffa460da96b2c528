#include "driver/io_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/fd.h"
#include "driver/files.h"

namespace dvdi {
namespace {

constexpr char kMax[] = "/io.max";
constexpr char kThrottle[] = "/blkio.throttle.";

Status WriteOnce(const std::string& path, const std::string& text) {
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return Status::FromErrno(errno, "cannot open " + path, path);
  // A control file takes one whole line at a time.
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return Status::FromErrno(errno, "the kernel does not take the limit '" + text + "' in " + path, path);
  return OkStatus();
}

// The rest of the line that begins with "DEVICE ", "" where there is none.
Result<std::string> LineOf(const std::string& path, const std::string& device) {
  DVDI_ASSIGN_OR_RETURN(std::string text, ReadSmallFile(AT_FDCWD, path, 1 << 20));
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (line.rfind(device + " ", 0) == 0) return line.substr(device.size() + 1);
    at = end + 1;
  }
  return std::string();
}

}  // namespace

Result<IoLimiter> IoLimiter::Open(const std::string& cgroup) {
  IoLimiter limiter;
  limiter.cgroup_ = cgroup;
  if (cgroup.empty() || cgroup[0] != '/')
    return Status(Code::kInvalid, "the cgroup '" + cgroup + "' is not an absolute path",
                  "give --io-cgroup a folder beneath /sys/fs/cgroup");
  if (::access((cgroup + kMax).c_str(), W_OK) == 0) {
    limiter.unified_ = true;
    return limiter;
  }
  if (::access((cgroup + kThrottle + "read_iops_device").c_str(), W_OK) == 0) return limiter;
  return Status(Code::kUnsupported,
                "the cgroup " + cgroup +
                    " has neither io.max nor blkio.throttle.*: nothing can be limited in it",
                "name a cgroup below the root whose parent has +io in cgroup.subtree_control, or leave "
                "--io-cgroup out")
      .WithPath(cgroup);
}

Status IoLimiter::Set(const std::string& device, const IoLimits& limits) const {
  if (!can_limit()) return OkStatus();
  if (unified_) {
    auto word = [](const std::optional<int64_t>& v) {
      return v.has_value() ? std::to_string(*v) : std::string("max");
    };
    std::string path = cgroup_ + kMax;
    DVDI_RETURN_IF_ERROR(WriteOnce(path, device + " rbps=" + word(limits.bps) + " wbps=" + word(limits.bps) +
                                             " riops=" + word(limits.iops) + " wiops=" + word(limits.iops)));
    DVDI_ASSIGN_OR_RETURN(std::string there, LineOf(path, device));
    for (const auto& [name, value] : {std::pair(" wiops=", limits.iops), std::pair(" wbps=", limits.bps)})
      if (value.has_value() &&
          (" " + there + " ").find(name + std::to_string(*value) + " ") == std::string::npos)
        return Status(Code::kUnsupported,
                      "the kernel did not keep the limit of device " + device + " in " + path);
    return OkStatus();
  }
  for (const auto& [name, value] :
       {std::pair("read_iops_device", limits.iops), std::pair("write_iops_device", limits.iops),
        std::pair("read_bps_device", limits.bps), std::pair("write_bps_device", limits.bps)}) {
    std::string path = cgroup_ + kThrottle + name;
    // 0 takes a limit away.
    std::string number = std::to_string(value.value_or(0));
    DVDI_RETURN_IF_ERROR(WriteOnce(path, device + " " + number));
    DVDI_ASSIGN_OR_RETURN(std::string there, LineOf(path, device));
    if (value.has_value() && there != number)
      return Status(Code::kUnsupported,
                    "the kernel did not keep the limit of device " + device + " in " + path);
  }
  return OkStatus();
}

}  // namespace dvdi
