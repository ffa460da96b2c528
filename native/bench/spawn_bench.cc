// What starting a program for each call costs: the predecessors' shells, and our own dvdcli.
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "bench/report.h"
#include "bench/world.h"

namespace dvdi {
namespace {

constexpr int kWarmUp = 4;

// CPU time of the children that ended.
int64_t ChildrenCpuNs() {
  struct rusage u;
  Check(::getrusage(RUSAGE_CHILDREN, &u), "getrusage");
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000'000'000LL +
         (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1'000LL;
}

// As the predecessors did it: a shell that starts a client process, for each call.
void Shell(Report& report, const std::string& name, int usual_rounds) {
  if (!report.Wants(name)) return;
  if (::access("/usr/bin/curl", X_OK) != 0) return report.Skip(name, "needs curl as the client program");
  const int rounds = report.Rounds(usual_rounds);
  World world(ProgramFolder());
  BenchEngine engine(world.Options(world.Folder(true, "shell")));
  Samples ours, theirs;
  int64_t our_cpu = 0, their_cpu = 0;
  auto call = [&](const char* method, const char* body) {
    const std::string command = "curl -s -o /dev/null --unix-socket '" + world.Socket() + "' -d '" + body +
                                "' http://plugin/VolumeDriver." + method;
    std::string sh = "sh", c = "-c", text = command;
    char* argv[] = {sh.data(), c.data(), text.data(), nullptr};
    pid_t pid = 0;
    if (int err = ::posix_spawn(&pid, "/bin/sh", nullptr, nullptr, argv, environ); err != 0)
      Die("cannot start a shell", err);
    int status = 0;
    Check(::waitpid(pid, &status, 0), "wait for a shell");
    if (status != 0) Die("the shell's client failed", 0);
  };
  for (int i = -2; i < rounds; ++i) {
    int64_t cpu = CpuNs(), begin = NowNs();
    engine.Operation();
    if (i >= 0) ours.Add(NowNs() - begin), our_cpu += CpuNs() - cpu;
    cpu = ChildrenCpuNs(), begin = NowNs();
    for (const char* method : {"Get", "Mount", "Get", "Unmount"})
      call(method, R"({"Name":"data","ID":"bench"})");
    if (i >= 0) theirs.Add(NowNs() - begin), their_cpu += ChildrenCpuNs() - cpu;
  }
  report.Add(name, theirs,
             {{"times_our_wall", theirs.Median() / ours.Median()},
              {"times_our_cpu", static_cast<double>(their_cpu) / static_cast<double>(our_cpu)},
              {"ours_us", ours.Median()}},
             "a shell and a client process for each of four calls, without mounts or journal");
}

// A program, from its start to its end. What it printed.
std::string Run(const std::string& program, const std::vector<std::string>& arguments) {
  Child child(program, arguments);
  std::string line = child.Line();
  if (child.Wait() != 0) Die(program + " failed", 0);
  return line;
}

// mount and unmount by dvdcli, as Mesos runs it, against as many starts of a program that does nothing and
// what an operation cannot avoid.
void Dvdcli(World& world, Report& report, const std::string& name, bool memory, int usual_rounds) {
  if (!report.Wants(name)) return;
  const int rounds = report.Rounds(usual_rounds);
  const std::string state = world.Folder(memory, "dvdcli"), floor_folder = world.Folder(memory, "floor");
  // The program goes by its name; what it is set to is in a file.
  const std::string dvdcli = state + "/dvdcli", settings = state + "/settings.yaml";
  Check(::symlink(PROGRAM, dvdcli.c_str()), "make a link to the program");
  std::ofstream(settings) << world.SettingsText(state + "/state");
  Check(::setenv("DVDI_CONFIG", settings.c_str(), 1), "setenv");
  const std::vector<std::string> of = {"--volumedriver=bench", "--volumename=data"};
  auto verb = [&](const char* v) {
    std::vector<std::string> arguments = of;
    arguments.insert(arguments.begin(), v);
    return arguments;
  };
  const auto mount = verb("mount"), unmount = verb("unmount");
  Child reference(world.programs() + "/dvdi_reference", {world.Socket(), floor_folder, "data"});
  Samples ours, ours_mount, ours_unmount, floor, nothing;
  int64_t cpu = 0, nothing_cpu = 0;
  for (int i = -kWarmUp; i < rounds; ++i) {
    auto run_ours = [&] {
      const int64_t used = ChildrenCpuNs(), t0 = NowNs();
      if (Run(dvdcli, mount).empty()) Die("dvdcli mount says no folder", 0);
      const int64_t t1 = NowNs();
      Run(dvdcli, unmount);
      const int64_t t2 = NowNs();
      if (i < 0) return;
      cpu += ChildrenCpuNs() - used;
      ours.Add(t2 - t0), ours_mount.Add(t1 - t0), ours_unmount.Add(t2 - t1);
    };
    auto run_floor = [&] {
      const int64_t used = ChildrenCpuNs(), t0 = NowNs();
      Run("/bin/true", {});
      Run("/bin/true", {});
      const int64_t t1 = NowNs();
      reference.Tell("\n");
      long long prepare = 0, cleanup = 0;
      if (std::sscanf(reference.Line().c_str(), "%lld %lld", &prepare, &cleanup) != 2)
        Die("the reference program failed", 0);
      if (i < 0) return;
      nothing_cpu += ChildrenCpuNs() - used;
      nothing.Add(t1 - t0), floor.Add(t1 - t0 + prepare + cleanup);
    };
    if (i % 2 == 0) run_ours();
    run_floor();
    if (i % 2 != 0) run_ours();
  }
  report.Add(name, ours,
             {{"ratio", ours.Median() / floor.Median()},
              {"mount_us", ours_mount.Median()},
              {"unmount_us", ours_unmount.Median()},
              {"cpu_us", static_cast<double>(cpu) / 1000 / rounds},
              {"floor_us", floor.Median()},
              {"floor_min_us", floor.Min()},
              {"two_starts_us", nothing.Median()},
              {"two_starts_cpu_us", static_cast<double>(nothing_cpu) / 1000 / rounds}},
             memory ? "mount and unmount by two processes; state in memory"
                    : "mount and unmount by two processes; state on disk");
}

int Main(int argc, char** argv) {
  Report report(argc, argv);
  if (!OwnMounts()) {
    report.Skip("spawn", "mounts need root");
    return report.Write() ? 0 : 1;
  }
  {
    World world(ProgramFolder());
    Dvdcli(world, report, "dvdcli/disk", false, 100);
    Dvdcli(world, report, "dvdcli/memory", true, 100);
  }
  Shell(report, "shell", 50);
  return report.Write() ? 0 : 1;
}

}  // namespace
}  // namespace dvdi

int main(int argc, char** argv) { return dvdi::Main(argc, argv); }
