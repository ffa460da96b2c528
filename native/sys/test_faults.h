// For tests: system calls that fail, of code that makes them itself and not through Sys. The kernel asks
// about each of the named calls of one thread (seccomp(2), SECCOMP_RET_USER_NOTIF), so that what fails is the
// call itself, in whatever library it is made. Not part of the engine.
#ifndef DVDI_SYS_TEST_FAULTS_H_
#define DVDI_SYS_TEST_FAULTS_H_

#include <functional>
#include <string>
#include <vector>

namespace dvdi {

struct CallFault {
  std::vector<long> calls;  // SYS_…; all of these count together
  int err = 0;              // the errno that it fails with; 0: it answers 0, and is not made
  int nth = 1;              // which of them, from 1; 0: each
  bool anywhere = false;    // also of threads that the body starts, as long as it runs
};

// "" where this kernel lets us, else why not.
const std::string& WhyNoCallFaults();

// Whether this program was built with a sanitizer, whose runtime needs memory at any time: SYS_mmap must not
// fail then.
bool NeedsEveryMmap();

// Runs `body` in a thread of its own, in which these calls fail; the other threads are not concerned. What
// the thread starts (threads, processes) makes its calls as always, but where they fail `anywhere`, and must
// end with `body`. The result:
// whether each of the faults has come about.
bool WithCallFaults(const std::vector<CallFault>& faults, const std::function<void()>& body);

// Runs `body` again and again: the first of the calls fails, then the second, …, until there are no more.
// The result: how many have failed.
int FailEachCall(const std::vector<long>& calls, int err, const std::function<void()>& body);

}  // namespace dvdi

#endif  // DVDI_SYS_TEST_FAULTS_H_
