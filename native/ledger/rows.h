// What the ledger remembers, as rows. docs/ledger.md describes the tables.
#ifndef DVDI_LEDGER_ROWS_H_
#define DVDI_LEDGER_ROWS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace dvdi {

// One volume of one driver on this node: one Mount with one ID.
struct AttachmentRow {
  std::string id, driver, name;
  std::string state;       // kIntent, kAttached, kReleasing
  std::string mountpoint;  // the folder that the plugin named, symlinks followed; "" until it answered
  std::string device;      // "MAJ:MIN root" of the mount there when it was attached
  std::string boot_id;     // the boot in which Mount was last sent
  bool mount_sent = false;
  int64_t attempts = 0;  // of releasing it
  int64_t next_ms = 0;   // wall clock: not before
  int64_t retry_base_ms = 0, retry_max_ms = 0;
  std::string error;  // why it is not released yet
  int64_t created_ms = 0;
  // Other IDs that its volume was mounted by, of which an Unmount is owed too, with a space between them: who
  // could not know of it had mounted it again.
  std::string also;
};
inline constexpr const char* kIntent = "intent";        // an ID is given; Mount may have been sent
inline constexpr const char* kAttached = "attached";    // the plugin answered, somebody uses it
inline constexpr const char* kReleasing = "releasing";  // nobody uses it; Unmount is due

// One prepare of one scope, from its begin until everything it did is undone.
struct OperationRow {
  std::string id, owner, scope, instance, boot_id;
  std::string state;  // kRunning, kCommitted, kUndoing
  std::string request_hash, answer;
  int64_t started_ms = 0;
  pid_t pid = 0;  // a process of the scope, where it lives as long as its mount namespace
  uint64_t start_time = 0, mount_namespace = 0;
  uint64_t pid_namespace = 0;  // of who began it: what `pid` is a number of; 0 where that is not known
};
inline constexpr const char* kRunning = "running";
inline constexpr const char* kCommitted = "committed";
inline constexpr const char* kUndoing = "undoing";
// The owner whose scopes only a reboot, their process or a person ends (`dvdi mount`, `dvdi unmount`).
inline constexpr const char* kByHand = "manual";

// One thing done by an operation that can be undone. Undone effects leave the ledger.
struct EffectRow {
  std::string operation;
  int64_t seq = 0;
  std::string kind;                  // kAttach, kStage, kFolder
  std::string attachment;            // kAttach, kStage
  std::string path;                  // kStage, kFolder
  bool done = false;                 // false: intended only
  std::string target, mode, access;  // kAttach
};
inline constexpr const char* kAttach = "attach";
inline constexpr const char* kStage = "stage";
inline constexpr const char* kFolder = "folder";
// The number of the kAttach of an operation's volume, counted from 0. Its kStage has the next one; whatever
// else there is to undo comes after those of all volumes.
inline constexpr int64_t AttachSeq(int64_t volume) { return 1 + 2 * volume; }

// What is known of a volume beyond its attachments; outlives them.
struct VolumeRow {
  std::string driver, name;
  bool created_by_us = false;
  int64_t created_ms = 0, last_used_ms = 0;
  // "creating" (Create may have been sent), "created" (never used), "known", "released-unconfirmed",
  // "forgotten"
  std::string state;

  // Made by this node, and no workload of this node has had it since.
  bool Unused() const {
    return created_by_us && created_ms > last_used_ms && (state == "created" || state == "known");
  }
};

// A live user of an attachment.
struct UserRow {
  std::string operation, owner, scope, target, mode, access, stage;
  int64_t since_ms = 0;
};

// What a policy would have decided, or that it failed.
struct VerdictRow {
  std::string sha256;    // of the policy
  std::string kind;      // kShadow, kFailure
  std::string workload;  // owner and scope
  std::string operation, outcome, detail;
  int64_t at_ms = 0;
};
inline constexpr const char* kShadowVerdict = "shadow";
inline constexpr const char* kFailureVerdict = "failure";

struct RecordRow {
  std::string operation, kind, owner, scope, outcome, body;
  int64_t started_ms = 0, duration_us = 0;
  int64_t seq = 0;  // the ledger's own, of a record that was read
};

// Which of the records that match are meant, and in which order.
struct RecordOrder {
  int64_t after = -1;    // oldest first, those whose `seq` is greater; -1: newest first
  int64_t skip = 0;      // so many of the first are left out
  int64_t since_ms = 0;  // none that began earlier
};

}  // namespace dvdi

#endif  // DVDI_LEDGER_ROWS_H_
