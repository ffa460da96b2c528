// Where exceptions end. Ours are Statuses; what libraries throw (no memory, for one) becomes one here, so
// that it ends what was asked for, and neither a thread, and the process with it, nor what others wait for.
#ifndef DVDI_BASE_CAUGHT_H_
#define DVDI_BASE_CAUGHT_H_

#include <exception>
#include <string>
#include <type_traits>

#include "base/status.h"

namespace dvdi {

// What `body` returns (OK where it returns nothing), or kInternal and what it threw.
template <class Body>
Status Caught(const Body& body) {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return Status();
    } else {
      return body();
    }
  } catch (const std::exception& e) {
    return Status(Code::kInternal, std::string("unexpected: ") + e.what());
  } catch (...) {
    return Status(Code::kInternal, "unexpected failure");
  }
}

}  // namespace dvdi

#endif  // DVDI_BASE_CAUGHT_H_
