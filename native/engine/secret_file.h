// Secrets that lie in files: those of an operator, and the credentials that systemd gives a service.
#ifndef DVDI_ENGINE_SECRET_FILE_H_
#define DVDI_ENGINE_SECRET_FILE_H_

#include <string>

#include "base/status.h"
#include "sys/env.h"

namespace dvdi {

// The value in the file of that name, without its trailing newline, in one buffer for the caller to wipe.
// Folder and file are to be root's (or ours) alone, and neither is followed as a symlink. `name` is a plain
// file name. kNotFound where the folder or the file is not there.
Result<std::string> ReadSecretFile(const Env& env, const std::string& folder, const std::string& name);
// The same from the folder of a service's credentials, which its user may read.
Result<std::string> ReadCredential(const Env& env, const std::string& folder, const std::string& name);

}  // namespace dvdi

#endif  // DVDI_ENGINE_SECRET_FILE_H_
