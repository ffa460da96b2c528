// The record of one operation: what went in, every host call with its answer, what came out.
#ifndef DVDI_ENGINE_RECORDER_H_
#define DVDI_ENGINE_RECORDER_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/secret.h"
#include "base/status.h"
#include "ledger/rows.h"
#include "observe/observer.h"
#include "policy/replay.h"
#include "sys/env.h"

namespace dvdi {

// Used by one thread at a time.
class Recorder {
 public:
  // `max_bytes`: what is longer is cut, and says so.
  Recorder(const Env& env, std::string kind, size_t max_bytes);

  // Texts are JSON; they are kept as they are, redacted.
  void Input(const std::string& export_name, std::string_view text);
  void Answer(const std::string& export_name, std::string_view text);
  void HostCall(std::string_view name, std::string_view request, std::string_view answer, int64_t ns);
  // What was recorded of prepare does not count: the policy is asked once more.
  void PrepareAgain();
  void Undone(std::string text) { undone_.push_back(std::move(text)); }
  void Note(std::string text) { notes_.push_back(std::move(text)); }
  void Policy(const std::string& name, const std::string& version, const std::string& sha256);
  // Values that must not be in any text from here on (promise 10).
  void HideSecret(const std::string& value);
  // A text for people without the secrets.
  std::string Redact(std::string_view text) const;
  // The same of JSON, which it stays whatever a secret is: hidden is what stands in its strings. Names of
  // members, what is no string, and the ABI's own words are no driver's. What is no JSON is taken for a text.
  std::string RedactJson(std::string_view text) const;

  // What the audit log says of all that the operation did.
  EventContext Context(const OperationRow& operation) const;

  int64_t started_ms() const { return started_ms_; }
  // What a policy could decide again; null where it was cut.
  const DecisionTexts* texts() const { return cut_ ? nullptr : &texts_; }
  // `outcome`: "ok" or the error's code.
  RecordRow Finish(const OperationRow& operation, const std::string& outcome, const Status& status) const;

 private:
  // What is kept of a text.
  std::string Kept(std::string_view text);

  const Env env_;
  const std::string kind_;
  const size_t max_bytes_;
  const int64_t started_ms_, started_ns_;
  size_t bytes_ = 0;
  bool cut_ = false;
  Json policy_;
  // Calls are kept as text: most records are never read.
  DecisionTexts texts_;
  std::vector<std::string> undone_, notes_;
  std::vector<SecretText, WipingAllocator<SecretText>> secrets_;
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_RECORDER_H_
