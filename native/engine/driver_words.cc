#include "engine/driver_words.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/guards.h"
#include "base/secret.h"
#include "base/text.h"
#include "engine/meta.h"
#include "engine/secrets.h"

namespace dvdi {
namespace {

// Its file says what the settings of the engine that attached it were. One without a file was let go.
bool MayHaveSecrets(Core& core, const AttachmentRow& a) {
  auto meta = ReadMeta(core.env, core.stage_root, a.id);
  if (!meta.ok()) return meta.status().error_number() != ENOENT;
  return std::any_of(meta->attachments.begin(), meta->attachments.end(),
                     [&](const MetaEntry& e) { return e.id == a.id && e.secrets; });
}

}  // namespace

bool HasWords(const Answer& answer) {
  return answer.kind == Answer::Kind::kError ||
         (answer.kind == Answer::Kind::kUnknown &&
          (answer.reason == "not-json" || answer.reason == "malformed"));
}

bool MayTellSecrets(const Env& env, const Settings& settings) {
  if (!settings.secret_options.empty() || !settings.credentials_dir.empty()) return true;
  std::vector<std::string> names;
  const int r = env.sys->ListDir(AT_FDCWD, settings.secrets_dir.c_str(), &names);
  return r < 0 ? r != -ENOENT && r != -ENOTDIR : !names.empty();
}

void HideWhatItMayRepeat(const Core& core, const std::string& driver, Recorder* recorder) {
  for (const std::string* folder : {&core.settings.secrets_dir, &core.settings.credentials_dir}) {
    std::vector<std::string> names;
    if (folder->empty() || core.env.sys->ListDir(AT_FDCWD, folder->c_str(), &names) < 0) continue;
    for (const std::string& name : names) {
      auto secret = ResolveSecret(core.env, core.settings, {}, driver, name);
      if (!secret.ok()) continue;  // what cannot be read is told to nobody
      recorder->HideSecret(*secret);
      Wipe(&*secret);
    }
  }
}

std::string KeptError(Core& core, const Call& call, const Answer& answer,
                      const std::vector<AttachmentRow>& attachments) {
  const bool left_out = DVDI_GUARD(words_left_out) && HasWords(answer) &&
                        (MayTellSecrets(core.env, core.settings) ||
                         std::any_of(attachments.begin(), attachments.end(),
                                     [&](const AttachmentRow& a) { return MayHaveSecrets(core, a); }));
  if (!left_out) return answer.error;
  const std::string how = answer.kind == Answer::Kind::kError ? "refused"
                          : answer.reason == "not-json"       ? "answered without JSON"
                                                              : "answered with what the protocol has not";
  return "driver " + OneLine(call.driver, 130) + ": " + MethodName(call.method) + " was " + how +
         "; its words are left out, as they may repeat a secret: see the driver's log";
}

}  // namespace dvdi
