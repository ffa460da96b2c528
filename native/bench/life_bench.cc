// Policies that are changed on a node at work: swaps under load, installation, the first operation behind a
// swap, the shadow. The two policies are the built-in one and a copy of it under another version.
#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/json.h"
#include "bench/report.h"
#include "bench/world.h"
#include "policy/runtime.h"

namespace dvdi {
namespace {

// The same code with one more custom section: another hash, so another blob.
std::string Variant(int n) {
  const std::string name = "variant-" + std::to_string(n);
  std::string content;
  content += static_cast<char>(name.size());
  content += name;
  std::string blob(BuiltinPolicy());
  blob += '\0';
  blob += static_cast<char>(content.size());
  return blob + content;
}

std::string Write(const std::string& path, const std::string& blob) {
  std::ofstream out(path, std::ios::binary);
  out << blob;
  out.close();
  if (!out) Die("cannot write " + path);
  return path;
}

// Both engines work on one state folder, as an agent and the operator's command do.
struct Node {
  World world{ProgramFolder()};
  std::string state = world.Folder(true, "life");
  BenchEngine agent{world.Options(state)}, command{world.Options(state, false)};

  std::string File(int n) { return Write(state + "/variant.wasm", Variant(n)); }
  // By a process of its own, as it were: when that has ended the blob is compiled well, not only quickly.
  Json Install(int n, Samples* active = nullptr) {
    const std::string path = File(n);
    BenchEngine installer(world.Options(state, false));
    const int64_t begin = NowNs();
    Json answer = installer.Ask(dvdi_policy, {{"verb", "install"}, {"path", path}});
    if (active != nullptr) active->Add(NowNs() - begin);
    return answer;
  }
};

// Operations without a pause while the policy is swapped: how long a swap takes, and what failed.
void Swaps(Report& report, const std::string& name, int usual) {
  if (!report.Wants(name)) return;
  const int swaps = report.Rounds(usual);
  Node node;
  std::vector<std::string> hashes;
  for (int n : {1, 2}) hashes.push_back(GetString(node.Install(n), "sha256"));
  std::atomic<bool> stop{false};
  int64_t operations = 0, failed = 0;
  std::thread load([&] {
    for (; !stop; ++operations) failed += !node.agent.TryOperation();
  });
  Samples all;
  for (int i = 0; i < swaps; ++i) {
    const int64_t begin = NowNs();
    node.command.Ask(dvdi_policy, {{"verb", "activate"}, {"policy", hashes[i % 2]}});
    all.Add(NowNs() - begin);
  }
  stop = true;
  load.join();
  report.Add(name, all,
             {{"swaps", static_cast<double>(swaps)},
              {"failed", static_cast<double>(failed)},
              {"operations", static_cast<double>(operations)},
              {"p95_us", all.P95()}},
             "activate with its canary of 200 records, under continuous load");
}

// From the file to active, compiled anew each time; the canary replays nothing.
void Install(Report& report, const std::string& name, int usual) {
  if (!report.Wants(name)) return;
  Node node;
  Samples active, whole;
  for (int i = 0, rounds = report.Rounds(usual); i < rounds; ++i) {
    const int64_t begin = NowNs();
    node.Install(10 + i, &active);
    whole.Add(NowNs() - begin);
  }
  report.Add(name, active, {{"p95_us", active.P95()}, {"whole_us", whole.Median()}},
             "a blob that was never compiled here, from its file to active; whole: until the engine that "
             "installed it has ended, and the blob is compiled well");
}

// What the first operation behind another process's swap has more to do than one behind a swap that was
// refused: a swap's canary takes tens of milliseconds, which leave no cache as it was. With few policies they
// are in memory still; with many each is read anew.
void FirstOperation(Report& report, const std::string& name, int policies, int usual) {
  if (!report.Wants(name)) return;
  Node node;
  std::vector<std::string> hashes;
  for (int n = 0; n < policies; ++n) hashes.push_back(GetString(node.Install(n), "sha256"));
  const std::string barred = GetString(node.Install(policies), "sha256");
  node.command.Ask(dvdi_policy, {{"verb", "activate"}, {"policy", hashes.back()}});
  node.command.Ask(dvdi_policy, {{"verb", "bar"}, {"policy", barred}});
  Samples first, second, refused;
  for (int i = 0, rounds = report.Rounds(usual); i < rounds; ++i) {
    node.command.Ask(dvdi_policy,
                     {{"verb", "activate"}, {"policy", hashes[static_cast<size_t>(i) % hashes.size()]}});
    first.Add(node.agent.Operation().prepare);
    second.Add(node.agent.Operation().prepare);
    node.command.MustRefuse(dvdi_policy, {{"verb", "activate"}, {"policy", barred}});
    refused.Add(node.agent.Operation().prepare);
  }
  report.Add(name, first,
             {{"more_us", first.Median() - refused.Median()},
              {"refused_us", refused.Median()},
              {"second_us", second.Median()}},
             "prepare behind a swap by another process between " + std::to_string(policies) +
                 " policies, the compiled forms cached; refused: behind a swap that its end refused");
}

// Two nodes in turn, one of them with a shadow. What one decision costs the engine is shown by an operation
// that does nothing else.
void Shadow(Report& report, const std::string& name, int usual) {
  if (!report.Wants(name)) return;
  Node node;
  node.Install(1);
  const std::string shadowed = node.world.Folder(true, "shadowed");
  const std::string active = node.File(1), beside = Write(node.state + "/shadow.wasm", Variant(2));
  {
    BenchEngine command(node.world.Options(shadowed, false));
    command.Ask(dvdi_policy, {{"verb", "install"}, {"path", active}});
    command.Ask(dvdi_policy, {{"verb", "shadow"}, {"path", beside}, {"operations", 100'000}});
  }
  BenchEngine other(node.world.Options(shadowed));
  Json rehearsal = PrepareRequestOf("rehearsal", {"data"});
  rehearsal["dry_run"] = true;
  Samples without, without_cpu, with, with_cpu, decision_cpu;
  auto measure = [&](BenchEngine& engine, Samples* answer, Samples* whole) {
    int64_t cpu = CpuNs();
    engine.Start(dvdi_prepare, rehearsal);
    engine.WaitForAll();
    decision_cpu.Add(CpuNs() - cpu);
    cpu = CpuNs();
    answer->Add(engine.Operation().prepare);
    whole->Add(CpuNs() - cpu);
  };
  Samples warm;
  for (int i = -20, rounds = report.Rounds(usual); i < rounds; ++i) {
    measure(node.agent, i < 0 ? &warm : &without, i < 0 ? &warm : &without_cpu);
    measure(other, i < 0 ? &warm : &with, i < 0 ? &warm : &with_cpu);
  }
  const Json seen = other.Ask(dvdi_policy, {{"verb", "shadow"}});
  const Json& decisions = GetMember(GetMember(seen, "shadow"), "decisions");
  report.Add(name, with,
             {{"answer_more_us", with.Median() - without.Median()},
              {"cpu_more_us", with_cpu.Median() - without_cpu.Median()},
              {"decision_cpu_us", decision_cpu.Median()},
              {"cpu_more_per_decision", (with_cpu.Median() - without_cpu.Median()) / decision_cpu.Median()},
              {"without_us", without.Median()},
              {"same", static_cast<double>(GetInt(decisions, "same"))},
              {"different", static_cast<double>(GetInt(decisions, "different"))}},
             "prepare with a shadow; behind the answer it decides once more");
}

int Main(int argc, char** argv) {
  Report report(argc, argv);
  if (!OwnMounts()) {
    report.Skip("policy/swap", "mounts need root");
    return report.Write() ? 0 : 1;
  }
  Swaps(report, "policy/swap", 1000);
  Install(report, "policy/install", 10);
  FirstOperation(report, "policy/first", 6, 60);
  FirstOperation(report, "policy/first_again", 2, 60);
  Shadow(report, "policy/shadow", 200);
  return report.Write() ? 0 : 1;
}

}  // namespace
}  // namespace dvdi

int main(int argc, char** argv) { return dvdi::Main(argc, argv); }
