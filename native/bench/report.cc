#include "bench/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <string_view>

namespace dvdi {

double Samples::Quantile(double part) const {
  if (ns_.empty()) return 0;
  if (!sorted_) std::sort(ns_.begin(), ns_.end());
  sorted_ = true;
  return static_cast<double>(
             ns_[static_cast<size_t>(std::lround(part * static_cast<double>(ns_.size() - 1)))]) /
         1e3;
}

Report::Report(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string_view a = argv[i];
    constexpr std::string_view kOut = "--benchmark_out=", kFilter = "--benchmark_filter=",
                               kRounds = "--rounds=";
    if (a.starts_with(kOut)) out_ = a.substr(kOut.size());
    if (a.starts_with(kFilter)) filter_ = a.substr(kFilter.size());
    if (a.starts_with(kRounds)) rounds_ = std::atoi(a.data() + kRounds.size());
  }
}

bool Report::Wants(const std::string& name) const {
  return filter_.empty() || std::regex_search(name, std::regex(filter_));
}

void Report::Add(const std::string& name, const Samples& time,
                 std::vector<std::pair<std::string, double>> counters, const std::string& label) {
  std::printf("%-28s %10.1f us  (min %.1f, p95 %.1f, n %zu)  %s\n", name.c_str(), time.Median(), time.Min(),
              time.P95(), time.size(), label.c_str());
  for (const auto& [key, value] : counters) std::printf("    %-26s %12.3f\n", key.c_str(), value);
  std::fflush(stdout);
  counters.insert(counters.begin(), {{"min_us", time.Min()}, {"p95_us", time.P95()}});
  lines_.push_back({name, label, time.size(), time.Median(), std::move(counters)});
}

void Report::Skip(const std::string& name, const std::string& why) {
  std::printf("%-28s skipped: %s\n", name.c_str(), why.c_str());
  lines_.push_back({name, "skipped: " + why, 0, 0, {}});
}

bool Report::Write() const {
  if (out_.empty()) return true;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Line& l : lines_) {
    nlohmann::ordered_json j = {{"name", l.name},          {"run_name", l.name},
                                {"run_type", "iteration"}, {"iterations", l.iterations},
                                {"real_time", l.time_us},  {"cpu_time", l.time_us},
                                {"time_unit", "us"}};
    if (!l.label.empty()) j["label"] = l.label;
    for (const auto& [key, value] : l.counters) j[key] = value;
    list.push_back(std::move(j));
  }
  std::ofstream file(out_);
  file << nlohmann::ordered_json{{"benchmarks", std::move(list)}}.dump(2) << "\n";
  if (file.flush()) return true;
  std::fprintf(stderr, "cannot write %s\n", out_.c_str());
  return false;
}

}  // namespace dvdi
