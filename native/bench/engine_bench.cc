// What an operation of the engine costs, against a plain C program that does only what cannot be avoided,
// with few and with many volumes known; and what it costs to open an engine. Everything is in a mount
// namespace of its own and in a folder that is removed at the end. docs/performance.md explains the figures.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "bench/counting_env.h"
#include "bench/report.h"
#include "bench/world.h"
#include "ledger/ledger.h"
#include "sys/env.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr int kWarmUp = 20;

// --- an operation against the reference program

void Operation(World& world, Report& report, const std::string& name, bool memory, int usual_rounds,
               const char* label) {
  if (!report.Wants(name)) return;
  const int rounds = report.Rounds(usual_rounds);
  const std::string reference_folder = world.Folder(memory, "reference");
  BenchEngine engine(world.Options(world.Folder(memory, "engine")));
  Child reference(world.programs() + "/dvdi_reference", {world.Socket(), reference_folder, "data"});
  Samples ours, ours_prepare, ours_cleanup, ours_cpu, theirs, theirs_prepare, theirs_cleanup;
  Counts counts;
  int64_t calls = 0, their_calls = 0, their_mounts = 0, their_fsyncs = 0;
  for (int i = -kWarmUp; i < rounds; ++i) {
    auto run_ours = [&] {
      world.Requests();
      TakeCounts();
      const int64_t cpu = CpuNs();
      const Times t = engine.Operation();
      const int64_t cpu_used = CpuNs() - cpu;
      const Counts c = TakeCounts();
      if (i < 0) return;
      ours_cpu.Add(cpu_used);
      calls += world.Requests();
      counts.fsyncs += c.fsyncs, counts.mount_calls += c.mount_calls;
      counts.mountinfo += c.mountinfo, counts.threads += c.threads;
      ours.Add(t.released), ours_prepare.Add(t.prepare), ours_cleanup.Add(t.cleanup);
    };
    auto run_theirs = [&] {
      world.Requests();
      reference.Tell("\n");
      long long prepare = 0, cleanup = 0;
      int said = 0, mounts = 0, fsyncs = 0;
      if (std::sscanf(reference.Line().c_str(), "%lld %lld %d %d %d", &prepare, &cleanup, &said, &mounts,
                      &fsyncs) != 5)
        Die("the reference program failed", 0);
      if (i < 0) return;
      their_calls += world.Requests(), their_mounts += mounts, their_fsyncs += fsyncs;
      theirs.Add(prepare + cleanup), theirs_prepare.Add(prepare), theirs_cleanup.Add(cleanup);
    };
    // Each is first half of the time: what one leaves to the disk is not always the other's.
    if (i % 2 == 0) run_ours();
    run_theirs();
    if (i % 2 != 0) run_ours();
  }
  const auto each = [&](int64_t n) { return static_cast<double>(n) / rounds; };
  std::vector<std::pair<std::string, double>> counters = {
      {"ratio", ours.Median() / theirs.Median()},
      {"ratio_prepare", ours_prepare.Median() / theirs_prepare.Median()},
      {"ratio_cleanup", ours_cleanup.Median() / theirs_cleanup.Median()},
      {"prepare_us", ours_prepare.Median()},
      {"cleanup_us", ours_cleanup.Median()},
      {"cpu_us", ours_cpu.Median()},
      {"reference_us", theirs.Median()},
      {"reference_min_us", theirs.Min()},
      {"reference_p95_us", theirs.P95()},
      {"reference_prepare_us", theirs_prepare.Median()},
      {"reference_cleanup_us", theirs_cleanup.Median()},
      {"fsyncs", each(counts.fsyncs)},
      {"reference_fsyncs", each(their_fsyncs)},
      {"mount_calls", each(counts.mount_calls)},
      {"reference_mount_calls", each(their_mounts)},
      {"mountinfo", each(counts.mountinfo)},
      {"threads", each(counts.threads)}};
  if (calls >= 0) {
    counters.emplace_back("plugin_calls", each(calls));
    counters.emplace_back("reference_plugin_calls", each(their_calls));
  }
  report.Add(name, ours, counters, label);
}

// --- few and many volumes in the ledger

void Fill(World& world, const std::string& state, int volumes, int attached, int records) {
  { BenchEngine make_it(world.Options(state, false)); }
  Env env = RealEnv();
  Ledger ledger(env, state + "/ledger.db");
  Check(ledger.Open());
  const int64_t now = env.clock->WallMs();
  auto boot = env.sys->BootId();
  if (!boot.ok()) Check(boot.status());
  constexpr int kBatch = 5000;
  for (int from = 0; from < std::max(volumes, records); from += kBatch) {
    Check(ledger.Apply(Commit::intent, false, [&](LedgerTx& tx) -> Status {
      for (int i = from; i < from + kBatch; ++i) {
        const std::string n = std::to_string(i), name = "volume-" + n;
        if (i < volumes)
          DVDI_RETURN_IF_ERROR(tx.TouchVolume({"bench", name, i % 2 == 0, now - i, now - i, "known"}));
        if (i < attached) {
          AttachmentRow a;
          a.id = env.random->HexId(32), a.driver = "bench", a.name = name, a.state = kAttached;
          a.mountpoint = "/nowhere/" + name, a.boot_id = boot->id, a.mount_sent = true, a.created_ms = now;
          DVDI_RETURN_IF_ERROR(tx.PutAttachment(a));
          OperationRow o;
          o.id = env.random->HexId(16), o.owner = "other", o.scope = name, o.instance = "gone",
          o.boot_id = boot->id;
          o.state = kCommitted, o.started_ms = now, o.answer = std::string(400, 'x');
          DVDI_RETURN_IF_ERROR(tx.PutOperation(o));
          EffectRow e;
          e.operation = o.id, e.seq = 1, e.kind = kAttach, e.attachment = a.id, e.target = "/data/" + n;
          e.mode = "rw", e.access = "single-writer";
          DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
          e.seq = 2, e.kind = kStage, e.path = "/nowhere/stage/" + n;
          DVDI_RETURN_IF_ERROR(tx.PutEffect(e));
        }
        if (i < records) {
          RecordRow r;
          r.operation = env.random->HexId(16), r.kind = "prepare", r.owner = "other", r.scope = name,
          r.outcome = "ok";
          r.body = std::string(3000, 'x'), r.started_ms = now;
          DVDI_RETURN_IF_ERROR(tx.PutRecord(r, {{"bench", name}}, 10'000));
        }
      }
      return Status();
    }));
  }
  ledger.Close();
}

void ManyVolumes(World& world, Report& report, const std::string& name, int attached, int records,
                 int usual_rounds) {
  if (!report.Wants(name)) return;
  const int rounds = report.Rounds(usual_rounds);
  constexpr int kFew = 10, kMany = 100'000;
  const std::string few_folder = world.Folder(true, "few-" + std::to_string(attached + records));
  const std::string many_folder = world.Folder(true, "many-" + std::to_string(attached + records));
  Fill(world, few_folder, kFew, std::min(attached, kFew), std::min(records, kFew));
  Fill(world, many_folder, kMany, attached, records);
  BenchEngine few(world.Options(few_folder)), many(world.Options(many_folder));
  Samples with_few, with_many;
  for (int i = -kWarmUp; i < rounds; ++i) {
    for (int k = 0; k < 2; ++k) {
      const bool is_few = (i + k) % 2 == 0;
      const Times t = (is_few ? few : many).Operation();
      if (i >= 0) (is_few ? with_few : with_many).Add(t.released);
    }
  }
  const auto megabytes = [](const std::string& folder) {
    std::error_code error;
    return static_cast<double>(std::filesystem::file_size(folder + "/ledger.db", error)) / (1 << 20);
  };
  report.Add(name, with_many,
             {{"ratio", with_many.Median() / with_few.Median()},
              {"few_us", with_few.Median()},
              {"few_min_us", with_few.Min()},
              {"few_p95_us", with_few.P95()},
              {"volumes", kMany},
              {"attached", attached},
              {"records", records},
              {"ledger_mib", megabytes(many_folder)},
              {"few_ledger_mib", megabytes(few_folder)}},
             "100,000 volumes against 10; state in memory");
}

// --- opening

void Open(World& world, Report& report, const std::string& name, int usual_rounds) {
  if (!report.Wants(name)) return;
  const int rounds = report.Rounds(usual_rounds);
  const std::string state = world.Folder(false, "open");
  const std::string options = world.Options(state);
  Json first_request = PrepareRequestOf("first", {"data"});
  first_request["dry_run"] = true;
  const std::string request = Dump(first_request);
  { BenchEngine(options).Operation(); }  // makes the ledger and the compiled form
  Samples load, open, first, both;
  std::vector<double> kib[6];
  for (int i = -2; i < rounds; ++i) {
    Child probe(world.programs() + "/dvdi_open_probe", {LIBRARY, options, request});
    const std::string line = probe.Line();
    long long load_ns = 0, open_ns = 0, first_ns = 0;
    long k[6] = {};
    if (std::sscanf(line.c_str(), "%lld %lld %lld %ld %ld %ld %ld %ld %ld", &load_ns, &open_ns, &first_ns,
                    &k[0], &k[1], &k[2], &k[3], &k[4], &k[5]) != 9 ||
        probe.Wait() != 0)
      Die("opening an engine in a process of its own failed", 0);
    if (i < 0) continue;
    load.Add(load_ns), open.Add(open_ns), first.Add(first_ns), both.Add(open_ns + first_ns);
    for (int m = 0; m < 6; ++m) kib[m].push_back(static_cast<double>(k[m]));
  }
  const auto median = [&](int m) {
    std::sort(kib[m].begin(), kib[m].end());
    return kib[m][kib[m].size() / 2];
  };
  report.Add(name, open,
             {{"load_us", load.Median()},
              {"first_decision_us", first.Median()},
              {"open_and_first_us", both.Median()},
              {"open_and_first_min_us", both.Min()},
              {"memory_kib", median(1) - median(0)},
              {"memory_first_kib", median(2) - median(0)},
              {"resident_kib", median(4) - median(3)},
              {"resident_first_kib", median(5) - median(3)}},
             "dvdi_open in a fresh process, the blob's compiled form cached");
}

int Main(int argc, char** argv) {
  Report report(argc, argv);
  if (!OwnMounts()) {
    report.Skip("engine", "mounts need root");
    return report.Write() ? 0 : 1;
  }
  {
    World world(ProgramFolder());
    Operation(world, report, "operation/disk", false, 200, "state on disk, a plugin that answers at once");
    Operation(world, report, "operation/memory", true, 500, "state in memory, the same plugin");
    ManyVolumes(world, report, "many/volumes", 0, 0, 300);
    ManyVolumes(world, report, "many/volumes_records", 1'000, 10'000, 300);
    Open(world, report, "open", 40);
  }
  if (report.Wants("operation/driver")) {
    World world(ProgramFolder(), World::WithDriver());
    Operation(world, report, "operation/driver", false, 100, "state on disk, dvdi-driver");
  }
  return report.Write() ? 0 : 1;
}

}  // namespace
}  // namespace dvdi

int main(int argc, char** argv) { return dvdi::Main(argc, argv); }
