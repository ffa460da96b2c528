// The driver's listening socket: made at a path, or taken over from systemd.
#ifndef DVDI_DRIVER_LISTEN_H_
#define DVDI_DRIVER_LISTEN_H_

#include <sys/stat.h>

#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace dvdi {

// A listening socket (mode 0600) at the absolute path, whose missing folders are made; `made` is what was put
// there. kRefused where another process answers on the path, or something that is no socket is there.
Result<UniqueFd> ListenAt(const std::string& path, struct stat* made);

// The listening Unix socket that systemd passed to this process (sd_listen_fds(3)), and its path; nothing
// where it passed none. kInvalid where it passed several, or something else. To be called once, before any
// thread starts.
struct InheritedSocket {
  int fd = -1;
  std::string path;
};
Result<InheritedSocket> SocketFromSystemd();

}  // namespace dvdi

#endif  // DVDI_DRIVER_LISTEN_H_
