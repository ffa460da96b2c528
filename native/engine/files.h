// Small files of our own: written whole, read with their owner and mode checked.
#ifndef DVDI_ENGINE_FILES_H_
#define DVDI_ENGINE_FILES_H_

#include <string>

#include "base/json.h"
#include "base/status.h"
#include "ledger/rows.h"
#include "sys/env.h"

namespace dvdi {

Status WriteAll(const Env& env, int fd, const std::string& text, const std::string& path);
// The text of a regular file of at most 1 MiB that belongs to this user and that nobody else can write.
// kRefused where it could have been written by somebody else. Its errno is kept where it cannot be opened.
Result<std::string> ReadOwnFile(const Env& env, const std::string& path);
// The same for a file whoever's it is: one that the operator named, of at most `max` bytes.
Result<std::string> ReadNamedFile(const Env& env, const std::string& path, size_t max);
// Makes the folder (0700) where it is missing, with its parents (0755), and checks that it is ours and that
// nobody else can write to it.
Status EnsureOwnFolder(const Env& env, const std::string& path);

// The part of an operation that files about it hold.
Json OperationToJson(const OperationRow& operation);
OperationRow OperationFromJson(const Json& json);

}  // namespace dvdi

#endif  // DVDI_ENGINE_FILES_H_
