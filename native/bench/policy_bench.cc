// What a decision costs: parse and prepare of the built-in blob in a fresh instance with all limits on,
// against a host that answers from a table (so that no plugin, mount or JSON library is measured).
#include <benchmark/benchmark.h>
#include <stdlib.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/json.h"
#include "policy/answer.h"
#include "policy/runtime.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

int64_t NowNs() { return Clock::Real()->MonotonicNs(); }

// Prints why and ends: a benchmark of something that failed measures nothing.
[[noreturn]] void Die(const Status& status) {
  std::fprintf(stderr, "policy_bench: %s\n", status.message().c_str());
  ::exit(1);
}

template <class T>
T Must(Result<T> result) {
  if (!result.ok()) Die(result.status());
  return std::move(result.value());
}

// Answers as an engine with one healthy driver would. Each answer is made once, then looked up by its
// request.
class ScriptedHost {
 public:
  Result<std::string> operator()(std::string_view name, std::string_view request) {
    key_.assign(name).append(1, ' ').append(request);
    auto it = answers_.find(key_);
    if (it == answers_.end()) it = answers_.emplace(key_, Make(name, request)).first;
    return it->second;
  }

 private:
  static std::string Make(std::string_view name, std::string_view request) {
    Json ok = Json::object();
    if (name == "now") {
      ok = {{"unix_ms", 1'700'000'000'000}, {"left_ms", 60'000}};
    } else if (name == "random") {
      ok = {{"u32", 4}};
    } else if (name == "query") {
      ok = {{"attachment", {{"state", "none"}, {"users", Json::array()}}}, {"history", {{"known", false}}}};
    } else if (name == "plugin_call") {
      ok["answers"] = Json::array();
      const Json calls = Must(ParseJson(request, "request"));
      for (const Json& call : calls.at("calls")) {
        const std::string method = GetString(call, "method");
        Json answer = {{"kind", "ok"}};
        if (method == "Activate") answer["implements"] = {"VolumeDriver"};
        if (method == "Capabilities") answer["scope"] = "global";
        if (method == "Get" || method == "Mount" || method == "Path")
          answer["mountpoint"] = "/var/lib/driver/v";
        if (method == "List") answer["volumes"] = Json::array();
        ok["answers"].push_back(std::move(answer));
      }
    } else if (name == "stage") {
      ok["stages"] = Json::array();
      const Json stages = Must(ParseJson(request, "request"));
      for (size_t i = 0; i < stages.at("stages").size(); ++i) ok["stages"].push_back({{"ok", true}});
    }
    return Dump(Json{{"ok", std::move(ok)}});
  }

  std::string key_;
  std::unordered_map<std::string, std::string> answers_;
};

struct Decision {
  std::shared_ptr<const PolicyModule> module;
  ScriptedHost script;
  HostFunction host;
  std::string parse_input, prepare_input;

  explicit Decision(int volumes) {
    host = [this](std::string_view name, std::string_view request) { return script(name, request); };
    auto runtime = Must(PolicyRuntime::Create(SystemEnv(), PolicyLimits(), ""));
    module = Must(runtime->Load(BuiltinPolicy()));
    const Json configure = {{"settings", Json::object()}, {"engine", {{"version", "bench"}, {"abi", 1}}}};
    const Json config = Ask("configure", Dump(configure));
    Json sources = Json::array();
    for (int i = 0; i < volumes; ++i)
      sources.push_back({{"form", "mount"},
                         {"text", "type=volume,src=data" + std::to_string(i) + ",dst=/data" +
                                      std::to_string(i) + ",volume-driver=rexray"}});
    parse_input = Dump(Json{{"config", config}, {"sources", sources}});
    Json requests = Ask("parse", parse_input).at("volumes");
    int index = 0;
    for (Json& v : requests) {
      v["index"] = index++;
      v["attachment"] = {{"state", "none"}, {"users", Json::array()}};
      v["history"] = {{"known", true}, {"created_by_us", true}, {"last_used_ms", 1'690'000'000'000}};
    }
    prepare_input = Dump(Json{{"config", config},
                              {"node", "node-a"},
                              {"left_ms", 60'000},
                              {"now_ms", 1'700'000'000'000},
                              {"scope", {{"owner", "run"}, {"id", "bench"}}},
                              {"volumes", requests}});
    Ask("prepare", prepare_input);
  }

  Json Ask(const std::string& name, const std::string& input) {
    return Must(ParsePolicyAnswer(name, Must(module->Call(name, input, host))));
  }
};

// The samples' median and 99th percentile, in microseconds, as counters.
void Report(benchmark::State& state, std::vector<int64_t>& ns, const std::string& prefix) {
  if (ns.empty()) return;
  std::sort(ns.begin(), ns.end());
  state.counters[prefix + "median_us"] = static_cast<double>(ns[ns.size() / 2]) / 1e3;
  state.counters[prefix + "p99_us"] = static_cast<double>(ns[ns.size() * 99 / 100]) / 1e3;
}

void BM_Decision(benchmark::State& state) {
  Decision d(static_cast<int>(state.range(0)));
  std::vector<int64_t> total, parse, prepare;
  CallStats parse_stats, prepare_stats;
  for (auto _ : state) {
    const int64_t t0 = NowNs();
    auto instance = d.module->Begin();
    auto parsed = instance->Call("parse", d.parse_input, d.host, &parse_stats);
    const int64_t t1 = NowNs();
    auto prepared = instance->Call("prepare", d.prepare_input, d.host, &prepare_stats);
    instance.reset();
    const int64_t t2 = NowNs();
    if (!parsed.ok() || !prepared.ok()) state.SkipWithError("the policy failed");
    parse.push_back(t1 - t0);
    prepare.push_back(t2 - t1);
    total.push_back(t2 - t0);
  }
  Report(state, total, "");
  Report(state, parse, "parse_");
  Report(state, prepare, "prepare_");
  state.counters["host_calls"] = static_cast<double>(parse_stats.host_calls + prepare_stats.host_calls);
  state.counters["parse_fuel"] = static_cast<double>(parse_stats.fuel_used);
  state.counters["prepare_fuel"] = static_cast<double>(prepare_stats.fuel_used);
  state.counters["memory_kib"] =
      static_cast<double>(std::max(parse_stats.memory_bytes, prepare_stats.memory_bytes) >> 10);
}
BENCHMARK(BM_Decision)->Arg(1)->Arg(10)->Arg(100)->Unit(benchmark::kMicrosecond);

// A fresh instance that has next to nothing to do: what isolation costs.
void BM_EmptyCall(benchmark::State& state) {
  Decision d(1);
  CallStats stats;
  std::vector<int64_t> total;
  for (auto _ : state) {
    const int64_t t0 = NowNs();
    auto r = d.module->Call("parse", "{}", d.host, &stats);
    total.push_back(NowNs() - t0);
    benchmark::DoNotOptimize(r);
  }
  Report(state, total, "");
  state.counters["fuel"] = static_cast<double>(stats.fuel_used);
}
BENCHMARK(BM_EmptyCall)->Unit(benchmark::kMicrosecond);

// A runtime and the built-in blob from its compiled form, as at dvdi_open.
void BM_LoadCached(benchmark::State& state) {
  char folder[] = "/tmp/dvdi-policy-bench-XXXXXX";
  if (::mkdtemp(folder) == nullptr) Die(Status::FromErrno(errno, "cannot make a folder"));
  const std::string cache = std::string(folder) + "/cache";
  auto load = [&] {
    auto runtime = Must(PolicyRuntime::Create(SystemEnv(), PolicyLimits(), cache));
    return Must(runtime->Load(BuiltinPolicy()));
  };
  load();
  std::vector<int64_t> total;
  for (auto _ : state) {
    const int64_t t0 = NowNs();
    benchmark::DoNotOptimize(load());
    total.push_back(NowNs() - t0);
  }
  Report(state, total, "");
  std::filesystem::remove_all(folder);
}
BENCHMARK(BM_LoadCached)->Unit(benchmark::kMicrosecond);

// Until the blob can decide, and until it is compiled well.
void BM_LoadCompiling(benchmark::State& state) {
  std::vector<int64_t> usable;
  for (auto _ : state) {
    const int64_t t0 = NowNs();
    auto runtime = Must(PolicyRuntime::Create(SystemEnv(), PolicyLimits(), ""));
    auto module = Must(runtime->Load(BuiltinPolicy()));
    usable.push_back(NowNs() - t0);
    runtime->Finish();
  }
  Report(state, usable, "usable_");
}
BENCHMARK(BM_LoadCompiling)->Unit(benchmark::kMillisecond)->Iterations(3);

}  // namespace
}  // namespace dvdi

BENCHMARK_MAIN();
