// The simulation's random numbers and its clock.
#ifndef DVDI_SIM_RANDOM_H_
#define DVDI_SIM_RANDOM_H_

#include <cstdint>

#include "sys/env.h"

namespace dvdi::sim {

// splitmix64: small, and the same everywhere.
class SimRandom : public Random {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  void Fill(void* bytes, size_t n) override;
  uint64_t Next();
  uint64_t Below(uint64_t n) { return Next() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  void Seed(uint64_t seed) { state_ = seed; }

 private:
  uint64_t state_;
};

// Moves when somebody waits.
class SimClock : public Clock {
 public:
  int64_t MonotonicMs() override { return ns_ / 1'000'000; }
  int64_t MonotonicNs() override { return ns_; }
  int64_t WallMs() override { return 1'700'000'000'000 + ns_ / 1'000'000 + wall_shift_ms_; }
  void Advance(int64_t ms) { ns_ += ms * 1'000'000; }
  void AdvanceTo(int64_t ms) {
    if (ms * 1'000'000 > ns_) ns_ = ms * 1'000'000;
  }
  int64_t now_ms() const { return ns_ / 1'000'000; }
  void ShiftWall(int64_t ms) { wall_shift_ms_ += ms; }

 private:
  int64_t ns_ = 1'000'000'000;
  int64_t wall_shift_ms_ = 0;
};

}  // namespace dvdi::sim

#endif  // DVDI_SIM_RANDOM_H_
