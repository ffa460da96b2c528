// dvdi-sim: runs seeds. A line for each that breaks a promise, with the history made short; a line of JSON at
// the end.
#include <sched.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>

#include "base/json.h"
#include "sim/history.h"
#include "sim/invariants.h"
#include "sim/shrink.h"

// jemalloc(3): one arena, as one task runs at a time, that gives nothing back to the system while histories
// go on.
extern "C" {
__attribute__((visibility("default"))) const char* malloc_conf =
    "narenas:1,dirty_decay_ms:-1,thp:always,tcache_max:65536";
}

namespace dvdi::sim {
namespace {

struct Options {
  uint64_t from = 1, count = 100;
  int operations = 200, shrink_runs = 400, plans = kSettledPlans, processor = -1;
  std::string second_policy, compiled;
  bool print = false, list = false;
};

void Print(const HistoryResult& r) {
  for (const auto& line : r.transcript) std::printf("    %s\n", line.c_str());
}

// The seed, what is broken, and the shortest history that was found to break it.
void Explain(const Options& o, const Shared& shared, const Plan& plan, const HistoryResult& result) {
  const Violation& v = result.violations[0];
  std::printf("seed %llu breaks %s: %s (after step %s)\n", static_cast<unsigned long long>(plan.seed),
              v.invariant.c_str(), v.what.c_str(), v.after.c_str());
  Plan small = Shrink(plan, shared, o.shrink_runs);
  HistoryResult again = RunHistory(small, shared, true);
  std::printf("  shortened from %zu steps to %zu:\n", plan.steps.size(), small.steps.size());
  for (const Step& s : small.steps) std::printf("  %s\n", Describe(s).c_str());
  std::printf("  what happened then:\n");
  Print(again);
}

// One task runs at a time, whichever thread has it: where all of them share a processor, none that passes its
// turn on wakes another processor up. Nothing is lost where it cannot be.
void StayOn(unsigned number) {
  cpu_set_t usable, one;
  if (::sched_getaffinity(0, sizeof usable, &usable) != 0) return;
  number %= static_cast<unsigned>(CPU_COUNT(&usable));
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &usable) && number-- == 0) CPU_SET(cpu, &one);
  (void)::sched_setaffinity(0, sizeof one, &one);
}

int Run(const Options& o) {
  if (o.list) {
    for (const auto* all : {&AlwaysTrue(), &TrueOnceLeftAlone(), &TrueOnceReleased(), &TrueAtTheEnd()})
      for (const Invariant& i : *all) std::printf("%-18s %s\n", i.name, i.promise);
    return 0;
  }
  if (o.processor >= 0) StayOn(static_cast<unsigned>(o.processor));
  Shared shared(o.second_policy, o.compiled);
  HistoryResult sum;
  Json failed = Json::array();
  const auto began = std::chrono::steady_clock::now();
  for (uint64_t seed = o.from; seed < o.from + o.count; ++seed) {
    Plan plan = MakePlan(seed, o.operations, o.plans);
    HistoryResult r = RunHistory(plan, shared, o.print);
    if (o.print) Print(r);
    sum.operations += r.operations, sum.prepared += r.prepared, sum.refused += r.refused,
        sum.kills += r.kills, sum.kills_within += r.kills_within, sum.kills_opening += r.kills_opening;
    sum.reboots += r.reboots, sum.power_losses += r.power_losses, sum.swaps += r.swaps;
    sum.ledgers_harmed += r.ledgers_harmed, sum.disk_errors += r.disk_errors;
    sum.looks_failed += r.looks_failed, sum.files_unseen += r.files_unseen;
    sum.unmount_errors += r.unmount_errors, sum.threads_refused += r.threads_refused;
    sum.pids_again += r.pids_again;
    sum.plugin_calls += r.plugin_calls, sum.switches += r.switches, sum.digest ^= r.digest * (seed | 1);
    if (r.violations.empty()) continue;
    failed.push_back(seed);
    Explain(o, shared, plan, r);
    std::fflush(stdout);
  }
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
  Json out = {{"from", o.from},
              {"count", o.count},
              {"failed", failed},
              {"operations", sum.operations},
              {"prepared", sum.prepared},
              {"refused", sum.refused},
              {"kills", sum.kills},
              {"kills_within", sum.kills_within},
              {"kills_opening", sum.kills_opening},
              {"reboots", sum.reboots},
              {"power_losses", sum.power_losses},
              {"swaps", sum.swaps},
              {"ledgers_harmed", sum.ledgers_harmed},
              {"disk_errors", sum.disk_errors},
              {"looks_failed", sum.looks_failed},
              {"files_unseen", sum.files_unseen},
              {"unmount_errors", sum.unmount_errors},
              {"threads_refused", sum.threads_refused},
              {"pids_again", sum.pids_again},
              {"plugin_calls", sum.plugin_calls},
              {"switches", sum.switches},
              {"digest", sum.digest},
              {"ms", ms}};
  std::printf("%s\n", Dump(out).c_str());
  return failed.empty() ? 0 : 1;
}

}  // namespace
}  // namespace dvdi::sim

int main(int argc, char** argv) {
  dvdi::sim::Options o;
  CLI::App app("Runs seeds of the simulation; each is a history of operations and faults.", "dvdi-sim");
  app.add_option("--from", o.from, "the first seed");
  app.add_option("--count", o.count, "how many seeds");
  app.add_option("--operations", o.operations, "operations of a history");
  app.add_option("--plans", o.plans,
                 "how plans are made: as they were when a seed was kept, or newer ones, with faults that are "
                 "not settled")
      ->check(CLI::Range(1, dvdi::sim::kNewestPlans));
  app.add_option("--shrink-runs", o.shrink_runs, "histories to run at most to make one short");
  app.add_option("--second-policy", o.second_policy,
                 "a blob to swap in; the stock one built again where not given");
  app.add_option("--compiled", o.compiled,
                 "a folder for compiled policies, for several processes; one of its own where not given");
  app.add_option("--processor", o.processor,
                 "the processor to run on, counted from 0 among those that it may use; any where not given");
  app.add_flag("--print", o.print, "print each history");
  app.add_flag("--list", o.list, "list what is checked, and end");
  CLI11_PARSE(app, argc, argv);
  return dvdi::sim::Run(o);
}
