#include "cli/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <optional>

namespace dvdi::cli {
namespace {

std::optional<uint32_t> Number(const std::string& text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // The largest number means "leave as it is" to setresuid.
  if (error != std::errc() || end != text.data() + text.size() || value == UINT32_MAX) return std::nullopt;
  return value;
}

Result<gid_t> ResolveGroup(const std::string& text) {
  errno = 0;
  if (const struct group* group = ::getgrnam(text.c_str()); group != nullptr) return group->gr_gid;
  int err = errno;
  if (auto number = Number(text); number.has_value()) return static_cast<gid_t>(*number);
  if (err != 0 && err != ENOENT && err != ESRCH)
    return Status::FromErrno(err, "cannot look up the group " + text);
  return Status(Code::kNotFound, "there is no group \"" + text + "\"", "Give an existing group or a number");
}

}  // namespace

Result<UserIds> ResolveUser(const std::string& text) {
  size_t colon = text.find(':');
  std::string user = text.substr(0, colon);
  if (user.empty() || (colon != std::string::npos && colon + 1 == text.size()))
    return Status(Code::kInvalid, "--user is \"" + text + "\"", "Write USER or USER:GROUP, names or numbers");
  auto number = Number(user);
  errno = 0;
  const struct passwd* entry = ::getpwnam(user.c_str());
  int err = errno;
  if (entry == nullptr && number.has_value()) entry = ::getpwuid(*number);
  UserIds ids;
  if (entry != nullptr) {
    ids.uid = entry->pw_uid;
    ids.gid = entry->pw_gid;
    ids.name = entry->pw_name;
    ids.home = entry->pw_dir;
  } else if (number.has_value()) {
    ids.uid = *number;
    ids.name = user;
  } else if (err != 0 && err != ENOENT && err != ESRCH) {
    return Status::FromErrno(err, "cannot look up the user " + user);
  } else {
    return Status(Code::kNotFound, "there is no user \"" + user + "\"", "Give an existing user or UID:GID");
  }
  if (colon != std::string::npos) {
    DVDI_ASSIGN_OR_RETURN(ids.gid, ResolveGroup(text.substr(colon + 1)));
    ids.groups = {ids.gid};
    return ids;
  }
  if (ids.home.empty() && entry == nullptr)
    return Status(Code::kInvalid, "the user " + user + " is not known here, so it has no group",
                  "Give the group too, as in --user " + user + ":" + user);
  int count = 64;
  ids.groups.resize(static_cast<size_t>(count));
  if (::getgrouplist(ids.name.c_str(), ids.gid, ids.groups.data(), &count) < 0) {
    ids.groups.resize(static_cast<size_t>(count));
    if (::getgrouplist(ids.name.c_str(), ids.gid, ids.groups.data(), &count) < 0)
      return Status(Code::kSystem, "cannot read the groups of the user " + ids.name);
  }
  ids.groups.resize(static_cast<size_t>(count));
  return ids;
}

}  // namespace dvdi::cli
