// What the engine and dvdi-helper say to each other: one JSON object in one SOCK_SEQPACKET packet, with
// descriptors beside it. Both ends come from one build; the version guards against a mixed installation.
//
//   request: {"v":2,"op":"folder","path":P,"subpath":S,"ownership":n,"uid":n,"gid":n,"left_ms":n}
//              with the folder's descriptor, or without one: then P is opened
//            {"v":2,"op":"statfs","path":P,"left_ms":n}
//   answers: {"progress":n}*  and then
//            {"ok":{"mount_id":n,"real":P,"chowned":n,"usage":[…]}} with the folder's descriptor, then the
//              userns's
//            {"error":{"code","message","hint","errno"}}
#ifndef DVDI_HELPER_PROTOCOL_H_
#define DVDI_HELPER_PROTOCOL_H_

#include <string>
#include <vector>

#include "base/fd.h"

namespace dvdi {

constexpr int kHelperProtocol = 2;
constexpr int kHelperSocket = 3;  // the helper's end of the socket pair
constexpr size_t kMaxHelperPacket = 32 * 1024;

// One packet with descriptors (at most 2; they stay the caller's). Never blocks, never raises SIGPIPE.
// 0 or -errno.
int SendPacket(int socket, const std::string& text, const std::vector<int>& fds);
// One packet: 1, 0 where the other end is closed, or -errno (-EAGAIN with `wait` false; -EMSGSIZE for a
// packet that is too long). The descriptors are close-on-exec.
int ReceivePacket(int socket, bool wait, std::string* text, std::vector<UniqueFd>* fds);

}  // namespace dvdi

#endif  // DVDI_HELPER_PROTOCOL_H_
