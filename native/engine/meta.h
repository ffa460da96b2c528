// stage/ID/meta.json: the proof that an attachment is ours, written and fsynced before Mount is sent.
// From these files and mountinfo the ledger can be rebuilt (docs/ledger.md has the format).
#ifndef DVDI_ENGINE_META_H_
#define DVDI_ENGINE_META_H_

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "ledger/rows.h"
#include "mount/mountinfo.h"
#include "sys/env.h"

namespace dvdi {

struct MetaEntry {
  std::string id, driver, name;
  bool secrets = false;  // its driver may have been told a secret (driver_words.h)
  // An Unmount is owed for its Mount. False while a volume is being taken over that a workload has by
  // somebody else's Mount.
  bool owed = true;
};

// What one operation attaches. The files of its attachments are links to one file: one fsync makes
// all of them durable, however many they are.
struct Meta {
  OperationRow operation;  // id, owner, scope, boot_id, process, started_ms
  std::vector<MetaEntry> attachments;
};

// Makes stage_root/ID/meta.json for each attachment (the file of an ID that was there is replaced).
// When this returns OK they are durable; where it fails, folders that it made are gone again.
Status WriteMeta(const Env& env, const std::string& stage_root, const Meta& meta);
// The file of one ID. kRefused where it is not ours (owner, mode), kInvalid where it is damaged.
Result<Meta> ReadMeta(const Env& env, const std::string& stage_root, const std::string& id);
// Whether there is no such file: nothing proves the ID ours. An error where that can be told later
// (CanBeReadLater); false where it cannot be told at all.
Result<bool> MetaIsGone(const Env& env, const std::string& stage_root, const std::string& id);
// Folders below the stage root whose names are IDs.
Result<std::vector<std::string>> ListMeta(const Env& env, const std::string& stage_root);
// Removes stage_root/ID with its file; OK where it is gone. Stages in it must be gone.
Status RemoveMeta(const Env& env, const std::string& stage_root, const std::string& id);
// Removes what is left of an attachment that the ledger has let go: only folders and files of ours, and only
// where nothing is mounted in it as `mounts` has it. Files that are not ours keep their folders.
void RemoveRemains(const Env& env, const std::string& stage_root, const std::string& id,
                   const std::vector<MountEntry>& mounts);
// RemoveMeta behind the commit that has let the attachment go. Scopes of an earlier boot that nobody has
// ended yet may have left their stages' empty folders and files in it: they go too, nothing is mounted there
// any more. What is left all the same is removed by recovery, or reported.
void RemoveLetGo(const Env& env, const std::string& stage_root, const std::string& id);
// Who may be at a WriteMeta: all engines that hold their locks in the folder `instances`; but of the engine
// `own`, which asks, only operations that are `active`. Without that it is asked as all others are.
struct MetaWriters {
  std::string instances, own = "";
  std::function<bool(const std::string& operation)> active = nullptr;
};
// Removes the temporary names that nobody is at any more, of engines that were killed within WriteMeta or of
// one that failed, but those of files that a folder has and that are not whole (MetaWasCutShort).
void SweepTemporaryMeta(const Env& env, const std::string& stage_root, const MetaWriters& writers);
// Whether stage_root/ID holds nothing but a meta.json that a WriteMeta left which never came to its end: it
// is one file with a temporary name that nobody is at any more. That name goes after the content is
// durable. So where the content cannot be read, power was lost before, and no Mount was ever sent with the
// ID.
bool MetaWasCutShort(const Env& env, const std::string& stage_root, const MetaWriters& writers,
                     const std::string& id);
// Whether somebody is at a WriteMeta now: a folder may have no meta.json yet. True where it cannot be seen.
bool MetaIsBeingWritten(const Env& env, const std::string& stage_root);
// Whether the text can be an attachment's ID: 64 lower-case hex characters.
bool IsAttachmentId(const std::string& text);

}  // namespace dvdi

#endif  // DVDI_ENGINE_META_H_
