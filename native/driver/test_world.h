// What the driver's tests share: a folder of their own, a mount namespace of their own (so that
// nothing stays mounted, however a test ends), raw HTTP.
#ifndef DVDI_DRIVER_TEST_WORLD_H_
#define DVDI_DRIVER_TEST_WORLD_H_

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "mount/mountinfo.h"
#include "sys/sys.h"

namespace dvdi::testing {

// Moves this process into a mount namespace of its own, once. "" or the reason why it cannot.
inline std::string EnterOwnNamespace() {
  static const std::string reason = []() -> std::string {
    if (::geteuid() != 0) return "needs root to mount";
    if (::unshare(CLONE_NEWNS) < 0) return std::string("cannot make a mount namespace: ") + ::strerror(errno);
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0)
      return std::string("cannot make / private: ") + ::strerror(errno);
    return "";
  }();
  return reason;
}

// "" or why loop devices, or mkfs for `fs`, cannot be had here.
inline std::string NeedVolumes(const std::string& fs = "ext4") {
  if (std::string why = EnterOwnNamespace(); !why.empty()) return why;
  if (::access("/dev/loop-control", R_OK | W_OK) < 0) return "needs loop devices (/dev/loop-control)";
  if (::access(("/usr/sbin/mkfs." + fs).c_str(), X_OK) < 0 &&
      ::access(("/sbin/mkfs." + fs).c_str(), X_OK) < 0)
    return "needs mkfs." + fs;
  std::ifstream in("/proc/filesystems");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (text.find("\t" + fs + "\n") == std::string::npos) return "this kernel has no " + fs;
  return "";
}

#define DVDI_SKIP_UNLESS(reason)                                          \
  do {                                                                    \
    if (std::string why_ = (reason); !why_.empty()) GTEST_SKIP() << why_; \
  } while (0)

inline std::string Text(const Status& s) { return s.message(); }
template <class T>
std::string Text(const Result<T>& r) {
  return r.status().message();
}

// OK, or the test ends with the message.
#define ASSERT_OK(expr)                                \
  do {                                                 \
    const auto& r_ = (expr);                           \
    ASSERT_TRUE(r_.ok()) << ::dvdi::testing::Text(r_); \
  } while (0)

inline std::vector<MountEntry> MountsNow() {
  auto text = Sys::Real()->Mountinfo();
  return ParseMountinfo(text.ok() ? *text : std::string());
}

class TempDir {
 public:
  enum Kind { kDisk, kMemory };
  // kMemory: on a tmpfs in a mount namespace of its own (where it can be had), where fsyncs cost nothing.
  explicit TempDir(Kind kind = kDisk) {
    char path[] = "/tmp/dvdi-driver-test.XXXXXX";
    if (::mkdtemp(path) != nullptr) path_ = path;
    if (kind == kMemory && EnterOwnNamespace().empty()) [[maybe_unused]]
      int r = ::mount("none", path_.c_str(), "tmpfs", 0, "mode=0700");
  }
  ~TempDir() {
    if (path_.empty()) return;
    // Never delete through a mount.
    auto mounts = MountsNow();
    for (auto it = mounts.rbegin(); it != mounts.rend(); ++it)
      if (it->mountpoint == path_ || it->mountpoint.rfind(path_ + "/", 0) == 0)
        ::umount2(it->mountpoint.c_str(), MNT_DETACH);
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
}
inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline bool Exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}
inline std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  (void)Sys::Real()->ListDir(AT_FDCWD, folder.c_str(), &names);
  return names;
}

// A connection that says what it is told to say.
class RawClient {
 public:
  explicit RawClient(const std::string& socket) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    ::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
    connected_ = ::connect(fd_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) == 0;
  }
  bool connected() const { return connected_; }
  int fd() const { return fd_.get(); }
  bool Send(const std::string& text) {
    size_t done = 0;
    while (done < text.size()) {
      ssize_t n = ::send(fd_.get(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
      if (n <= 0) return false;
      done += static_cast<size_t>(n);
    }
    return true;
  }
  // Up to the end of the connection.
  std::string ReadAll() {
    std::string out = std::move(pending_);
    char buffer[4096];
    ssize_t n;
    while ((n = ::recv(fd_.get(), buffer, sizeof buffer, 0)) > 0) out.append(buffer, static_cast<size_t>(n));
    return out;
  }
  // One response with a Content-Length (or none: the head alone); "" where the connection ends.
  std::string ReadResponse() {
    for (;;) {
      size_t head = pending_.find("\r\n\r\n");
      if (head != std::string::npos) {
        size_t length = 0, at = pending_.find("Content-Length: ");
        if (at != std::string::npos && at < head) length = std::stoul(pending_.substr(at + 16));
        if (pending_.size() >= head + 4 + length) {
          std::string out = pending_.substr(0, head + 4 + length);
          pending_.erase(0, out.size());
          return out;
        }
      }
      char buffer[4096];
      ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n <= 0) return "";
      pending_.append(buffer, static_cast<size_t>(n));
    }
  }

 private:
  UniqueFd fd_;
  bool connected_ = false;
  std::string pending_;
};

inline std::string PostText(const std::string& target, const std::string& body) {
  return "POST " + target + " HTTP/1.1\r\nHost: \r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}
// The whole response to one POST; "" where there is none.
inline std::string Post(const std::string& socket, const std::string& target, const std::string& body) {
  RawClient client(socket);
  if (!client.connected() || !client.Send(PostText(target, body))) return "";
  return client.ReadResponse();
}
inline bool Is200(const std::string& response) { return response.rfind("HTTP/1.1 200 ", 0) == 0; }

}  // namespace dvdi::testing

#endif  // DVDI_DRIVER_TEST_WORLD_H_
