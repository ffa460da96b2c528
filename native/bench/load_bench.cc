// Many workloads at once over a driver that takes its time, and recovery with many volumes mounted.
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "bench/counting_env.h"
#include "bench/report.h"
#include "bench/world.h"

namespace dvdi {
namespace {

constexpr int kDelayMs = 50, kInFlight = 32, kVolumes = 4;
// Get and Mount, Get and Unmount: what the reference sequence sends for one volume.
constexpr int kReferenceCalls = 4;

std::string Scope(int i) { return "scope-" + std::to_string(i); }

std::vector<std::string> VolumesOf(int i) {
  std::vector<std::string> names;
  for (int k = 0; k < kVolumes; ++k) names.push_back("v" + std::to_string(i) + "-" + std::to_string(k));
  return names;
}

void PrepareAll(BenchEngine* engine, int workloads) {
  for (int i = 0; i < workloads; ++i) {
    Json request = PrepareRequestOf(Scope(i), VolumesOf(i));
    request["deadline_ms"] = 600'000;
    engine->Start(dvdi_prepare, request);
  }
  engine->WaitForAll();
}

void CleanupAll(BenchEngine* engine, int workloads) {
  for (int i = 0; i < workloads; ++i) engine->Start(dvdi_cleanup, {{"owner", "bench"}, {"scope", Scope(i)}});
  engine->WaitForAll();
  WaitUntilIdle();
}

int64_t ResidentKib() {
  long pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

// What is allocated and not freed. Resident memory grows with what the allocator keeps, too.
int64_t AllocatedBytes() {
  const struct mallinfo2 info = ::mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

void Load(Report& report, const std::string& name, int workloads) {
  if (!report.Wants(name)) return;
  World world(ProgramFolder(), kDelayMs, kInFlight);
  BenchEngine engine(world.Options(world.Folder(true, "load")));
  world.Requests();
  const int64_t cpu = CpuNs(), begin = NowNs();
  PrepareAll(&engine, workloads);
  const int64_t prepared = NowNs();
  CleanupAll(&engine, workloads);
  const int64_t end = NowNs();
  const double volumes = workloads * kVolumes;
  const double ideal_us = volumes * kReferenceCalls * kDelayMs * 1000 / kInFlight;
  Samples all;
  all.Add(end - begin);
  report.Add(name, all,
             {{"ratio", all.Median() / ideal_us},
              {"ideal_us", ideal_us},
              {"prepare_us", static_cast<double>(prepared - begin) / 1000},
              {"cpu_us", static_cast<double>(CpuNs() - cpu) / 1000},
              {"plugin_calls_for_a_volume", static_cast<double>(world.Requests()) / volumes}},
             std::to_string(workloads) + " workloads x 4 volumes, 50 ms for a call, 32 at once");
}

void Recover(Report& report, const std::string& name, int workloads) {
  if (!report.Wants(name)) return;
  World world(ProgramFolder());
  const std::string options = world.Options(world.Folder(true, "recover"));
  Json live = Json::array();
  for (int i = 0; i < workloads; ++i) live.push_back(Scope(i));
  const int64_t before_kib = ResidentKib();
  int64_t attached_kib = 0;
  {
    BenchEngine engine(options);
    PrepareAll(&engine, workloads);
    attached_kib = ResidentKib() - before_kib;
  }
  world.Requests();
  const int64_t begin = NowNs();
  BenchEngine engine(options);
  const int64_t opened = NowNs();
  engine.Start(dvdi_recover, {{"owner", "bench"}, {"live", std::move(live)}});
  engine.WaitForAll();
  const int64_t end = NowNs();
  Samples all;
  all.Add(end - begin);
  report.Add(name, all,
             {{"open_us", static_cast<double>(opened - begin) / 1000},
              {"recover_us", static_cast<double>(end - opened) / 1000},
              {"plugin_calls", static_cast<double>(world.Requests())},
              {"kib_for_an_attached_volume", static_cast<double>(attached_kib) / (workloads * kVolumes)}},
             std::to_string(workloads * kVolumes) + " volumes mounted, all in use");
}

// All that was mounted is gone with a reboot, and nobody is left who used it.
void Reboot(Report& report, const std::string& name, int workloads) {
  if (!report.Wants(name)) return;
  World world(ProgramFolder());
  const std::string state = world.Folder(true, "reboot"), options = world.Options(state);
  {
    BenchEngine engine(options);
    PrepareAll(&engine, workloads);
  }
  world.Reboot(state);
  world.Requests();
  const int64_t begin = NowNs();
  BenchEngine engine(options);
  engine.Start(dvdi_recover, {{"owner", "bench"}, {"wait_ms", 600'000}});
  engine.WaitForAll();
  const int64_t end = NowNs();
  Samples all;
  all.Add(end - begin);
  report.Add(name, all, {{"plugin_calls", static_cast<double>(world.Requests())}},
             std::to_string(workloads * kVolumes) + " volumes of an earlier boot, all let go");
}

// Resident memory after a part of the operations and after all of them.
void Flat(Report& report, const std::string& name, int usual_rounds) {
  if (!report.Wants(name)) return;
  const int rounds = report.Rounds(usual_rounds), warm = rounds / 5;
  World world(ProgramFolder());
  BenchEngine engine(world.Options(world.Folder(true, "flat")));
  Samples all;
  all.Reserve(static_cast<size_t>(rounds));
  int64_t kib = 0, bytes = 0;
  for (int i = 0; i < rounds; ++i) {
    if (i == warm) WaitUntilIdle(), kib = ResidentKib(), bytes = AllocatedBytes();
    all.Add(engine.Operation().released);
  }
  WaitUntilIdle();
  const double more = static_cast<double>(AllocatedBytes() - bytes);
  report.Add(name, all,
             {{"allocated_bytes_per_operation", more / (rounds - warm)},
              {"resident_kib", static_cast<double>(ResidentKib())},
              {"grown_kib", static_cast<double>(ResidentKib() - kib)},
              {"operations", static_cast<double>(rounds)}},
             "allocated and resident memory after a fifth of the operations and after all");
}

int Main(int argc, char** argv) {
  Report report(argc, argv);
  if (!OwnMounts()) {
    report.Skip("load", "mounts need root");
    return report.Write() ? 0 : 1;
  }
  Load(report, "load/100", 100);
  Load(report, "load/1000", 1000);
  Recover(report, "recover/1000", 250);
  Recover(report, "recover/10000", 2500);
  Flat(report, "memory/flat", 5000);
  Reboot(report, "reboot/1000", 250);
  Reboot(report, "reboot/10000", 2500);
  return report.Write() ? 0 : 1;
}

}  // namespace
}  // namespace dvdi

int main(int argc, char** argv) { return dvdi::Main(argc, argv); }
