// A conformance check: what is tried, what the protocol says of it, what clients do, and what was found.
#ifndef DVDI_SANITY_CHECK_H_
#define DVDI_SANITY_CHECK_H_

#include <functional>
#include <string>
#include <vector>

namespace dvdi::sanity {

class Context;

// How clients fare with a plugin that is found to be so.
enum class Severity {
  kError,    // they fail, or data is at risk
  kWarning,  // they live with it
};

struct Check {
  std::string id;        // "mount.two-ids": group and name; stable, named in files of expected findings
  std::string title;     // what holds where nothing is found
  std::string protocol;  // what the written protocol says
  std::string clients;   // what clients do, and so why it matters
  Severity severity = Severity::kError;
  std::function<void(Context&)> run;
  bool last = false;  // a plugin that gets it wrong is no longer what it was: tried after all others
};

struct Outcome {
  const Check* check = nullptr;
  std::vector<std::string> found;  // one line each
  std::string skipped;             // why it could not be tried; "" where it was
  std::string expected;            // the reason that the file of expected findings gives, else ""
  bool may_pass = false;           // that file says that it is not always found
  int64_t ms = 0;
  bool stuck =
      false;  // the plugin answers no more, and could not be restarted: nothing after it can be tried

  enum class Kind { kPassed, kFound, kExpected, kSkipped, kStale };
  // kStale: it is listed as an expected finding, and was not found.
  Kind kind() const {
    if (!skipped.empty() && found.empty()) return Kind::kSkipped;
    if (!found.empty()) return expected.empty() ? Kind::kFound : Kind::kExpected;
    return expected.empty() || may_pass ? Kind::kPassed : Kind::kStale;
  }
};

// Every check, in the order in which they are tried.
std::vector<Check> AllChecks();

// The groups of AllChecks, one file each.
std::vector<Check> ProtocolChecks();
std::vector<Check> TransportChecks();
std::vector<Check> VolumeChecks();
std::vector<Check> MountChecks();
std::vector<Check> NameChecks();
std::vector<Check> LoadChecks();
std::vector<Check> RestartChecks();

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_CHECK_H_
