// The real world with counters: what an operation costs beside time. In a program that links this, RealEnv()
// is it.
#ifndef DVDI_BENCH_COUNTING_ENV_H_
#define DVDI_BENCH_COUNTING_ENV_H_

#include <cstdint>

namespace dvdi {

struct Counts {
  int64_t fsyncs = 0;       // fsync(2) and fdatasync(2) of this process, SQLite's included
  int64_t mount_calls = 0;  // open_tree, mount_setattr, move_mount, mount, umount2
  int64_t mountinfo = 0;    // readings of mountinfo
  int64_t threads = 0;      // started
};
// Since the last call.
Counts TakeCounts();

// From here on the boot is another one: for an engine that is opened now, the node has rebooted.
void OtherBoot();

// Waits until no thread that the engine started is left, but for its keeper: what it does behind an answer is
// over then.
void WaitUntilIdle();

}  // namespace dvdi

#endif  // DVDI_BENCH_COUNTING_ENV_H_
