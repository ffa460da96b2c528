#include "ledger/schema.h"

#include <iterator>
#include <string>

namespace dvdi {
namespace {

// Each entry takes the file from version i to i + 1. Entries are never changed, only added; a step may
// add tables, columns with defaults and indexes, nothing else (docs/ledger.md, "Versions").
constexpr const char* kSteps[] = {
    R"sql(
CREATE TABLE volume(
  driver TEXT NOT NULL, name TEXT NOT NULL,
  created_by_us INTEGER NOT NULL DEFAULT 0,
  created_ms INTEGER NOT NULL DEFAULT 0, last_used_ms INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'known',
  PRIMARY KEY(driver, name)) WITHOUT ROWID;
CREATE TABLE attachment(
  id TEXT PRIMARY KEY, driver TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
  mountpoint TEXT NOT NULL DEFAULT '', device TEXT NOT NULL DEFAULT '', boot_id TEXT NOT NULL DEFAULT '',
  mount_sent INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0, next_ms INTEGER NOT NULL DEFAULT 0,
  retry_base_ms INTEGER NOT NULL DEFAULT 0, retry_max_ms INTEGER NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT '', created_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE UNIQUE INDEX attachment_volume ON attachment(driver, name);
CREATE INDEX attachment_due ON attachment(next_ms) WHERE state = 'releasing';
CREATE TABLE operation(
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, scope TEXT NOT NULL, instance TEXT NOT NULL,
  boot_id TEXT NOT NULL, state TEXT NOT NULL, request_hash TEXT NOT NULL DEFAULT '',
  answer TEXT NOT NULL DEFAULT '', started_ms INTEGER NOT NULL DEFAULT 0,
  pid INTEGER NOT NULL DEFAULT 0, start_time INTEGER NOT NULL DEFAULT 0,
  mount_namespace INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE UNIQUE INDEX operation_scope ON operation(owner, scope);
CREATE INDEX operation_unfinished ON operation(state) WHERE state <> 'committed';
CREATE TABLE effect(
  operation TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL,
  attachment TEXT NOT NULL DEFAULT '', path TEXT NOT NULL DEFAULT '', done INTEGER NOT NULL DEFAULT 0,
  target TEXT NOT NULL DEFAULT '', mode TEXT NOT NULL DEFAULT '', access TEXT NOT NULL DEFAULT '',
  PRIMARY KEY(operation, seq)) WITHOUT ROWID;
CREATE INDEX effect_attachment ON effect(attachment, kind) WHERE attachment <> '';
CREATE INDEX effect_target ON effect(target) WHERE kind = 'attach' AND target <> '';
CREATE TABLE record(
  seq INTEGER PRIMARY KEY, operation TEXT NOT NULL, kind TEXT NOT NULL,
  owner TEXT NOT NULL, scope TEXT NOT NULL, started_ms INTEGER NOT NULL, duration_us INTEGER NOT NULL,
  outcome TEXT NOT NULL, volumes TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE verdict(
  seq INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, kind TEXT NOT NULL, workload TEXT NOT NULL,
  operation TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE INDEX verdict_of ON verdict(sha256, kind, at_ms);
)sql",
    R"sql(
CREATE INDEX attachment_mountpoint ON attachment(mountpoint) WHERE mountpoint <> '';
)sql",
    R"sql(
ALTER TABLE operation ADD COLUMN pid_namespace INTEGER NOT NULL DEFAULT 0;
)sql",
    R"sql(
ALTER TABLE attachment ADD COLUMN also TEXT NOT NULL DEFAULT '';
)sql",
#ifdef DVDI_NEXT_SCHEMA
    // What a later version may add, for the test of an upgrade under a running older engine.
    R"sql(
ALTER TABLE volume ADD COLUMN next_note TEXT NOT NULL DEFAULT 'of a later version';
ALTER TABLE operation ADD COLUMN next_number INTEGER NOT NULL DEFAULT 7;
CREATE TABLE next_thing(id TEXT PRIMARY KEY, about TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX next_volume ON volume(next_note);
)sql",
#endif
};

// Every table with every column of version 1.
constexpr const char* kTables[] = {
    "SELECT driver, name, created_by_us, created_ms, last_used_ms, state FROM volume",
    "SELECT id, driver, name, state, mountpoint, device, boot_id, mount_sent, attempts, next_ms, "
    "retry_base_ms, retry_max_ms, error, created_ms FROM attachment",
    "SELECT id, owner, scope, instance, boot_id, state, request_hash, answer, started_ms, pid, start_time, "
    "mount_namespace FROM operation",
    "SELECT operation, seq, kind, attachment, path, done, target, mode, access FROM effect",
    "SELECT seq, operation, kind, owner, scope, started_ms, duration_us, outcome, volumes, body FROM record",
    "SELECT seq, sha256, kind, workload, operation, outcome, detail, at_ms FROM verdict",
};

// PRAGMA application_id of a file that is yet to be filled from what else is known; of all others it is 0.
constexpr int64_t kNotWhole = 0x64766469;

Status ReadVersion(Db* db, int* version) {
  Stmt read = db->Prepare("PRAGMA user_version");
  if (read.Step()) *version = static_cast<int>(read.Int(0));
  if (*version < 0)
    return Status(Code::kSystem, "integrity check: its version is " + std::to_string(*version));
  return read.status();
}

Status MigrateInTransaction(Db* db, int* found) {
  // Read again: two engines may open a new file at once.
  DVDI_RETURN_IF_ERROR(ReadVersion(db, found));
  if (*found == 0) DVDI_RETURN_IF_ERROR(SetWhole(db, false));
  for (int i = *found; i < SchemaVersion(); ++i) {
    DVDI_RETURN_IF_ERROR(db->Exec(kSteps[i]));
    DVDI_RETURN_IF_ERROR(db->Exec(("PRAGMA user_version = " + std::to_string(i + 1)).c_str()));
  }
  return Status();
}

}  // namespace

int SchemaVersion() { return static_cast<int>(std::size(kSteps)); }

Status CheckSchema(Db* db) {
  for (const char* sql : kTables) {
    Stmt columns = db->Prepare(sql);
    DVDI_RETURN_IF_ERROR(columns.status());
  }
  return Status();
}

Status MigrateSchema(Db* db, int* found) {
  int version = 0;
  DVDI_RETURN_IF_ERROR(ReadVersion(db, &version));
  if (version >= SchemaVersion()) {
    *found = version;
    return Status();
  }
  DVDI_RETURN_IF_ERROR(db->Exec("BEGIN IMMEDIATE"));
  Status s = MigrateInTransaction(db, found);
  if (s.ok()) return db->Exec("COMMIT");
  (void)db->Exec("ROLLBACK");
  return s;
}

Status ReadWhole(Db* db, bool* whole) {
  Stmt read = db->Prepare("PRAGMA application_id");
  *whole = !(read.Step() && read.Int(0) == kNotWhole);
  return read.status();
}

Status SetWhole(Db* db, bool whole) {
  return db->Exec(("PRAGMA application_id = " + std::to_string(whole ? 0 : kNotWhole)).c_str());
}

}  // namespace dvdi
