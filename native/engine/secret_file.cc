#include "engine/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/secret.h"
#include "sys/sys.h"
#include "sys/sys_fd.h"

namespace dvdi {
namespace {

constexpr size_t kMaxSecretBytes = 64 << 10;

// Who may look into a folder of secrets and at its files: nobody but its owner. systemd gives a service's
// user its credentials by an ACL, whose mask shows as the group's rights.
struct Strictness {
  mode_t folder, file;  // bits that must not be set
};
constexpr Strictness kOwnFolder = {077, 077}, kCredentials = {027, 037};

Status CheckOwner(const struct stat& st, mode_t forbidden, const std::string& path) {
  if ((st.st_uid == 0 || st.st_uid == ::geteuid()) && (st.st_mode & forbidden) == 0) return Status();
  return Status(Code::kRefused, path + " is open to others than root",
                "run: chown root " + path + " && chmod go= " + path)
      .WithPath(path);
}

Result<std::string> ReadSecret(const Env& env, const std::string& folder, const std::string& name,
                               const Strictness& strict) {
  const std::string path = folder + "/" + name;
  auto failed = [&path](int err, const std::string& what) {
    if (err == ENOENT) return Status(Code::kNotFound, "there is no file " + path);
    return Status::FromErrno(err, what, path);
  };
  SysFd dir(env.sys, env.sys->OpenAt(AT_FDCWD, folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (!dir.valid()) return failed(dir.error(), "cannot open " + folder);
  struct stat st = {};
  if (int r = env.sys->Fstat(dir.get(), &st); r < 0) return failed(-r, "cannot look at " + folder);
  DVDI_RETURN_IF_ERROR(CheckOwner(st, strict.folder, folder));
  SysFd file(env.sys, env.sys->OpenAt(dir.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  if (!file.valid()) return failed(file.error(), "cannot open " + path);
  if (int r = env.sys->Fstat(file.get(), &st); r < 0) return failed(-r, "cannot look at " + path);
  if (!S_ISREG(st.st_mode)) return Status(Code::kRefused, path + " is not a regular file").WithPath(path);
  DVDI_RETURN_IF_ERROR(CheckOwner(st, strict.file, path));
  // Read into the place where it stays: no copy of it is left behind.
  std::string text;
  text.resize(kMaxSecretBytes + 1);
  size_t size = 0;
  while (size < text.size()) {
    ssize_t n = env.sys->Read(file.get(), text.data() + size, text.size() - size);
    if (n == -EINTR) continue;
    if (n < 0) {
      Wipe(&text);
      return failed(static_cast<int>(-n), "cannot read " + path);
    }
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  if (size > kMaxSecretBytes) {
    Wipe(&text);
    return Status(Code::kInvalid, "secret " + name + " is larger than 64 KiB").WithPath(path);
  }
  text.resize(size);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace

Result<std::string> ReadSecretFile(const Env& env, const std::string& folder, const std::string& name) {
  return ReadSecret(env, folder, name, kOwnFolder);
}

Result<std::string> ReadCredential(const Env& env, const std::string& folder, const std::string& name) {
  return ReadSecret(env, folder, name, kCredentials);
}

}  // namespace dvdi
