// Where volumes of other drivers are attached.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <tuple>

#include "ledger/ledger.h"
#include "sys/env.h"

namespace dvdi {
namespace {

TEST(LedgerPlacesTest, FindsWhereAnotherDriverHasAVolume) {
  char folder[] = "/tmp/dvdi-ledger-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  Ledger ledger(SystemEnv(), std::string(folder) + "/ledger.db");
  ASSERT_TRUE(ledger.Open().ok());
  ASSERT_TRUE(ledger
                  .Apply(Commit::intent, false,
                         [&](LedgerTx& tx) -> Status {
                           for (const auto& [name, mountpoint, boot] :
                                {std::tuple("a", "/mnt/a", "now"), std::tuple("b", "/srv/b/x", "before"),
                                 std::tuple("c", "", "now")}) {
                             AttachmentRow row;
                             row.id = row.name = name, row.state = kAttached, row.driver = "red";
                             row.mountpoint = mountpoint, row.boot_id = boot;
                             DVDI_RETURN_IF_ERROR(tx.PutAttachment(row));
                           }
                           return Status();
                         })
                  .ok());
  auto at = [&](const std::string& place, const std::string& driver = "blue") {
    std::string name = "error";
    EXPECT_TRUE(ledger
                    .Read([&](LedgerTx& tx) -> Status {
                      DVDI_ASSIGN_OR_RETURN(auto found, tx.OtherDriversAt(place, driver, "now"));
                      name = found ? found->name : "";
                      return Status();
                    })
                    .ok());
    return name;
  };
  for (const char* place : {"/mnt/a", "/mnt/a/x/y", "/mnt", "/"}) EXPECT_EQ(at(place), "a") << place;
  for (const char* place : {"/mnt/ab", "/mnt/a.b", "/mn", "/srv/b", "/srv/b/x", "/data"})
    EXPECT_EQ(at(place), "") << place;
  EXPECT_EQ(at("/mnt/a", "red"), "") << "its own";
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace dvdi
