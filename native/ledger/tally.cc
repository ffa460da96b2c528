// Numbers for the metrics.
#include "ledger/ledger.h"

namespace dvdi {

Result<std::vector<LedgerTx::TallyRow>> LedgerTx::Tally(const char* sql) {
  Stmt s = db_->Prepare(sql);
  std::vector<TallyRow> rows;
  while (s.Step()) rows.push_back({s.Text(0), s.Text(1), s.Int(2)});
  if (!s.status().ok()) return s.status();
  return rows;
}

}  // namespace dvdi
