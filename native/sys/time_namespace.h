// What a time namespace does to the times that /proc has of processes.
#ifndef DVDI_SYS_TIME_NAMESPACE_H_
#define DVDI_SYS_TIME_NAMESPACE_H_

#include <cstdint>

namespace dvdi {

// How far the boot time of this process is ahead of the node's (CLOCK_BOOTTIME; negative: behind), in the
// ticks of /proc/PID/stat: a process would seem to be another one to who sees it by another clock. -EDOM
// where that is no whole number of ticks, or where this process has set other clocks for its children than it
// has itself, which are all that the kernel tells.
int BootClockAhead(int64_t* ticks);

}  // namespace dvdi

#endif  // DVDI_SYS_TIME_NAMESPACE_H_
