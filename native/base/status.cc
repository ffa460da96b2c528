#include "base/status.h"

#include <cerrno>
#include <cstring>

#include "base/json.h"

namespace dvdi {
namespace {
constexpr const char* kNames[] = {"ok",     "invalid", "refused", "not-found",   "unavailable", "driver",
                                  "policy", "system",  "timeout", "unsupported", "internal"};
}

const char* CodeName(Code code) {
  auto i = static_cast<size_t>(code);
  return i < std::size(kNames) ? kNames[i] : "internal";
}

Code CodeFromName(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return static_cast<Code>(i);
  return Code::kInternal;
}

const Status& Status::Ok() {
  static const Status* const ok = new Status;  // never destroyed: threads may end later than statics
  return *ok;
}

const Status::Failure& Status::Get() const {
  static const auto* const none = new Failure;  // never destroyed, as above
  return failure_ == nullptr ? *none : *failure_;
}

Status Status::FromErrno(int err, std::string_view what, std::string path) {
  char buffer[128];
  Status s(Code::kSystem, std::string(what) + ": " + strerror_r(err, buffer, sizeof buffer));
  s.Set().error_number = err;
  if (err == ENOSPC || err == EDQUOT) s.Set().hint = "make room on the filesystem";
  if (err == EMFILE || err == ENFILE) s.Set().hint = "raise the limit of open files";
  s.Set().path = std::move(path);
  return s;
}

std::string Status::ToJson() const {
  Json j = {{"code", CodeName(code())}, {"message", message()}};
  if (!hint().empty()) j["hint"] = hint();
  if (!volume().empty()) j["volume"] = volume();
  if (!driver().empty()) j["driver"] = driver();
  if (!path().empty()) j["path"] = path();
  return Dump(j);
}

}  // namespace dvdi
