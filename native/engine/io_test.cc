// The disk of the state folder fails: at the nth call of each kind, once or from then on, for all n. Whatever
// is answered, a workload that has its volume keeps it, and when the disk is sound again nothing is left.
#include <sqlite3.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "engine/testing/sim_engine.h"
#include "ledger/testing/faulty_vfs.h"

namespace dvdi {
namespace {

class IoTest : public SimEngineTest {
 protected:
  IoTest() { store_ = &disk_; }

  // Opens an engine, runs a workload and ends it, as far as that goes. `live`: the scope that has its volume.
  void Live() {
    EngineOptions options;
    options.settings = settings_;
    options.keeper = Keeping::kNothing;
    auto opened = Engine::Open(env(), std::move(options));
    if (!opened.ok()) {
      ExpectClear(opened.status().message());
      return;
    }
    Engine& engine = **opened;
    engine.core().policy =
        std::make_unique<ScriptedSelector>(engine.core().env, engine.core().runtime.get(), policy_);
    Json prepared = Call(engine, &Engine::Prepare, Request("one", {Volume("red", "a"), Volume("blue", "b")}));
    if (prepared.contains("error")) ExpectClear(MessageOf(prepared));
    ReadBesideAWriter(engine);
    Json ended = Call(engine, &Engine::Cleanup, {{"owner", "run"}, {"scope", "one"}});
    if (ended.contains("error")) ExpectClear(MessageOf(ended));
    engine.Tick();
    world_.scheduler.RunAll();
    engine.Close(0);
    opened->reset();
    world_.scheduler.RunAll();
  }

  // Who reads while somebody writes has a connection of its own, which is opened then.
  void ReadBesideAWriter(Engine& engine) {
    Ledger& ledger = *engine.core().ledger;
    Status written = ledger.Apply(Commit::intent, false, [&](LedgerTx&) {
      Status read;
      std::thread([&] {
        read = ledger.Read([this](LedgerTx& tx) -> Status {
          DVDI_ASSIGN_OR_RETURN(auto all, tx.Attachments());
          seen_beside_ = static_cast<int>(all.size());
          return Status();
        });
      }).join();
      if (!read.ok()) ExpectClear(read.message());
      return Status();
    });
    if (!written.ok()) ExpectClear(written.message());
  }

  // One line that says what failed.
  void ExpectClear(const std::string& message) {
    EXPECT_NE(message, "");
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_TRUE(message.find('/') != std::string::npos || message.find("ledger") != std::string::npos)
        << "it does not say where: " << message;
  }

  // What holds after each history, when the disk is sound.
  void ExpectSound(const std::string& when) {
    EXPECT_TRUE(Attached("red", "keep")) << when << ": a workload uses it";
    Recover({{"live", {"keeper"}}});
    Settle();
    EXPECT_EQ(Ask("scopes")["scopes"].size(), 1u) << when;
    EXPECT_TRUE(Attached("red", "keep")) << when << ": a workload uses it";
    EXPECT_FALSE(Attached("red", "a")) << when;
    EXPECT_FALSE(Attached("blue", "b")) << when;
    EXPECT_EQ(world_.sys.MountsBelow(settings_.state_dir + "/stage").size(), 1u) << when;
    EXPECT_EQ(Ask("summary")["pending"], Json::array()) << when;
    Close();
  }

  FaultyVfs disk_;
  int seen_beside_ = -1;  // attachments, in the last read beside a writer
};

TEST_F(IoTest, TheLedgersDiskFailsAtAnyCall) {
  struct Kind {
    FaultyVfs::Call call;
    const char* name;
    int code;
    int at_least;
  };
  constexpr Kind kKinds[] = {{FaultyVfs::kOpen, "open", SQLITE_CANTOPEN, 3},
                             {FaultyVfs::kWrite, "write", SQLITE_IOERR_WRITE, 20},
                             {FaultyVfs::kWrite, "full disk", SQLITE_FULL, 20},
                             {FaultyVfs::kSync, "fsync", SQLITE_IOERR_FSYNC, 3},
                             {FaultyVfs::kShm, "index", SQLITE_IOERR_SHMSIZE, 2},
                             {FaultyVfs::kRead, "read", SQLITE_IOERR_READ, 3},
                             {FaultyVfs::kTruncate, "truncate", SQLITE_IOERR_TRUNCATE, 0}};
  ASSERT_TRUE(Prepare("keeper", {Volume("red", "keep")}).contains("ok"));
  Close();
  Live();
  EXPECT_EQ(seen_beside_, 3) << "nothing fails yet";
  for (const Kind& kind : kKinds) {
    for (bool forever : {false, true}) {
      int n = 1;
      for (;; ++n) {
        std::string when =
            std::string(kind.name) + " " + std::to_string(n) + (forever ? " and all after it" : "");
        // Twice: whether a log is written into its file depends on what those before have left in it.
        bool fired = false;
        for (int i = 0; i < 2; ++i) {
          disk_.FailAt(kind.call, n, forever, kind.code);
          Live();
          fired |= disk_.fired();
          disk_.Heal();
          ExpectSound(when);
          if (HasFailure()) return;
        }
        if (!fired) break;
      }
      EXPECT_GT(n, kind.at_least) << kind.name << ": too little was tried";
      RecordProperty(std::string(kind.name) + (forever ? ", forever" : ""), n - 1);
    }
  }
}

// What only looks fails as well: a file that cannot be read, a process without a descriptor left.
TEST_F(IoTest, AnyCallThatOnlyLooksFails) {
  ASSERT_TRUE(Prepare("keeper", {Volume("red", "keep")}).contains("ok"));
  Close();
  for (int error : {EIO, EMFILE}) {
    int n = 1;
    for (;; ++n) {
      std::string when = std::string(std::strerror(error)) + " at look " + std::to_string(n);
      int seen = 0;
      world_.sys.look_fault = [&](const char* call) {
        if (++seen != n) return 0;
        when += std::string(", ") + call;
        return error;
      };
      Live();
      world_.sys.look_fault = nullptr;
      ExpectSound(when);
      if (HasFailure() || seen < n) break;
    }
    if (HasFailure()) return;
    EXPECT_GT(n, 40) << std::strerror(error);
  }
}

// Attachments of which nothing is mounted any more: only their files tell of them, and a rebuild that ends
// early must not pass for a whole one.
TEST_F(IoTest, ARebuildThatFailsAnywhereIsEndedByTheNextOne) {
  int n = 1;
  for (;; ++n) {
    const std::string when = "write " + std::to_string(n);
    ASSERT_TRUE(Prepare("one", {Volume("red", "a"), Volume("red", "b")}).contains("ok")) << when;
    world_.transport.plugins["red"].up = false;
    Cleanup("one");
    Close();
    for (const char* end : {"", "-wal", "-shm"})
      std::filesystem::remove(settings_.state_dir + "/ledger.db" + end);
    disk_.FailAt(FaultyVfs::kWrite, n, true, SQLITE_IOERR_WRITE);
    EngineOptions options;
    options.settings = settings_;
    options.keeper = Keeping::kNothing;
    auto opened = Engine::Open(env(), std::move(options));
    if (opened.ok()) (*opened)->Close(0);
    opened = Status(Code::kInternal, "closed");
    const bool fired = disk_.fired();
    disk_.Heal();
    world_.transport.plugins["red"].up = true;
    Settle();
    EXPECT_FALSE(Attached("red", "a")) << when;
    EXPECT_FALSE(Attached("red", "b")) << when;
    ExpectNothingLeft(when);
    if (HasFailure() || !fired) break;
  }
  EXPECT_GT(n, 5);
}

// A rebuild that cannot look at all that proves what is ours knows too little: nothing may be taken for
// released by it, and while a descriptor or memory is missing nobody else is given the volume.
TEST_F(IoTest, ARebuildThatCannotLookLosesNoWorkload) {
  ASSERT_TRUE(Prepare("keeper", {Volume("red", "keep")}).contains("ok"));
  Close();
  for (int error : {EMFILE, ENFILE, ENOMEM, EIO}) {
    int n = 1, opened_blind = 0;
    for (;; ++n) {
      for (const char* end : {"", "-wal", "-shm"})
        std::filesystem::remove(settings_.state_dir + "/ledger.db" + end);
      std::string when = std::string(std::strerror(error)) + " at look " + std::to_string(n);
      int seen = 0;
      world_.sys.look_fault = [&](const char* call) {
        if (++seen != n) return 0;
        when += std::string(", ") + call;
        return error;
      };
      EngineOptions options;
      options.settings = settings_;
      options.keeper = Keeping::kNothing;
      auto opened = Engine::Open(env(), std::move(options));
      world_.sys.look_fault = nullptr;
      const bool fired = seen >= n;
      if (opened.ok()) {
        Engine& other = **opened;
        opened_blind += fired ? 1 : 0;
        other.core().policy =
            std::make_unique<ScriptedSelector>(other.core().env, other.core().runtime.get(), policy_);
        other.Tick();
        world_.scheduler.RunAll();
        EXPECT_TRUE(Attached("red", "keep")) << when << ": a workload uses it";
        if (error != EIO) {
          Json users = other.StatusOf({{"what", "scopes"}}).value();
          EXPECT_EQ(users["scopes"].size(), 1u) << when << ": who has the volume is not known";
        }
        other.Close(0);
      } else {
        ExpectClear(opened.status().message());
      }
      opened = Status(Code::kInternal, "closed");
      ExpectSound(when);
      if (HasFailure() || !fired) break;
    }
    if (HasFailure()) return;
    EXPECT_GT(n, 20) << std::strerror(error);
    EXPECT_GT(opened_blind, 0) << std::strerror(error);
  }
}

// The files beside the ledger: meta.json, stages, locks, the audit log.
TEST_F(IoTest, AnyOtherCallThatChangesTheStateFolderFails) {
  ASSERT_TRUE(Prepare("keeper", {Volume("red", "keep")}).contains("ok"));
  Close();
  for (int error : {ENOSPC, EIO, EDQUOT, EROFS}) {
    for (bool forever : {false, true}) {
      int n = 1;
      for (;; ++n) {
        std::string when = std::string(std::strerror(error)) + " at change " + std::to_string(n);
        int64_t seen = 0;
        bool fired = false;
        world_.sys.fault = [&](const char* call) {
          ++seen;
          // A full disk takes nothing away, and what is mounted is not on it.
          bool on_disk = std::strcmp(call, "open") == 0 || std::strcmp(call, "write") == 0 ||
                         std::strcmp(call, "fsync") == 0 || std::strcmp(call, "mkdir") == 0 ||
                         std::strcmp(call, "link") == 0 || std::strcmp(call, "rename") == 0;
          if (!on_disk || (forever ? seen < n : seen != n)) return 0;
          fired = true;
          return error;
        };
        Live();
        world_.sys.fault = nullptr;
        ExpectSound(when);
        if (HasFailure()) return;
        if (!fired && seen < n) break;
      }
      EXPECT_GT(n, 20) << std::strerror(error);
    }
  }
}

// The reserve is there for what ends, and for what must not be forgotten meanwhile.
TEST_F(IoTest, WhatADeadPrepareLeftIsUndoneAtOnceOnAFullDisk) {
  MakeVolume("red", "a");
  bool fired = true;
  int n = 0;
  while (fired && !HasFailure()) {
    DieUnplaced();
    disk_.FailAt(FaultyVfs::kWrite, ++n, false, SQLITE_FULL);
    Recover({{"live", Json::array()}});
    fired = disk_.fired();
    disk_.Heal();
    EXPECT_TRUE(world_.sys.MountsBelow(settings_.state_dir + "/stage").empty()) << "write " << n;
    Settle();
    ExpectNothingLeft();
  }
  EXPECT_GT(n, 5) << "too little was tried";
}

// Each try would leave a folder of its own, on a disk that may be nearly full.
TEST_F(IoTest, WhatIsNotBegunForWantOfRoomLeavesNoFolder) {
  MakeVolume("red", "a"), MakeVolume("blue", "b");
  world_.sys.fault = [](const char* call) { return std::strcmp(call, "allocate") == 0 ? ENOSPC : 0; };
  for (int i = 0; i < 3; ++i) {
    Json answer = Prepare("one", {Volume("red", "a"), Volume("blue", "b")});
    EXPECT_HAS(MessageOf(answer), "no room for the reserve");
    EXPECT_TRUE(std::filesystem::is_empty(settings_.state_dir + "/stage"));
  }
  EXPECT_EQ(Count("red Mount") + Count("blue Mount"), 0);
  world_.sys.fault = nullptr;
  // What proves an earlier attachment stays.
  ASSERT_TRUE(Prepare("one", {Volume("red", "a")}).contains("ok"));
  world_.transport.plugins["red"].up = false;
  Cleanup("one");
  ASSERT_EQ(Known("red", "a")["state"], "releasing");
  const std::string id = Known("red", "a")["id"];
  world_.transport.plugins["red"].up = true;
  ASSERT_EQ(std::remove((settings_.state_dir + "/ledger.db.reserve").c_str()), 0);
  world_.sys.fault = [](const char* call) { return std::strcmp(call, "allocate") == 0 ? ENOSPC : 0; };
  EXPECT_HAS(MessageOf(Prepare("one", {Volume("red", "a"), Volume("blue", "b")})), "no room for the reserve");
  world_.sys.fault = nullptr;
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(settings_.state_dir + "/stage"))
    left.push_back(entry.path().filename());
  EXPECT_EQ(left, std::vector<std::string>{id});
  Settle();
  ExpectNothingLeft();
}

}  // namespace
}  // namespace dvdi
