// What policies had to say beside their decisions.
#include "ledger/ledger.h"

namespace dvdi {
namespace {

// Rows that are kept; as many as a shadow may have operations.
constexpr int64_t kMaxVerdicts = 100'000;

}  // namespace

Status LedgerTx::PutVerdict(const VerdictRow& row) {
  Stmt put = db_->Prepare(
      "INSERT INTO verdict(sha256, kind, workload, operation, outcome, detail, at_ms) "
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)");
  put.BindAll(row.sha256, row.kind, row.workload, row.operation, row.outcome, row.detail, row.at_ms);
  put.Step();
  if (!put.status().ok()) return put.status();
  Stmt trim = db_->Prepare("DELETE FROM verdict WHERE seq <= last_insert_rowid() - ?1");
  trim.BindAll(kMaxVerdicts);
  trim.Step();
  return trim.status();
}

Result<std::vector<LedgerTx::TallyRow>> LedgerTx::VerdictTally(const std::string& sha256, const char* kind,
                                                               int64_t since_ms) {
  Stmt s = db_->Prepare(
      "SELECT outcome, count(*) FROM verdict WHERE sha256 = ?1 AND kind = ?2 AND at_ms >= ?3 GROUP BY "
      "outcome");
  s.BindAll(sha256, kind, since_ms);
  std::vector<TallyRow> rows;
  while (s.Step()) rows.push_back({s.Text(0), "", s.Int(1)});
  if (!s.status().ok()) return s.status();
  return rows;
}

Result<bool> LedgerTx::HasVerdicts(const std::string& sha256, const char* kind, int64_t since_ms,
                                   int64_t at_least) {
  // All rows from the first one of them on, whatever they are of: no fewer than those that are looked for,
  // unless the clock was put back meanwhile. Then it is said at most `at_least` rows too late.
  Stmt span = db_->Prepare(
      "SELECT (SELECT max(seq) FROM verdict) - seq + 1 FROM verdict "
      "WHERE sha256 = ?1 AND kind = ?2 AND at_ms >= ?3 ORDER BY at_ms, seq LIMIT 1");
  span.BindAll(sha256, kind, since_ms);
  const int64_t most = span.Step() ? span.Int(0) : 0;
  if (!span.status().ok()) return span.status();
  if (most < at_least) return false;
  DVDI_ASSIGN_OR_RETURN(auto tally, VerdictTally(sha256, kind, since_ms));
  int64_t made = 0;
  for (const auto& t : tally) made += t.count;
  return made >= at_least;
}

Result<int64_t> LedgerTx::VerdictWorkloads(const std::string& sha256, const char* kind, int64_t since_ms) {
  Stmt s = db_->Prepare(
      "SELECT count(DISTINCT workload) FROM verdict WHERE sha256 = ?1 AND kind = ?2 AND at_ms >= ?3");
  s.BindAll(sha256, kind, since_ms);
  const int64_t n = s.Step() ? s.Int(0) : 0;
  if (!s.status().ok()) return s.status();
  return n;
}

Result<std::vector<VerdictRow>> LedgerTx::Verdicts(const std::string& sha256, const char* kind,
                                                   int64_t since_ms, int limit) {
  Stmt s = db_->Prepare(
      "SELECT sha256, kind, workload, operation, outcome, detail, at_ms FROM verdict "
      "WHERE sha256 = ?1 AND kind = ?2 AND at_ms >= ?3 AND outcome <> 'same' ORDER BY seq DESC LIMIT ?4");
  s.BindAll(sha256, kind, since_ms, limit);
  std::vector<VerdictRow> rows;
  while (s.Step()) {
    VerdictRow r;
    r.sha256 = s.Text(0), r.kind = s.Text(1), r.workload = s.Text(2), r.operation = s.Text(3);
    r.outcome = s.Text(4), r.detail = s.Text(5), r.at_ms = s.Int(6);
    rows.push_back(std::move(r));
  }
  if (!s.status().ok()) return s.status();
  return rows;
}

}  // namespace dvdi
