#include "sys/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <optional>
#include <vector>

namespace dvdi {
namespace {

// A call such as getpwnam_r(3), with as much room as it wants: OK and what `call` filled in, or an errno;
// ENOENT where there is no such entry.
template <class Entry, class Call>
int LookUp(const Call& call, Entry* entry, std::vector<char>* room) {
  room->resize(1024);
  for (;;) {
    Entry* found = nullptr;
    int err = call(entry, room->data(), room->size(), &found);
    if (err == EINTR) continue;
    if (err == ERANGE && room->size() < (1 << 22)) {
      room->resize(room->size() * 4);
      continue;
    }
    if (found != nullptr) return 0;
    return err == 0 || err == ESRCH || err == EBADF || err == EPERM ? ENOENT : err;
  }
}

std::optional<uint32_t> Number(const std::string& text) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // The largest number means "leave as it is" to setresuid.
  if (error != std::errc() || end != text.data() + text.size() || value == UINT32_MAX) return std::nullopt;
  return value;
}

Result<gid_t> ResolveGroup(const std::string& text) {
  struct group group;
  std::vector<char> room;
  int err = LookUp([&](auto... to) { return ::getgrnam_r(text.c_str(), to...); }, &group, &room);
  if (err == 0) return group.gr_gid;
  if (auto number = Number(text); number.has_value()) return static_cast<gid_t>(*number);
  if (err != ENOENT) return Status::FromErrno(err, "cannot look up the group " + text);
  return Status(Code::kNotFound, "there is no group \"" + text + "\"", "Give an existing group or a number");
}

}  // namespace

Result<UserIds> ResolveUser(const std::string& text) {
  size_t colon = text.find(':');
  std::string user = text.substr(0, colon);
  if (user.empty() || (colon != std::string::npos && colon + 1 == text.size()))
    return Status(Code::kInvalid, "--user is \"" + text + "\"", "Write USER or USER:GROUP, names or numbers");
  auto number = Number(user);
  struct passwd entry;
  std::vector<char> room;
  int err = LookUp([&](auto... to) { return ::getpwnam_r(user.c_str(), to...); }, &entry, &room);
  if (err != 0 && number.has_value() &&
      LookUp([&](auto... to) { return ::getpwuid_r(*number, to...); }, &entry, &room) == 0)
    err = 0;
  UserIds ids;
  if (err == 0) {
    ids.uid = entry.pw_uid;
    ids.gid = entry.pw_gid;
    ids.name = entry.pw_name;
    ids.home = entry.pw_dir;
  } else if (number.has_value()) {
    ids.uid = *number;
    ids.name = user;
  } else if (err != ENOENT) {
    return Status::FromErrno(err, "cannot look up the user " + user);
  } else {
    return Status(Code::kNotFound, "there is no user \"" + user + "\"", "Give an existing user or UID:GID");
  }
  if (colon != std::string::npos) {
    DVDI_ASSIGN_OR_RETURN(ids.gid, ResolveGroup(text.substr(colon + 1)));
    ids.groups = {ids.gid};
    return ids;
  }
  if (ids.home.empty() && err != 0)
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

}  // namespace dvdi
