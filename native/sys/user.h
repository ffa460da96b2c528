// The user that a workload runs as.
#ifndef DVDI_SYS_USER_H_
#define DVDI_SYS_USER_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/status.h"

namespace dvdi {

struct UserIds {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // all of them, the primary one too
  std::string name, home;     // home is empty for a number that names no known user
};

// USER[:GROUP], names or numbers. Without GROUP: the user's own groups, as at a login; with it: that
// one alone. A number that is no known user needs a GROUP. kNotFound for an unknown name. Any thread;
// may wait for whatever the system looks users up in.
Result<UserIds> ResolveUser(const std::string& text);

}  // namespace dvdi

#endif  // DVDI_SYS_USER_H_
