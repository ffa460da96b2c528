// The verbs of a ledger transaction.
#include <algorithm>

#include "base/path.h"
#include "ledger/ledger.h"
#include "ledger/schema.h"

namespace dvdi {
namespace {

// Records that may be there beyond the number to keep: one in a hundred, and not many.
int64_t TrimEvery(int64_t keep) { return std::clamp<int64_t>(keep / 100, 1, 64); }

#define ATTACHMENT_COLUMNS                                                                               \
  "id, driver, name, state, mountpoint, device, boot_id, mount_sent, attempts, next_ms, retry_base_ms, " \
  "retry_max_ms, error, created_ms, also"
#define OPERATION_COLUMNS                                                                           \
  "id, owner, scope, instance, boot_id, state, request_hash, answer, started_ms, pid, start_time, " \
  "mount_namespace, pid_namespace"

AttachmentRow ReadAttachment(const Stmt& s) {
  AttachmentRow a;
  a.id = s.Text(0), a.driver = s.Text(1), a.name = s.Text(2), a.state = s.Text(3);
  a.mountpoint = s.Text(4), a.device = s.Text(5), a.boot_id = s.Text(6);
  a.mount_sent = s.Int(7) != 0;
  a.attempts = s.Int(8), a.next_ms = s.Int(9), a.retry_base_ms = s.Int(10), a.retry_max_ms = s.Int(11);
  a.error = s.Text(12), a.created_ms = s.Int(13), a.also = s.Text(14);
  return a;
}

OperationRow ReadOperation(const Stmt& s) {
  OperationRow o;
  o.id = s.Text(0), o.owner = s.Text(1), o.scope = s.Text(2), o.instance = s.Text(3);
  o.boot_id = s.Text(4), o.state = s.Text(5), o.request_hash = s.Text(6), o.answer = s.Text(7);
  o.started_ms = s.Int(8), o.pid = static_cast<pid_t>(s.Int(9));
  o.start_time = static_cast<uint64_t>(s.Int(10)), o.mount_namespace = static_cast<uint64_t>(s.Int(11));
  o.pid_namespace = static_cast<uint64_t>(s.Int(12));
  return o;
}

VolumeRow ReadVolume(const Stmt& s) {
  VolumeRow v;
  v.driver = s.Text(0), v.name = s.Text(1), v.created_by_us = s.Int(2) != 0;
  v.created_ms = s.Int(3), v.last_used_ms = s.Int(4), v.state = s.Text(5);
  return v;
}

template <class T>
Result<std::vector<T>> All(Stmt& s, T (*read)(const Stmt&)) {
  std::vector<T> rows;
  while (s.Step()) rows.push_back(read(s));
  if (!s.status().ok()) return s.status();
  return rows;
}

template <class T>
Result<std::optional<T>> One(Stmt& s, T (*read)(const Stmt&)) {
  std::optional<T> row;
  if (s.Step()) row = read(s);
  if (!s.status().ok()) return s.status();
  return row;
}

}  // namespace

Status LedgerTx::PutAttachment(const AttachmentRow& a) {
  // A row that is there is changed in its place: REPLACE would write every index anew. What makes another row
  // (of the same volume, with another id) impossible is replaced.
  Stmt s = db_->Prepare("INSERT OR REPLACE INTO attachment(" ATTACHMENT_COLUMNS
                        ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
                        "state = excluded.state, mountpoint = excluded.mountpoint, device = excluded.device, "
                        "boot_id = excluded.boot_id, mount_sent = excluded.mount_sent, "
                        "attempts = excluded.attempts, next_ms = excluded.next_ms, "
                        "retry_base_ms = excluded.retry_base_ms, retry_max_ms = excluded.retry_max_ms, "
                        "error = excluded.error, created_ms = excluded.created_ms");
  s.BindAll(a.id, a.driver, a.name, a.state, a.mountpoint, a.device, a.boot_id, a.mount_sent, a.attempts,
            a.next_ms, a.retry_base_ms, a.retry_max_ms, a.error, a.created_ms, a.also);
  return s.Run();
}

Status LedgerTx::DeleteAttachment(const std::string& id) {
  Stmt s = db_->Prepare("DELETE FROM attachment WHERE id = ?");
  return s.BindAll(id).Run();
}

Result<std::optional<AttachmentRow>> LedgerTx::FindAttachment(const std::string& driver,
                                                              const std::string& name) {
  Stmt s = db_->Prepare("SELECT " ATTACHMENT_COLUMNS " FROM attachment WHERE driver = ? AND name = ?");
  return One(s.BindAll(driver, name), ReadAttachment);
}

Result<std::optional<AttachmentRow>> LedgerTx::GetAttachment(const std::string& id) {
  Stmt s = db_->Prepare("SELECT " ATTACHMENT_COLUMNS " FROM attachment WHERE id = ?");
  return One(s.BindAll(id), ReadAttachment);
}

Status LedgerTx::SetAlso(const std::string& id, const std::string& also) {
  Stmt s = db_->Prepare("UPDATE attachment SET also = ? WHERE id = ?");
  return s.BindAll(also, id).Run();
}

Result<bool> LedgerTx::IsOwedToo(const std::string& id) {
  Stmt s = db_->Prepare("SELECT 1 FROM attachment WHERE instr(also, ?) > 0 LIMIT 1");
  const bool found = s.BindAll(id).Step();
  DVDI_RETURN_IF_ERROR(s.status());
  return found;
}

Result<std::vector<AttachmentRow>> LedgerTx::Attachments() {
  Stmt s = db_->Prepare("SELECT " ATTACHMENT_COLUMNS " FROM attachment ORDER BY driver, name");
  return All(s, ReadAttachment);
}

Result<std::optional<AttachmentRow>> LedgerTx::OtherDriversAt(const std::string& path,
                                                              const std::string& driver, const Boot& boot) {
  for (std::string at = path;; at = ParentOf(at)) {
    Stmt s = db_->Prepare("SELECT " ATTACHMENT_COLUMNS
                          " FROM attachment WHERE mountpoint = ? AND mountpoint <> '' AND driver <> ? AND "
                          "boot_id IN (?, ?) LIMIT 1");
    DVDI_ASSIGN_OR_RETURN(auto found, One(s.BindAll(at, driver, boot.id, boot.Other()), ReadAttachment));
    if (found || at == "/") {
      if (found) return found;
      break;
    }
  }
  // '0' follows '/' in ASCII: the range holds exactly what lies below the path.
  Stmt s = db_->Prepare("SELECT " ATTACHMENT_COLUMNS
                        " FROM attachment WHERE mountpoint >= ?1 || '/' AND mountpoint < ?1 || '0' AND "
                        "mountpoint <> '' AND driver <> ?2 AND boot_id IN (?3, ?4) LIMIT 1");
  return One(s.BindAll(path == "/" ? "" : path, driver, boot.id, boot.Other()), ReadAttachment);
}

Result<std::vector<AttachmentRow>> LedgerTx::Releasing(int limit) {
  Stmt s = db_->Prepare("SELECT " ATTACHMENT_COLUMNS
                        " FROM attachment WHERE state = 'releasing' ORDER BY next_ms LIMIT ?");
  return All(s.BindAll(limit), ReadAttachment);
}

Result<std::vector<UserRow>> LedgerTx::Users(const std::string& attachment, const Boot& boot) {
  // The stage that belongs to an attach is the one with the next-higher sequence for the same attachment.
  Stmt s = db_->Prepare(
      "SELECT o.id, o.owner, o.scope, e.target, e.mode, e.access, "
      "  coalesce((SELECT path FROM effect x WHERE x.operation = e.operation AND x.attachment = e.attachment "
      "            AND x.kind = 'stage' AND x.target = e.target LIMIT 1), ''), o.started_ms "
      "FROM effect e JOIN operation o ON o.id = e.operation "
      "WHERE e.attachment = ? AND e.attachment <> '' AND e.kind = 'attach' AND o.boot_id IN (?, ?) "
      "ORDER BY o.started_ms, e.seq");
  return All<UserRow>(s.BindAll(attachment, boot.id, boot.Other()), [](const Stmt& r) {
    UserRow u;
    u.operation = r.Text(0), u.owner = r.Text(1), u.scope = r.Text(2), u.target = r.Text(3);
    u.mode = r.Text(4), u.access = r.Text(5), u.stage = r.Text(6), u.since_ms = r.Int(7);
    return u;
  });
}

Status LedgerTx::PutOperation(const OperationRow& row) {
  OperationRow o = row;
  DVDI_ASSIGN_OR_RETURN(auto other, FindOperation(o.owner, o.scope));
  if (other && other->id != o.id) {
    const bool gives_way = other->state == kUndoing && o.state != kUndoing;
    OperationRow& apart = gives_way ? *other : o;
    apart.scope = o.owner + "/" + o.scope + " (" + apart.id.substr(0, 12) + ")";
    apart.owner = kByHand;
    if (gives_way) {
      Stmt moved = db_->Prepare("UPDATE operation SET owner = ?, scope = ? WHERE id = ?");
      DVDI_RETURN_IF_ERROR(moved.BindAll(apart.owner, apart.scope, apart.id).Run());
    }
  }
  Stmt s =
      db_->Prepare("INSERT INTO operation(" OPERATION_COLUMNS
                   ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
                   "instance = excluded.instance, boot_id = excluded.boot_id, state = excluded.state, "
                   "request_hash = excluded.request_hash, answer = excluded.answer, "
                   "started_ms = excluded.started_ms, pid = excluded.pid, start_time = excluded.start_time, "
                   "mount_namespace = excluded.mount_namespace, pid_namespace = excluded.pid_namespace");
  s.BindAll(o.id, o.owner, o.scope, o.instance, o.boot_id, o.state, o.request_hash, o.answer, o.started_ms,
            static_cast<int64_t>(o.pid), o.start_time, o.mount_namespace, o.pid_namespace);
  return s.Run();
}

Result<bool> LedgerTx::ClaimOperation(const OperationRow& seen, const char* state,
                                      const std::string& instance) {
  Stmt s = db_->Prepare(
      "UPDATE operation SET state = ?, instance = ? WHERE id = ? AND state = ? AND instance = ?");
  s.BindAll(state, instance, seen.id, seen.state, seen.instance);
  DVDI_RETURN_IF_ERROR(s.Run());
  return db_->Changes() == 1;
}

Status LedgerTx::DeleteOperation(const std::string& id) {
  {
    Stmt s = db_->Prepare("DELETE FROM effect WHERE operation = ?");
    DVDI_RETURN_IF_ERROR(s.BindAll(id).Run());
  }
  Stmt s = db_->Prepare("DELETE FROM operation WHERE id = ?");
  return s.BindAll(id).Run();
}

Result<std::optional<OperationRow>> LedgerTx::FindOperation(const std::string& owner,
                                                            const std::string& scope) {
  Stmt s = db_->Prepare("SELECT " OPERATION_COLUMNS " FROM operation WHERE owner = ? AND scope = ?");
  return One(s.BindAll(owner, scope), ReadOperation);
}

Result<std::vector<OperationRow>> LedgerTx::Operations() {
  Stmt s = db_->Prepare("SELECT " OPERATION_COLUMNS " FROM operation ORDER BY started_ms, id");
  return All(s, ReadOperation);
}

Result<std::optional<OperationRow>> LedgerTx::GetOperation(const std::string& id) {
  Stmt s = db_->Prepare("SELECT " OPERATION_COLUMNS " FROM operation WHERE id = ?");
  return One(s.BindAll(id), ReadOperation);
}

Result<std::vector<OperationRow>> LedgerTx::UnfinishedOperations() {
  Stmt s = db_->Prepare("SELECT " OPERATION_COLUMNS
                        " FROM operation WHERE state <> 'committed' ORDER BY started_ms, id");
  return All(s, ReadOperation);
}

Result<std::string> LedgerTx::OtherUserOfFolder(const std::string& path, const std::string& operation) {
  // '0' follows '/' in ASCII: the range holds exactly what lies below the path.
  Stmt s = db_->Prepare(
      "SELECT operation FROM effect WHERE kind = 'attach' AND target <> '' AND operation <> ?1 AND "
      "(target = ?2 OR (target >= ?2 || '/' AND target < ?2 || '0')) "
      // One that is committed has a target below each of its folders.
      "UNION ALL SELECT e.operation FROM operation o JOIN effect e ON e.operation = o.id "
      "WHERE o.state <> 'committed' AND o.id <> ?1 AND e.kind = 'folder' AND "
      "e.path >= ?2 || '/' AND e.path < ?2 || '0' LIMIT 1");
  s.BindAll(operation, path);
  std::string other;
  if (s.Step()) other = s.Text(0);
  if (!s.status().ok()) return s.status();
  return other;
}

Status LedgerTx::PassEffect(const std::string& operation, int64_t seq, const std::string& to) {
  Stmt s = db_->Prepare(
      "UPDATE effect SET operation = ?3, seq = (SELECT coalesce(max(seq), 0) + 1 FROM effect "
      "WHERE operation = ?3) WHERE operation = ?1 AND seq = ?2");
  return s.BindAll(operation, seq, to).Run();
}

Status LedgerTx::PutEffect(const EffectRow& e) {
  Stmt s = db_->Prepare(
      "INSERT OR REPLACE INTO effect(operation, seq, kind, attachment, path, done, target, mode, access) "
      "VALUES(?,?,?,?,?,?,?,?,?)");
  s.BindAll(e.operation, e.seq, e.kind, e.attachment, e.path, e.done, e.target, e.mode, e.access);
  return s.Run();
}

Status LedgerTx::DeleteEffect(const EffectRow& e) {
  Stmt s = db_->Prepare("DELETE FROM effect WHERE operation = ? AND seq = ? AND kind = ? AND path = ?");
  return s.BindAll(e.operation, e.seq, e.kind, e.path).Run();
}

Result<std::vector<std::string>> LedgerTx::StagesOf(const std::string& attachment) {
  // As the index of effects by attachment has it.
  Stmt s =
      db_->Prepare("SELECT path FROM effect WHERE attachment = ? AND attachment <> '' AND kind = 'stage'");
  return All<std::string>(s.BindAll(attachment), [](const Stmt& r) { return r.Text(0); });
}

Result<std::vector<std::string>> LedgerTx::StagePaths() {
  Stmt s = db_->Prepare("SELECT path FROM effect WHERE kind = 'stage'");
  return All<std::string>(s, [](const Stmt& r) { return r.Text(0); });
}

Result<std::vector<EffectRow>> LedgerTx::Effects(const std::string& operation) {
  Stmt s = db_->Prepare(
      "SELECT operation, seq, kind, attachment, path, done, target, mode, access FROM effect "
      "WHERE operation = ? ORDER BY seq");
  return All<EffectRow>(s.BindAll(operation), [](const Stmt& r) {
    EffectRow e;
    e.operation = r.Text(0), e.seq = r.Int(1), e.kind = r.Text(2), e.attachment = r.Text(3);
    e.path = r.Text(4), e.done = r.Int(5) != 0;
    e.target = r.Text(6), e.mode = r.Text(7), e.access = r.Text(8);
    return e;
  });
}

Status LedgerTx::TouchVolume(const VolumeRow& v) {
  // A use is later than the creation, whatever a clock that was set back says: what is unused may be removed.
  Stmt s = db_->Prepare(
      "INSERT INTO volume(driver, name, created_by_us, created_ms, last_used_ms, state) VALUES(?,?,?,?,?,?) "
      "ON CONFLICT DO UPDATE SET created_by_us = max(created_by_us, excluded.created_by_us), "
      "created_ms = max(created_ms, excluded.created_ms), last_used_ms = max(last_used_ms, "
      "excluded.last_used_ms, iif(excluded.last_used_ms > 0, max(created_ms, excluded.created_ms), 0)), "
      "state = excluded.state");
  s.BindAll(v.driver, v.name, v.created_by_us, v.created_ms, v.last_used_ms, v.state);
  return s.Run();
}

Status LedgerTx::SetVolumeState(const std::string& driver, const std::string& name, const char* state) {
  Stmt s = db_->Prepare("UPDATE volume SET state = ? WHERE driver = ? AND name = ?");
  return s.BindAll(state, driver, name).Run();
}

Status LedgerTx::DeleteVolume(const std::string& driver, const std::string& name, const char* state) {
  Stmt s = db_->Prepare("DELETE FROM volume WHERE driver = ?1 AND name = ?2 AND (?3 = '' OR state = ?3)");
  return s.BindAll(driver, name, state).Run();
}

Result<std::optional<VolumeRow>> LedgerTx::GetVolume(const std::string& driver, const std::string& name) {
  Stmt s = db_->Prepare(
      "SELECT driver, name, created_by_us, created_ms, last_used_ms, state FROM volume "
      "WHERE driver = ? AND name = ?");
  return One(s.BindAll(driver, name), ReadVolume);
}

Result<std::vector<VolumeRow>> LedgerTx::Volumes(const std::string& name) {
  Stmt s = db_->Prepare(
      "SELECT driver, name, created_by_us, created_ms, last_used_ms, state FROM volume "
      "WHERE ?1 = '' OR name = ?1 ORDER BY driver, name");
  return All(s.BindAll(name), ReadVolume);
}

Status LedgerTx::PutRecord(const RecordRow& r,
                           const std::vector<std::pair<std::string, std::string>>& volumes, int64_t keep) {
  std::string about = "\n";
  for (const auto& [driver, name] : volumes) about.append(driver).append("\t").append(name).append("\n");
  {
    Stmt s = db_->Prepare(
        "INSERT INTO record(operation, kind, owner, scope, started_ms, duration_us, outcome, volumes, body) "
        "VALUES(?,?,?,?,?,?,?,?,?)");
    s.BindAll(r.operation, r.kind, r.owner, r.scope, r.started_ms, r.duration_us, r.outcome, about, r.body);
    DVDI_RETURN_IF_ERROR(s.Run());
  }
  // The newest row stays: numbers rise, so the bound is a range. Now and then, and then many: neighbours
  // share their pages.
  const int64_t seq = db_->LastRowId();
  if (seq % TrimEvery(keep) != 0) return Status();
  Stmt s = db_->Prepare("DELETE FROM record WHERE seq <= ?");
  return s.BindAll(seq - keep).Run();
}

Result<std::vector<RecordRow>> LedgerTx::Records(const std::string& operation, const std::string& scope,
                                                 const std::string& driver, const std::string& name,
                                                 int limit, const RecordOrder& order) {
  // No index: each would cost every operation a page for each record, and a look at all the records that are
  // kept costs the one who asks some milliseconds.
#define RECORDS(way)                                                                                     \
  "SELECT operation, kind, owner, scope, outcome, body, started_ms, duration_us, seq FROM record "       \
  "WHERE seq > ?5 AND started_ms >= ?8 AND (?1 = '' OR operation = ?1) AND (?2 = '' OR scope = ?2) AND " \
  "(?4 = '' OR instr(volumes, iif(?3 = '', '', char(10) || ?3) || char(9) || ?4 || char(10)) > 0) "      \
  "ORDER BY seq " way " LIMIT ?6 OFFSET ?7"
  Stmt s = db_->Prepare(order.after < 0 ? RECORDS("DESC") : RECORDS("ASC"));
#undef RECORDS
  s.BindAll(operation, scope, driver, name, order.after, limit, order.skip, order.since_ms);
  return All<RecordRow>(s, [](const Stmt& q) {
    RecordRow r;
    r.operation = q.Text(0), r.kind = q.Text(1), r.owner = q.Text(2), r.scope = q.Text(3);
    r.outcome = q.Text(4), r.body = q.Text(5), r.started_ms = q.Int(6), r.duration_us = q.Int(7);
    r.seq = q.Int(8);
    return r;
  });
}

Status LedgerTx::SetWhole(bool whole) { return dvdi::SetWhole(db_, whole); }

Result<bool> LedgerTx::IsWhole() {
  bool whole = false;
  DVDI_RETURN_IF_ERROR(ReadWhole(db_, &whole));
  return whole;
}

Result<int64_t> LedgerTx::Count(const char* sql) {
  Stmt s = db_->Prepare(sql);
  int64_t n = 0;
  if (s.Step()) n = s.Int(0);
  if (!s.status().ok()) return s.status();
  return n;
}

}  // namespace dvdi
