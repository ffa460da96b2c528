// Values that the policy only holds a handle of (promise 10).
#ifndef DVDI_ENGINE_SECRETS_H_
#define DVDI_ENGINE_SECRETS_H_

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "settings/settings.h"
#include "sys/env.h"

namespace dvdi {

using SecretList = std::vector<std::pair<std::string, std::string>>;  // handle, value

// The value of a handle: one taken from this request's own text, or the file of that name in the settings'
// secrets folder, or else among the credentials that systemd gave this process. Folder and file are to be
// root's (or ours) alone, and neither is followed as a symlink. The trailing newline of a file is not part of
// it. The value lies in one buffer on the heap, for the caller to wipe (base/secret.h).
// kRefused for a name that the settings keep from `driver` (drivers.*.secrets, promise 10).
Result<std::string> ResolveSecret(const Env& env, const Settings& settings, const SecretList& inline_secrets,
                                  const std::string& driver, const std::string& name);

// Takes the values of options that the settings list as secret out of a request's source text and puts
// handles in their place, before any policy sees it. `form` is the source's form. What was taken is added to
// *taken.
std::string TakeSecrets(Random* random, const Settings& settings, const std::string& form,
                        const std::string& text, SecretList* taken);

// The same for the policy's own settings, whose values become handles in settings->policy. They are the same
// in each process, as long as the settings are: what a policy asks for with them can be replayed.
Status TakeSettingSecrets(Settings* settings, SecretList* taken);
// The value that a handle of TakeSettingSecrets stands for, or null. A user may write a handle, too: it
// stands for a value only as an option that IsSecretOption, of which a user's text is always replaced.
const std::string* SettingSecret(const SecretList& secrets, const std::string& text);
// Whether the settings list the option as secret.
bool IsSecretOption(const Settings& settings, std::string_view name);

}  // namespace dvdi

#endif  // DVDI_ENGINE_SECRETS_H_
