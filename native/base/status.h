// The result type of the C++ side: every function that can fail returns a Status or a Result<T>.
// No exception leaves a function of this project; libraries that throw are caught where they are
// called.
#ifndef DVDI_BASE_STATUS_H_
#define DVDI_BASE_STATUS_H_

#include <cassert>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace dvdi {

// Kinds of failure. The numbers and names are part of the C ABI (dvdi.h) and of the policy ABI
// (docs/abi.md): only add.
enum class Code {
  kOk = 0,
  kInvalid = 1,      // input that is wrong: statement, option, request, settings
  kRefused = 2,      // well formed and known, but not allowed now (in use, policy, settings)
  kNotFound = 3,     // no such volume, driver, scope, operation
  kUnavailable = 4,  // a driver cannot be reached; nothing is known about its volumes
  kDriver = 5,       // a driver answered with an error of its own
  kPolicy = 6,       // the policy blob trapped, hit a limit or answered nonsense
  kSystem = 7,       // a system call failed
  kTimeout = 8,      // a deadline passed
  kUnsupported = 9,  // this kernel, filesystem or build cannot do it
  kInternal = 10,    // a bug of ours
};

// "ok", "invalid", "refused", … (never null).
const char* CodeName(Code code);
// The code of that name; kInternal for an unknown name.
Code CodeFromName(std::string_view name);

// What failed, why, and what to do. One line each, free of control characters.
class [[nodiscard]] Status {
 public:
  Status() = default;  // OK: a null pointer, so that what succeeds costs next to nothing
  Status(Code code, std::string message, std::string hint = "")
      : failure_(std::make_unique<Failure>(
            Failure{.code = code, .message = std::move(message), .hint = std::move(hint)})) {}
  Status(const Status& other)
      : failure_(other.failure_ == nullptr ? nullptr : std::make_unique<Failure>(*other.failure_)) {}
  Status(Status&&) = default;
  Status& operator=(const Status& other) { return *this = Status(other); }
  Status& operator=(Status&&) = default;
  ~Status() = default;

  // An OK that lives as long as the process.
  static const Status& Ok();

  // "what: strerror(err)", code kSystem; `path` is kept apart. `err` is a positive errno.
  static Status FromErrno(int err, std::string_view what, std::string path = "");

  bool ok() const { return code() == Code::kOk; }
  Code code() const { return failure_ == nullptr ? Code::kOk : failure_->code; }
  const std::string& message() const { return Get().message; }
  const std::string& hint() const { return Get().hint; }
  const std::string& volume() const { return Get().volume; }
  const std::string& driver() const { return Get().driver; }
  const std::string& path() const { return Get().path; }
  int error_number() const { return Get().error_number; }  // 0 where no system call failed

  Status& WithVolume(std::string driver, std::string volume) & {
    Set().driver = std::move(driver);
    Set().volume = std::move(volume);
    return *this;
  }
  Status&& WithVolume(std::string driver, std::string volume) && {
    WithVolume(std::move(driver), std::move(volume));
    return std::move(*this);
  }
  Status&& WithHint(std::string hint) && {
    Set().hint = std::move(hint);
    return std::move(*this);
  }
  Status&& WithPath(std::string path) && {
    Set().path = std::move(path);
    return std::move(*this);
  }
  // "context: message", everything else kept.
  Status&& WithContext(std::string_view context) && {
    Set().message.insert(0, std::string(context) + ": ");
    return std::move(*this);
  }

  // {"code","message","hint","volume","driver","path"}, empty fields left out.
  std::string ToJson() const;

 private:
  struct Failure {
    Code code = Code::kOk;
    int error_number = 0;
    std::string message, hint, volume, driver, path;
  };

  const Failure& Get() const;
  Failure& Set() {
    if (failure_ == nullptr) failure_ = std::make_unique<Failure>();
    return *failure_;
  }

  std::unique_ptr<Failure> failure_;
};

inline Status OkStatus() { return Status(); }

// A value or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : v_(std::move(value)) {}        // NOLINT: implicit by intent
  Result(Status status) : v_(std::move(status)) {  // NOLINT: implicit by intent
    assert(!std::get<Status>(v_).ok());
  }

  bool ok() const { return std::holds_alternative<T>(v_); }
  explicit operator bool() const { return ok(); }
  T& value() & { return std::get<T>(v_); }
  const T& value() const& { return std::get<T>(v_); }
  T&& value() && { return std::get<T>(std::move(v_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &std::get<T>(v_); }
  const T* operator->() const { return &std::get<T>(v_); }
  // The failure, which lives as long as this does; OK where there is a value.
  const Status& status() const& { return ok() ? Status::Ok() : std::get<Status>(v_); }
  Status status() && { return ok() ? Status() : std::get<Status>(std::move(v_)); }

 private:
  std::variant<T, Status> v_;
};

// Returns early from a function of type Status or Result<T>.
#define DVDI_RETURN_IF_ERROR(expr)              \
  do {                                          \
    if (::dvdi::Status s_ = (expr); !s_.ok()) { \
      return s_;                                \
    }                                           \
  } while (0)
#define DVDI_CONCAT_INNER(a, b) a##b
#define DVDI_CONCAT(a, b) DVDI_CONCAT_INNER(a, b)
#define DVDI_ASSIGN_OR_RETURN(lhs, expr) DVDI_ASSIGN_OR_RETURN_IMPL(DVDI_CONCAT(r_, __LINE__), lhs, expr)
#define DVDI_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                               \
  if (!tmp.ok()) return std::move(tmp).status();   \
  lhs = std::move(tmp).value()

}  // namespace dvdi

#endif  // DVDI_BASE_STATUS_H_
