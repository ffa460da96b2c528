// The boot of the kernel, by its id.
#ifndef DVDI_SYS_BOOT_H_
#define DVDI_SYS_BOOT_H_

#include <string>
#include <utility>

namespace dvdi {

struct Boot {
  Boot() = default;
  Boot(std::string of) : id(std::move(of)) {}  // NOLINT(google-explicit-constructor): as it is stored
  Boot(const char* of) : id(of) {}             // NOLINT(google-explicit-constructor)

  std::string id;    // the kernel's: what is recorded
  std::string also;  // what is mounted over it here, which earlier versions recorded; "" where nothing is

  // Another id by which this boot may be recorded; `id` where there is none.
  const std::string& Other() const { return also.empty() ? id : also; }
  friend bool operator==(const Boot& a, const Boot& b) {
    return a.id == b.id || a.Other() == b.id || b.Other() == a.id;
  }
};

}  // namespace dvdi

#endif  // DVDI_SYS_BOOT_H_
