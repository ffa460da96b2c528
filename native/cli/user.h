// The user that a command runs as.
#ifndef DVDI_CLI_USER_H_
#define DVDI_CLI_USER_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/status.h"

namespace dvdi::cli {

struct UserIds {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // all of them, the primary one too
  std::string name, home;     // home is empty for a number that names no known user
};

// USER[:GROUP], names or numbers. Without GROUP: the user's own groups, as at a login; with it: that
// one alone. A number that is no known user needs a GROUP. kNotFound for an unknown name.
Result<UserIds> ResolveUser(const std::string& text);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_USER_H_
