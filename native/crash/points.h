// Crash points: the places at which a process may die with something half done. Each effect and each commit
// of the ledger is one, found at the seam (Env), so that a new one cannot be forgotten. Only in programs of
// the tests: what ships has none of this, and obeys no variable.
#ifndef DVDI_CRASH_POINTS_H_
#define DVDI_CRASH_POINTS_H_

#include <atomic>
#include <string>

namespace dvdi::crash {

// Where in a point the process dies, or that the point fails.
enum class Moment {
  kNone,
  kFails,   // it does not die: the system call is not made, and fails with error()
  kBefore,  // nothing of it is done
  kSent,    // calls of plugins: the request has left, and nobody waits for its answer
  kActed,   // it is done, and nothing says so: an effect's outcome is in no ledger, a commit is written but
            // not committed
  kAfter,   // its outcome is in the ledger: an effect's with the next commit (or the process ends), a commit
            // is made
};

// Thread-safe. What is to happen is said by the environment:
//
// DVDI_CRASH_AT is "MOMENT N NAME": the process dies by SIGKILL in that moment of the Nth (from 1) passage of
// that point. For a system call MOMENT may be an errno, as ENOSPC: it fails with that.
//
// DVDI_CRASH_LOG is a file that gets the name of each point that is passed, one a line.
//
// DVDI_CRASH_HOME is a folder that is shown as "~" in names.
class Points {
 public:
  static Points& OfThisProcess();
  Points(const std::string& at, const std::string& log, std::string home);

  // The point is being entered: dies, or returns which later moment of it is to be died in (kNone: none).
  Moment Enter(const std::string& name);
  // The act is done: dies, or will with the next commit.
  void Acted(Moment moment);
  // A commit is made: whoever waited for one dies.
  void Committed();
  [[noreturn]] static void Die();
  int error() const { return error_; }  // of kFails

  // A path as it stands in names: what differs from run to run (ids, numbers) is replaced.
  std::string Place(int dirfd, const char* path) const;

 private:
  Moment moment_ = Moment::kNone;
  std::atomic<int> left_ = 0;  // passages until it is time
  std::string name_;
  int error_ = 0;
  const std::string home_;
  int log_ = -1;
  std::atomic<bool> dies_at_commit_ = false;
};

}  // namespace dvdi::crash

#endif  // DVDI_CRASH_POINTS_H_
