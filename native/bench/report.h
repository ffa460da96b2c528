// Figures of a benchmark with loops of its own, in the form of Google Benchmark's JSON, and as lines for
// people.
#ifndef DVDI_BENCH_REPORT_H_
#define DVDI_BENCH_REPORT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dvdi {

// Samples of one duration, in nanoseconds.
class Samples {
 public:
  void Add(int64_t ns) { ns_.push_back(ns), sorted_ = false; }
  // Takes the memory for so many at once, where memory is what is measured.
  void Reserve(size_t count) { ns_.assign(count, 1), ns_.clear(); }
  size_t size() const { return ns_.size(); }
  // In microseconds; `part` of them (0 to 1) are not larger. 0 where there are none.
  double Quantile(double part) const;
  double Min() const { return Quantile(0); }
  double Median() const { return Quantile(0.5); }
  double P95() const { return Quantile(0.95); }

 private:
  mutable std::vector<int64_t> ns_;
  mutable bool sorted_ = true;
};

class Report {
 public:
  // Reads --benchmark_out=FILE and --benchmark_filter=REGEX, and --rounds=N; other options of Google
  // Benchmark are passed over.
  Report(int argc, char** argv);
  // How often a benchmark is repeated: what --rounds says, else `usual`.
  int Rounds(int usual) const { return rounds_ > 0 ? rounds_ : usual; }
  // Whether the filter lets a benchmark of that name run.
  bool Wants(const std::string& name) const;
  // One line. `counters` are in the order in which they are to be read. Printed at once.
  void Add(const std::string& name, const Samples& time, std::vector<std::pair<std::string, double>> counters,
           const std::string& label = "");
  // A benchmark that cannot run here, and why.
  void Skip(const std::string& name, const std::string& why);
  // Writes the file. False, with a message on stderr, where that fails.
  bool Write() const;

 private:
  struct Line {
    std::string name, label;
    size_t iterations;
    double time_us;
    std::vector<std::pair<std::string, double>> counters;
  };
  std::string out_, filter_;
  int rounds_ = 0;
  std::vector<Line> lines_;
};

}  // namespace dvdi

#endif  // DVDI_BENCH_REPORT_H_
