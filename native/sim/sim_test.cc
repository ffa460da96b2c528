// The simulation: the real engine, the real SQLite and the real blob, in a world where everything goes wrong.
// `dvdi-sim` runs more of it, `npm run soak` as much as there is time for.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "sim/history.h"
#include "sim/shrink.h"
#include "sim/tasks.h"

namespace dvdi::sim {
namespace {

constexpr int kOperations = 200;

const Shared& World() {
  static auto* shared = new Shared("");
  static const bool registered = std::atexit([] { delete shared; }) == 0;
  EXPECT_TRUE(registered);
  return *shared;
}

// Prints what a failing seed comes down to.
void ExpectKept(uint64_t seed, const HistoryResult& r) {
  if (r.violations.empty()) return;
  const Violation& v = r.violations[0];
  ADD_FAILURE() << "seed " << seed << " breaks " << v.invariant << ": " << v.what << " (after " << v.after
                << "); dvdi-sim --from " << seed << " --count 1 prints a short history";
}

TEST(SimTest, SeedsKeepThePromises) {
  HistoryResult sum;
  for (uint64_t seed = 1; seed <= 30 && !::testing::Test::HasFailure(); ++seed) {
    HistoryResult r = RunHistory(MakePlan(seed, kOperations), World(), false);
    ExpectKept(seed, r);
    sum.operations += r.operations, sum.prepared += r.prepared, sum.kills += r.kills,
        sum.reboots += r.reboots;
    sum.kills_within += r.kills_within, sum.kills_opening += r.kills_opening;
    sum.power_losses += r.power_losses, sum.swaps += r.swaps;
    sum.ledgers_harmed += r.ledgers_harmed, sum.disk_errors += r.disk_errors;
    sum.looks_failed += r.looks_failed, sum.files_unseen += r.files_unseen;
    sum.unmount_errors += r.unmount_errors, sum.threads_refused += r.threads_refused;
    sum.pids_again += r.pids_again;
  }
  // A simulation in which nothing happens proves nothing.
  EXPECT_GE(sum.operations, 30 * kOperations);
  EXPECT_GT(sum.prepared, 500);
  EXPECT_GT(sum.kills, 150);
  EXPECT_GT(sum.kills_within, 50);
  EXPECT_GT(sum.kills_opening, 15);
  EXPECT_GT(sum.reboots, 15);
  EXPECT_GT(sum.power_losses, 15);
  EXPECT_GT(sum.swaps, 15);
  EXPECT_GT(sum.ledgers_harmed, 15);
  EXPECT_GT(sum.disk_errors, 50);
  EXPECT_GT(sum.looks_failed, 50);
  EXPECT_GT(sum.files_unseen, 50);
  EXPECT_GT(sum.unmount_errors, 15);
  EXPECT_GT(sum.threads_refused, 15);
  EXPECT_GT(sum.pids_again, 15);
}

TEST(SimTest, TheSameSeedIsTheSameHistoryByteForByte) {
  for (uint64_t seed : {3u, 41u, 102u}) {
    Plan plan = MakePlan(seed, kOperations);
    HistoryResult one = RunHistory(plan, World(), true), two = RunHistory(plan, World(), true);
    size_t at = 0;
    while (at < one.transcript.size() && at < two.transcript.size() &&
           one.transcript[at] == two.transcript[at])
      ++at;
    auto line = [at](const HistoryResult& r) {
      return at < r.transcript.size() ? r.transcript[at] : "the end";
    };
    EXPECT_EQ(line(one), line(two)) << "seed " << seed << ", line " << at;
    EXPECT_EQ(one.digest, two.digest) << "seed " << seed;
    EXPECT_GT(one.transcript.size(), 400u) << "seed " << seed;
  }
}

// What is known of a task must not be taken for another one's: whether memory is used again is no seed's
// matter.
TEST(SimTest, NoTaskIsTakenForOneThatHasEnded) {
  SimClock clock;
  Tasks tasks(&clock, 1);
  std::set<int64_t> numbers;
  for (int i = 0; i < 10; ++i) {
    tasks.Start(nullptr, [&] { numbers.insert(Tasks::CurrentTask()); });
    EXPECT_TRUE(tasks.Run());
  }
  EXPECT_EQ(numbers.size(), 10u);
}

TEST(SimTest, OtherSeedsAreOtherHistories) {
  HistoryResult one = RunHistory(MakePlan(3, kOperations), World(), false);
  HistoryResult two = RunHistory(MakePlan(4, kOperations), World(), false);
  EXPECT_NE(one.digest, two.digest);
}

void ExpectKeptSeeds(const Shared& world) {
  std::ifstream file(DVDI_SIM_SEEDS);
  ASSERT_TRUE(file) << DVDI_SIM_SEEDS;
  std::string line;
  int seeds = 0;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    int generation = 0;
    uint64_t seed = 0;
    std::string why;
    ASSERT_TRUE(words >> generation >> seed >> why) << "a generation, a seed, then why it is kept: " << line;
    ExpectKept(seed, RunHistory(MakePlan(seed, kOperations, generation), world, false));
    ++seeds;
  }
  EXPECT_GT(seeds, 0);
}

TEST(SimTest, SeedsThatOnceFailed) { ExpectKeptSeeds(World()); }

// As `npm run soak` runs them: where a policy is swapped, it is for one that decides something else.
TEST(SimTest, SeedsThatOnceFailedWithAHouseRule) {
  if (!std::ifstream(DVDI_SIM_HOUSE)) GTEST_SKIP() << "no " << DVDI_SIM_HOUSE << "; npm test builds it";
  Shared world(DVDI_SIM_HOUSE);
  ExpectKeptSeeds(world);
}

}  // namespace
}  // namespace dvdi::sim
