// What tests of the ledger share.
#ifndef DVDI_LEDGER_TEST_LEDGER_H_
#define DVDI_LEDGER_TEST_LEDGER_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "ledger/ledger.h"
#include "sys/sys.h"

namespace dvdi {

class LedgerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dvdi-ledger-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
    env_ = SystemEnv();
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string path() const { return dir_ + "/ledger.db"; }

  AttachmentRow Attachment(const std::string& name) {
    AttachmentRow a;
    a.id = "id-" + name, a.driver = "d", a.name = name, a.state = kIntent, a.boot_id = "boot";
    return a;
  }
  Status Begin(LedgerTx& tx, const std::string& op, const std::string& attachment, const std::string& boot) {
    OperationRow o;
    o.id = op, o.owner = "run", o.scope = "scope-" + op, o.instance = "i", o.boot_id = boot,
    o.state = kRunning;
    DVDI_RETURN_IF_ERROR(tx.PutOperation(o));
    EffectRow e;
    e.operation = op, e.seq = 1, e.kind = kAttach, e.attachment = attachment, e.target = "/data",
    e.mode = "rw";
    DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
    e.seq = 2, e.kind = kStage, e.path = "/stage/" + op;
    return tx.PutEffect(e);
  }

  std::string dir_;
  Env env_;
};

}  // namespace dvdi

#endif  // DVDI_LEDGER_TEST_LEDGER_H_
