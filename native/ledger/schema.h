// The ledger's tables and their migrations.
#ifndef DVDI_LEDGER_SCHEMA_H_
#define DVDI_LEDGER_SCHEMA_H_

#include "base/status.h"
#include "ledger/db.h"

namespace dvdi {

// The newest version this engine knows (PRAGMA user_version).
int SchemaVersion();
// Brings the file up to SchemaVersion(), one transaction for each step. A newer file is left as it is:
// versions only add, so that an older engine can always clean up. *found gets the version that was there. A
// new file says from its first transaction on that it is not whole.
Status MigrateSchema(Db* db, int* found);
// Whether the file holds all that it should (PRAGMA application_id): false from when it is made until
// SetWhole says so, through however many processes that die meanwhile.
Status ReadWhole(Db* db, bool* whole);
Status SetWhole(Db* db, bool whole);
// Whether every table is there with all that version 1 has: a damaged page may name them otherwise and pass
// SQLite's own check. Prepares a statement for each; none is run.
Status CheckSchema(Db* db);

}  // namespace dvdi

#endif  // DVDI_LEDGER_SCHEMA_H_
