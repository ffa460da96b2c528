#include "helper/protocol.h"

#include <errno.h>
#include <sys/socket.h>

#include <cstring>

namespace dvdi {
namespace {
constexpr size_t kMaxFds = 2;
}

int SendPacket(int socket, const std::string& text, const std::vector<int>& fds) {
  if (text.size() > kMaxHelperPacket || fds.size() > kMaxFds) return -EMSGSIZE;
  struct iovec part = {const_cast<char*>(text.data()), text.size()};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(struct cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    ::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return 0;
    if (errno != EINTR) return -errno;
  }
}

int ReceivePacket(int socket, bool wait, std::string* text, std::vector<UniqueFd>* fds) {
  fds->clear();
  text->resize(kMaxHelperPacket);
  struct iovec part = {text->data(), text->size()};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(struct cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  do {
    n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
  } while (n < 0 && errno == EINTR);
  if (n < 0) return -errno;
  for (struct cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      ::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      fds->emplace_back(fd);
    }
  }
  text->resize(static_cast<size_t>(n));
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) return -EMSGSIZE;
  return n == 0 ? 0 : 1;
}

}  // namespace dvdi
