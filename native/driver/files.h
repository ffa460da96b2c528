// Small files that survive a crash at any moment: written aside, fsynced, then put in place by one
// rename(2) or link(2).
#ifndef DVDI_DRIVER_FILES_H_
#define DVDI_DRIVER_FILES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace dvdi {

// Test seam: called with the name of each step of an operation that leaves something behind, so that
// a test can end the process there. Null (the default) does nothing.
using StepHook = void (*)(const char* step);
void SetStepHook(StepHook hook);
void Step(const char* step);

// Opens a folder without following a symlink at its end. kNotFound where it does not exist.
Result<UniqueFd> OpenFolder(int dirfd, const std::string& name);
// The same for one that must be ours (CheckOurs of sys/files.h), else kRefused. `what` and `path` are what
// messages call it.
Result<UniqueFd> OpenOurFolder(int dirfd, const std::string& name, const std::string& path,
                               std::string_view what);

// Makes a folder (an absolute path) where it is missing, and those that it is in: 0755, whatever the umask.
// What is there stays as it is.
Status MakeFolders(const std::string& path);

// What the kernel calls an open file (/proc/PID/fd of proc(5)): no path, or one with " (deleted)" behind it,
// where it has none. "" where it is longer than PATH_MAX.
Result<std::string> OpenPath(int fd);
// The path of an open folder in this mount namespace, as the kernel has it: without links, however it was
// opened. kNotFound where it has none any more.
Result<std::string> FolderPath(int fd);

// The text of a regular file of at most `max` bytes (no symlink followed). kNotFound where it does
// not exist, kInvalid where it is too long or no regular file.
Result<std::string> ReadSmallFile(int dirfd, const std::string& name, size_t max = 64 * 1024);

// The same of an open file; `name` is for error texts.
Result<std::string> ReadOpenFile(int fd, const std::string& name, size_t max = 64 * 1024);

// Replaces `name` by `text` through the temporary name `temp` in the same folder. After OK the new
// text is durable; after a crash the file is the old or the new one, whole.
Status ReplaceFile(int dirfd, const std::string& name, std::string_view text, const std::string& temp);

// Makes `name` with `text`, whole and durable, where it does not exist; kRefused where it does. Works
// on NFS, where link(2) may report a failure although it was done.
Status CreateFileExclusive(int dirfd, const std::string& name, std::string_view text,
                           const std::string& temp);

// Writes `text` over the begin of `name`, which exists: it has its room already. Not whole after a crash, nor
// for who reads meanwhile. After OK it is durable.
Status OverwriteFile(int dirfd, const std::string& name, std::string_view text);

// Whether that failed for want of room on the disk, or within a quota.
bool NoRoom(const Status& status);
// unlink(2); OK where it does not exist.
Status RemoveFile(int dirfd, const std::string& name);
// Makes and removes a file there, so that what a network filesystem's client remembers of the folder is asked
// anew.
Status RefreshFolder(int dirfd, const std::string& node);
Status FsyncFolder(int dirfd, std::string_view what);

// "tmp.NODE.HEX": a temporary name that tells whose it is and is never made twice.
std::string TempName(const std::string& node);
// Whether `name` is a temporary name of that node ("" is any node).
bool IsTempName(std::string_view name, std::string_view node);

// "2026-01-02T03:04:05Z" of now.
std::string Rfc3339Now();
// 16 random lower-case hex characters.
std::string RandomHex();

}  // namespace dvdi

#endif  // DVDI_DRIVER_FILES_H_
