#include "ledger/ledger.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "ledger/test_ledger.h"

namespace dvdi {
namespace {

TEST_F(LedgerTest, SqliteCountsNoMemory) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  EXPECT_EQ(sqlite3_memory_used(), 0) << "each of its allocations takes a lock for that";
}

TEST_F(LedgerTest, RemembersAcrossOpenings) {
  {
    Ledger ledger(env_, path());
    ASSERT_TRUE(ledger.Open().ok());
    EXPECT_TRUE(ledger.rebuilt()) << "a missing file is to be filled from the stage folder";
    EXPECT_EQ(ledger.note(), "");
    ASSERT_TRUE(ledger
                    .Apply(Commit::intent, true,
                           [&](LedgerTx& tx) -> Status {
                             DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("x")));
                             return Begin(tx, "op", "id-x", "boot");
                           })
                    .ok());
  }
  {
    Ledger ledger(env_, path());
    ASSERT_TRUE(ledger.Open().ok());
    EXPECT_TRUE(ledger.rebuilt()) << "whoever was to fill it has not said that it is whole";
    ASSERT_TRUE(ledger.Apply(Commit::whole, false, [](LedgerTx& tx) { return tx.SetWhole(true); }).ok());
  }
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  EXPECT_FALSE(ledger.rebuilt());
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    auto a = tx.FindAttachment("d", "x");
                    EXPECT_TRUE(a.ok() && a->has_value());
                    if (a.ok() && a->has_value()) EXPECT_EQ((*a)->id, "id-x");
                    auto users = tx.Users("id-x", "boot");
                    EXPECT_TRUE(users.ok());
                    EXPECT_EQ(users->size(), 1u);
                    if (users->size() == 1) {
                      EXPECT_EQ(users->at(0).target, "/data");
                      EXPECT_EQ(users->at(0).stage, "/stage/op");
                    }
                    return Status();
                  })
                  .ok());
  struct stat st;
  ASSERT_EQ(::stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

// Begun in ledgers that knew nothing of each other.
TEST_F(LedgerTest, OfTwoOperationsForOneScopeNeitherLosesItsEffects) {
  for (const std::string undone : {"", "one", "two"}) {
    SCOPED_TRACE(undone);
    Ledger ledger(env_, path() + undone);
    ASSERT_TRUE(ledger.Open().ok());
    Status s = ledger.Apply(Commit::rebuilt, false, [&](LedgerTx& tx) -> Status {
      // The first is put once more behind the other one.
      for (const std::string op : {"one", "two", "one"}) {
        OperationRow o;
        o.id = op, o.owner = "run", o.scope = "scope", o.instance = "i", o.boot_id = "boot";
        o.state = op == undone ? kUndoing : kCommitted;
        DVDI_RETURN_IF_ERROR(tx.PutOperation(o));
        EffectRow e;
        e.operation = op, e.seq = 1, e.kind = kAttach, e.attachment = "id-" + op;
        DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
      }
      DVDI_ASSIGN_OR_RETURN(auto all, tx.Operations());
      EXPECT_EQ(all.size(), 2u);
      const std::string keeps = undone == "one" ? "two" : "one", other = undone == "one" ? "one" : "two";
      DVDI_ASSIGN_OR_RETURN(auto found, tx.FindOperation("run", "scope"));
      EXPECT_TRUE(found && found->id == keeps);
      DVDI_ASSIGN_OR_RETURN(found, tx.FindOperation(kByHand, "run/scope (" + other + ")"));
      EXPECT_TRUE(found && found->id == other);
      for (const std::string op : {"one", "two"}) {
        DVDI_ASSIGN_OR_RETURN(auto users, tx.Users("id-" + op, "boot"));
        EXPECT_EQ(users.size(), 1u) << op;
      }
      return Status();
    });
    EXPECT_TRUE(s.ok()) << s.message();
  }
}

TEST_F(LedgerTest, UsersOfAnEarlierBootAreNone) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  ASSERT_TRUE(ledger
                  .Apply(Commit::intent, false,
                         [&](LedgerTx& tx) -> Status {
                           DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("x")));
                           return Begin(tx, "op", "id-x", "old boot");
                         })
                  .ok());
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    EXPECT_EQ(tx.Users("id-x", "new boot")->size(), 0u);
                    EXPECT_EQ(tx.Users("id-x", "old boot")->size(), 1u);
                    return Status();
                  })
                  .ok());
}

TEST_F(LedgerTest, AFailedBodyLeavesNothing) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  Status s = ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) -> Status {
    DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("x")));
    return Status(Code::kRefused, "no");
  });
  EXPECT_EQ(s.code(), Code::kRefused);
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    EXPECT_FALSE(tx.FindAttachment("d", "x")->has_value());
                    return Status();
                  })
                  .ok());
}

// The connections to the file that this process has open.
int Connections(const std::string& path) {
  int found = 0;
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the iterator's own
    found += std::filesystem::read_symlink(fd.path(), gone) == path ? 1 : 0;
  }
  return found;
}

TEST_F(LedgerTest, AReadDoesNotWaitForAWriteAndSeesNothingOfIt) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  auto count = [&](size_t* seen) {
    return ledger.Read([seen](LedgerTx& tx) -> Status {
      DVDI_ASSIGN_OR_RETURN(auto all, tx.Attachments());
      *seen = all.size();
      return Status();
    });
  };
  size_t before = 9, meanwhile = 9, after = 9;
  EXPECT_TRUE(count(&before).ok());
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(Connections(path()), 1) << "a second one takes time, and nobody writes";
  Status s = ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) -> Status {
    DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("a")));
    Status read;
    std::thread([&] { read = count(&meanwhile); }).join();
    return read;
  });
  ASSERT_TRUE(s.ok()) << s.message();
  EXPECT_EQ(meanwhile, 0u);
  EXPECT_TRUE(count(&after).ok());
  EXPECT_EQ(after, 1u);
}

TEST_F(LedgerTest, ItsLogGrowsAsFarAsItsStoreSays) {
  struct ShortLog : Store {
    int LogPages() override { return 8; }
  } shortly;
  auto log_bytes = [&](Store* store, const std::string& at) {
    env_.store = store;
    Ledger ledger(env_, at);
    EXPECT_TRUE(ledger.Open().ok());
    for (int i = 0; i < 60; ++i) {
      Status s = ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) -> Status {
        return tx.PutAttachment(Attachment(std::to_string(i)));
      });
      EXPECT_TRUE(s.ok()) << s.message();
    }
    return std::filesystem::file_size(at + "-wal");
  };
  const auto usual = log_bytes(Store::Real(), path()), small = log_bytes(&shortly, dir_ + "/short.db");
  EXPECT_GT(usual, 3 * small) << small;
}

TEST_F(LedgerTest, AReadThatFailsIsInNobodysWay) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  Status read = ledger.Read([](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(int64_t count, tx.Count("SELECT count(*) FROM nothing_of_the_kind"));
    return count == 0 ? Status() : Status(Code::kInternal, "there is something");
  });
  EXPECT_FALSE(read.ok());
  Status s = ledger.Apply(Commit::intent, false,
                          [&](LedgerTx& tx) -> Status { return tx.PutAttachment(Attachment("a")); });
  EXPECT_TRUE(s.ok()) << s.message();
}

TEST_F(LedgerTest, ConcurrentCommitsAreEachWholeAndFailAlone) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k) {
        std::string name = std::to_string(i) + "-" + std::to_string(k);
        Status s = ledger.Apply(Commit::intent, k % 2 == 0, [&](LedgerTx& tx) -> Status {
          DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment(name)));
          if (k % 10 == 4) return Status(Code::kRefused, "no");
          if (k % 10 == 9) throw std::runtime_error("no");
          return Status();
        });
        if (!s.ok()) ++failed;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(failed, 8 * 4);
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    EXPECT_EQ(tx.Attachments()->size(), 8u * 16u);
                    return Status();
                  })
                  .ok());
}

TEST_F(LedgerTest, RecordsAreBoundedAndFoundByVolumeAndScope) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  for (int i = 0; i < 30; ++i) {
    RecordRow r;
    r.operation = "op" + std::to_string(i), r.kind = "prepare", r.owner = "run",
    r.scope = "s" + std::to_string(i);
    r.outcome = "ok", r.body = "{}";
    ASSERT_TRUE(ledger
                    .Apply(Commit::intent, false,
                           [&](LedgerTx& tx) {
                             return tx.PutRecord(r, {{"d", i % 2 == 0 ? "even" : "odd"}}, 10);
                           })
                    .ok());
  }
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    EXPECT_EQ(tx.Records("", "", "", "", 100)->size(), 10u);
                    EXPECT_EQ(tx.Records("", "", "d", "odd", 100)->size(), 5u);
                    EXPECT_EQ(tx.Records("", "", "", "even", 1)->at(0).operation, "op28");
                    EXPECT_EQ(tx.Records("", "s29", "", "", 5)->size(), 1u);
                    EXPECT_EQ(tx.Records("op3", "", "", "", 5)->size(), 0u) << "older than the bound";
                    EXPECT_EQ(tx.Records("", "", "", "ven", 5)->size(), 0u) << "no part of a name";
                    int64_t seq = tx.Records("", "", "d", "odd", 1)->at(0).seq;
                    EXPECT_EQ(tx.Records("", "", "d", "odd", 1, {-1, 1})->at(0).operation, "op27");
                    auto rest = tx.Records("", "", "", "", 100, {seq - 3});
                    EXPECT_EQ(rest->size(), 3u);
                    EXPECT_EQ(rest->at(0).operation, "op27") << "oldest first";
                    EXPECT_EQ(tx.Records("", "", "", "", 1, {0, 9})->at(0).operation, "op29");
                    EXPECT_EQ(tx.Records("", "", "d", "odd", 9, {seq - 3})->size(), 2u);
                    EXPECT_EQ(tx.Records("op28", "", "", "", 1, {seq})->size(), 0u);
                    EXPECT_EQ(tx.Records("", "s28", "", "", 1, {0})->size(), 1u);
                    return Status();
                  })
                  .ok());
}

TEST_F(LedgerTest, AnEffectThatWasPassedOnIsNotDeletedForOneThatHadItsPlace) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  auto folder = [](const char* operation, int64_t seq, const char* path) {
    EffectRow e;
    e.operation = operation, e.seq = seq, e.kind = kFolder, e.path = path;
    return e;
  };
  ASSERT_TRUE(ledger
                  .Apply(Commit::intent, false,
                         [&](LedgerTx& tx) -> Status {
                           for (const char* id : {"one", "two"}) {
                             OperationRow o;
                             o.id = id, o.owner = "run", o.scope = id, o.state = kUndoing;
                             DVDI_RETURN_IF_ERROR(tx.PutOperation(o));
                           }
                           EffectRow had = folder("one", 1, "/srv/a");
                           DVDI_RETURN_IF_ERROR(tx.PutEffect(had));
                           DVDI_RETURN_IF_ERROR(tx.PutEffect(folder("two", 1, "/srv/b")));
                           // `one` passes its last effect on, and is passed another one.
                           DVDI_RETURN_IF_ERROR(tx.PassEffect("one", 1, "two"));
                           DVDI_RETURN_IF_ERROR(tx.PassEffect("two", 1, "one"));
                           return tx.DeleteEffect(had);
                         })
                  .ok());
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    auto left = tx.Effects("one");
                    EXPECT_EQ(left->size(), 1u);
                    if (left->size() == 1) {
                      EXPECT_EQ(left->at(0).path, "/srv/b");
                      EXPECT_EQ(left->at(0).seq, 1) << "the same place, which is what this is about";
                    }
                    return Status();
                  })
                  .ok());
}

TEST_F(LedgerTest, WhatIsThrownInABodyEndsThatOneAlone) {
  Ledger ledger(env_, path());
  ASSERT_TRUE(ledger.Open().ok());
  Status s = ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) -> Status {
    DVDI_RETURN_IF_ERROR(tx.PutAttachment(Attachment("x")));
    throw std::runtime_error("no luck");
  });
  EXPECT_EQ(s.code(), Code::kInternal);
  EXPECT_NE(s.message().find("no luck"), std::string::npos) << s.message();
  s = ledger.Read([](LedgerTx&) -> Status { throw std::runtime_error("no luck"); });
  EXPECT_EQ(s.code(), Code::kInternal);
  EXPECT_TRUE(
      ledger.Apply(Commit::intent, true, [&](LedgerTx& tx) { return tx.PutAttachment(Attachment("y")); })
          .ok());
  ASSERT_TRUE(ledger
                  .Read([&](LedgerTx& tx) -> Status {
                    auto all = tx.Attachments();
                    EXPECT_EQ(all->size(), 1u) << "nothing of what threw is written";
                    if (all->size() == 1) EXPECT_EQ(all->at(0).name, "y");
                    return Status();
                  })
                  .ok());
}

}  // namespace
}  // namespace dvdi
