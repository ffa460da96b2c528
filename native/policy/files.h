// Files that decide what runs: read only where nobody but this user could have written them, written so that
// a crash leaves the old one or the new one.
#ifndef DVDI_POLICY_FILES_H_
#define DVDI_POLICY_FILES_H_

#include <string>
#include <string_view>

#include "base/status.h"
#include "sys/env.h"
#include "sys/sys_fd.h"

namespace dvdi {

// Opens a folder that belongs to this user and that no other user can write to. `create` makes it, 0700,
// where it is missing (its parent must be there). kSystem with the errno where it cannot be opened, kRefused
// where it is not ours. Messages name `path`.
Result<SysFd> OpenOwnedFolder(Sys* sys, const std::string& path, bool create);

// Reads a regular file of at most `max` bytes in `folder` that belongs to this user and that no other user
// can write to; a symbolic link is not followed. `path` is for messages. `st`, where given, is of the file
// that was read. kSystem with the errno, or kRefused.
Result<std::string> ReadOwnedFile(Sys* sys, int folder, const std::string& name, uint64_t max,
                                  const std::string& path, struct stat* st = nullptr);

// Replaces folder/name by `bytes`, 0600: a temporary file, fsync, rename, and fsync of the folder where
// `durable`.
Status ReplaceFile(const Env& env, int folder, const std::string& name, std::string_view bytes,
                   const std::string& path, bool durable);

}  // namespace dvdi

#endif  // DVDI_POLICY_FILES_H_
