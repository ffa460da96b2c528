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

Status Status::FromErrno(int err, std::string_view what, std::string path) {
  char buffer[128];
  Status s(Code::kSystem, std::string(what) + ": " + strerror_r(err, buffer, sizeof buffer));
  s.errno_ = err;
  if (err == ENOSPC || err == EDQUOT) s.hint_ = "make room on the filesystem";
  if (err == EMFILE || err == ENFILE) s.hint_ = "raise the limit of open files";
  s.path_ = std::move(path);
  return s;
}

std::string Status::ToJson() const {
  Json j = {{"code", CodeName(code_)}, {"message", message_}};
  if (!hint_.empty()) j["hint"] = hint_;
  if (!volume_.empty()) j["volume"] = volume_;
  if (!driver_.empty()) j["driver"] = driver_;
  if (!path_.empty()) j["path"] = path_;
  return Dump(j);
}

}  // namespace dvdi
