// Small files of our own: written whole, read with their owner and mode checked.
#ifndef DVDI_SYS_FILES_H_
#define DVDI_SYS_FILES_H_

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/status.h"
#include "sys/env.h"
#include "sys/sys_fd.h"

namespace dvdi {

// "Ours" is what belongs to this user or to root, and what nobody else can write to: what is read of it
// decides what runs and what is undone. What is not is kRefused. Where a call fails, the Status has its
// errno. `path` is what messages call the file or folder.

// Says that it needs root where a call was not allowed to a user who is not root, and no other hint is given.
Status NeedsRoot(Status status);
// kRefused where what `st` is of is not ours. `what`: what messages say before its path.
Status CheckOurs(const struct stat& st, const std::string& path, std::string_view what = "");
// A folder that is ours. `create` makes it, 0700, where it is missing; its parent must be there.
Result<SysFd> OpenOwnFolder(Sys* sys, const std::string& path, bool create);
// Makes the folder (0700) where it is missing, with its parents (0755, whatever the umask), and checks that
// it is ours.
Status EnsureOwnFolder(Sys* sys, const std::string& path);

// The bytes of a regular file of ours, at most `max`; a symbolic link is not followed. `st`, where given, is
// of the file that was read.
Result<std::string> ReadOwnFileAt(Sys* sys, int folder, const std::string& name, uint64_t max,
                                  const std::string& path, struct stat* st = nullptr);
// The same file, open for reading.
Result<SysFd> OpenOwnFileAt(Sys* sys, int folder, const std::string& name, uint64_t max,
                            const std::string& path, struct stat* st = nullptr);
// Its bytes by its path, of at most 1 MiB.
Result<std::string> ReadOwnFile(Sys* sys, const std::string& path);
// The same for a file whoever's it is, links followed: one that the operator named.
Result<std::string> ReadNamedFile(Sys* sys, const std::string& path, uint64_t max);

// Whether a store to a mapped page of a file that has its blocks needs no room on a filesystem of that type
// (statfs(2)). Where it may (btrfs and its like write elsewhere), and there is none, it is a SIGBUS.
bool MappedWritesInPlace(int64_t type);
// Whether the error is of the process or the moment, and not of the file: it can be read in a while.
bool CanBeReadLater(const Status& why);
// All of it, from where the descriptor stands.
Status WriteAll(Sys* sys, int fd, std::string_view bytes, const std::string& path);
// The name of a file that becomes folder/name when it is whole. Who makes it locks it
// (Sys::TryLock) until it has that name.
std::string TemporaryName(const Env& env, const std::string& name);
// Removes what those have left in the folder that died with such a file: theirs are not locked any more.
void SweepTemporaries(Sys* sys, int folder);
// Replaces folder/name by `bytes`, 0600: a temporary file, fsync, rename, and fsync of the folder where
// `durable`. A crash leaves the old one or the new one.
Status ReplaceFile(const Env& env, int folder, const std::string& name, std::string_view bytes,
                   const std::string& path, bool durable);
// Replaces the file at `path`, which an operator named and others read (0644, whatever the umask): written
// beside it and renamed, so that it is there whole or as it was. Never fsynced.
Status ReplaceNamedFile(const Env& env, const std::string& path, std::string_view bytes);
// Whether that could be done now, by making the file beside it; nothing is left.
Status CheckReplaceable(const Env& env, const std::string& path);

}  // namespace dvdi

#endif  // DVDI_SYS_FILES_H_
