#include "crash/points.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace dvdi::crash {
namespace {

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Moment Named(const std::string& text) {
  if (text == "before") return Moment::kBefore;
  if (text == "sent") return Moment::kSent;
  if (text == "acted") return Moment::kActed;
  if (text == "after") return Moment::kAfter;
  return Moment::kNone;
}

// The errno of that name, 0 where there is none.
int ErrorNamed(const std::string& text) {
  constexpr int kErrors = 134;
  for (int error = 1; error < kErrors; ++error) {
    const char* name = ::strerrorname_np(error);
    if (name != nullptr && text == name) return error;
  }
  return 0;
}

bool IsHex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Long runs of hexadecimal digits are ids, other runs of digits numbers.
std::string WithoutIds(const std::string& path) {
  constexpr size_t kShortestId = 12;
  std::string out;
  for (size_t i = 0; i < path.size();) {
    size_t hex = i, number = i;
    while (hex < path.size() && IsHex(path[hex])) ++hex;
    while (number < path.size() && IsDigit(path[number])) ++number;
    if (hex - i >= kShortestId) {
      out += "ID", i = hex;
    } else if (number > i) {
      out += "N", i = number;
    } else {
      out += path[i++];
    }
  }
  return out;
}

void DieAtEnd() { Points::Die(); }

}  // namespace

Points& Points::OfThisProcess() {
  static auto* points =
      new Points(Variable("DVDI_CRASH_AT"), Variable("DVDI_CRASH_LOG"), Variable("DVDI_CRASH_HOME"));
  return *points;
}

Points::Points(const std::string& at, const std::string& log, std::string home) : home_(std::move(home)) {
  if (!at.empty()) {
    std::istringstream words(at);
    std::string moment;
    int nth = 0;
    words >> moment >> nth >> std::ws;
    std::getline(words, name_);
    moment_ = Named(moment), left_ = nth;
    if (moment_ == Moment::kNone && (error_ = ErrorNamed(moment)) != 0) moment_ = Moment::kFails;
    if (moment_ == Moment::kNone || nth < 1 || name_.empty()) {
      static constexpr char kWhy[] = "DVDI_CRASH_AT wants \"before|sent|acted|after|ERRNO N NAME\"\n";
      (void)!::write(2, kWhy, sizeof kWhy - 1);
      ::_exit(2);
    }
  }
  if (!log.empty()) log_ = ::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

void Points::Die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

Moment Points::Enter(const std::string& name) {
  if (log_ >= 0) {
    std::string line = name + "\n";
    (void)!::write(log_, line.data(), line.size());
  }
  if (moment_ == Moment::kNone || name != name_ || --left_ != 0) return Moment::kNone;
  if (moment_ == Moment::kBefore) Die();
  return moment_;
}

void Points::Acted(Moment moment) {
  if (moment != Moment::kAfter) Die();
  // Where no commit comes any more it is the end of the process.
  dies_at_commit_ = true;
  ::atexit(DieAtEnd);
}

void Points::Committed() {
  if (dies_at_commit_) Die();
}

std::string Points::Place(int dirfd, const char* path) const {
  std::string whole = path == nullptr ? "" : path;
  if (whole.empty() || whole[0] != '/') {
    char folder[4096];
    ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(dirfd)).c_str(), folder, sizeof folder);
    std::string base(folder, n > 0 ? static_cast<size_t>(n) : 0);
    whole = whole.empty() ? base : base + "/" + whole;
  }
  if (!home_.empty() && whole.starts_with(home_)) return "~" + WithoutIds(whole.substr(home_.size()));
  return WithoutIds(whole);
}

}  // namespace dvdi::crash
