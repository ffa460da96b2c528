// Power is lost while meta.json is written, replaced or swept: what proves a volume ours stays, and what was
// never whole can be told from what was damaged.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>

#include "engine/meta.h"
#include "sim/process.h"

namespace dvdi {
namespace {

constexpr const char* kStages = "/stage";
constexpr const char* kInstances = "/instances";

// A node with one engine at a time.
class Node {
 public:
  explicit Node(uint64_t seed) : random_(seed), tasks_(&clock_, seed), kernel_("one") {
    sim::SimDisk::Node made;
    for (const char* folder : {kStages, {kInstances}}) kernel_.disk.Make(folder, S_IFDIR | 0700, &made);
    kernel_.disk.Sync(*made);
    Start();
  }
  sim::SimProcess& process() { return *process_; }
  Env env() { return process_->env(); }
  void Restart() {
    process_->Kill();
    process_->Bury();
    Start();
  }
  void LosePower() {
    Restart();
    kernel_.disk.PowerLoss(random_);
    kernel_.Reboot();
  }

 private:
  void Start() { process_ = std::make_unique<sim::SimProcess>(&kernel_, &tasks_, &clock_, ++processes_); }

  sim::SimRandom random_;
  sim::SimClock clock_;
  sim::Tasks tasks_;
  sim::SimKernel kernel_;
  std::unique_ptr<sim::SimProcess> process_;
  int processes_ = 0;
};

const std::string kOld(64, 'a'), kNew[] = {std::string(64, 'b'), std::string(64, 'c')};

Meta MetaOf(const std::string& operation, const std::vector<std::string>& ids) {
  Meta meta;
  meta.operation.id = operation, meta.operation.owner = "run", meta.operation.scope = operation;
  meta.operation.instance = "0123456789abcdef", meta.operation.boot_id = "boot-1";
  for (const auto& id : ids) meta.attachments.push_back({id, "red", "volume-" + id.substr(0, 1)});
  return meta;
}

struct Seen {
  int whole = 0, gone = 0, cut_short = 0;
};

void Look(Node& node, const std::string& when, Seen* seen) {
  auto old = ReadMeta(node.env(), kStages, kOld);
  EXPECT_TRUE(old.ok()) << when
                        << ": nothing proves any more that the volume is ours: " << old.status().message();
  for (const auto& id : kNew) {
    auto meta = ReadMeta(node.env(), kStages, id);
    bool gone = !meta.ok() && meta.status().error_number() == ENOENT;
    bool cut_short = !meta.ok() && !gone && MetaWasCutShort(node.env(), kStages, {kInstances}, id);
    ++(meta.ok() ? seen->whole : gone ? seen->gone : seen->cut_short);
    EXPECT_TRUE(meta.ok() || gone || cut_short)
        << when << ": nobody can tell what it is: " << meta.status().message();
  }
}

TEST(MetaPowerTest, WhateverIsLostTheProofStaysAndWhatWasNeverWholeIsKnown) {
  enum End { kKilled, kDiskFull, kKilledThenSwept, kEnds };
  Seen seen;
  for (int i = 0; i < 2 * kEnds; ++i) {
    // With the old one among them all is durable from the moment on at which that is replaced.
    const int end = i / 2;
    const auto ids = i % 2 == 0 ? std::vector{kNew[0], kNew[1]} : std::vector{kNew[0], kOld, kNew[1]};
    bool reached = true;
    for (int n = 1; reached && n < 100; ++n) {
      for (uint64_t seed = 1; seed <= 20; ++seed) {
        Node node(seed);
        ASSERT_TRUE(WriteMeta(node.env(), kStages, MetaOf("first", {kOld})).ok());
        int left = n;
        if (end == kDiskFull)
          node.process().fault = [&](const char*, const std::string&) { return --left == 0 ? ENOSPC : 0; };
        else
          node.process().KillAt(n);
        reached = !WriteMeta(node.env(), kStages, MetaOf("second", ids)).ok();
        std::string when =
            "end " + std::to_string(i) + ", change " + std::to_string(n) + ", seed " + std::to_string(seed);
        if (end == kKilledThenSwept) {
          node.Restart();
          SweepTemporaryMeta(node.env(), kStages, {kInstances});
        }
        node.LosePower();
        Look(node, when, &seen);
        SweepTemporaryMeta(node.env(), kStages, {kInstances});
        Look(node, when + ", swept", &seen);
        node.LosePower();
        Look(node, when + ", swept and lost again", &seen);
        if (::testing::Test::HasFailure()) return;
      }
    }
    EXPECT_FALSE(reached) << "there is an end to it";
  }
  EXPECT_GT(seen.whole, 100);
  EXPECT_GT(seen.gone, 100);
  EXPECT_GT(seen.cut_short, 20);
}

// Where nothing was lost, nothing is left of what failed.
TEST(MetaPowerTest, WhatFailsTakesItsFoldersBack) {
  for (int n = 1;; ++n) {
    Node node(1);
    int left = n;
    node.process().fault = [&](const char*, const std::string&) { return --left == 0 ? ENOSPC : 0; };
    bool ok = WriteMeta(node.env(), kStages, MetaOf("first", {kNew[0], kNew[1]})).ok();
    if (left > 0) break;
    std::vector<std::string> names;
    ASSERT_EQ(node.env().sys->ListDir(AT_FDCWD, kStages, &names), 0);
    for (const auto& name : names)
      if (!ok) ADD_FAILURE() << "change " << n << " left " << name;
  }
}

}  // namespace
}  // namespace dvdi
