// The C ABI (dvdi.h) with owned handles and Results. Nothing of the engine is known here beside it.
#ifndef DVDI_CLI_ENGINE_H_
#define DVDI_CLI_ENGINE_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/json.h"
#include "base/status.h"
#include "cli/options.h"
#include "dvdi/dvdi.h"

namespace dvdi::cli {

// An operation that runs: its descriptor becomes readable when the answer is there.
class Pending {
 public:
  int fd() const;
  // Waits for the answer; once.
  Result<Json> Take();

 private:
  friend class Engine;
  struct Shared;
  explicit Pending(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<Shared> shared_;
};

class Engine {
 public:
  using AsyncCall = dvdi_code (*)(dvdi_engine*, const char*, dvdi_done, void*);
  using SyncCall = dvdi_code (*)(dvdi_engine*, const char*, char**);

  // Threads start here: fork before it, not after.
  static Result<std::unique_ptr<Engine>> Open(const GlobalOptions& options);
  // Closes at once, where Close was not called.
  ~Engine();

  // dvdi_prepare, dvdi_cleanup, dvdi_recover, dvdi_remove, dvdi_fence.
  Result<Pending> Start(AsyncCall call, const Json& request);
  // Waits for it. `what` is shown on a terminal where it takes long, as in "removing data"; "" shows nothing.
  Result<Json> Do(AsyncCall call, const Json& request, const std::string& what = "");
  // dvdi_status, dvdi_explain, dvdi_forget, dvdi_policy.
  Result<Json> Ask(SyncCall call, const Json& request);

  // Cleans up after `run` scopes whose processes are gone. What fails here is said as a note and is no
  // failure of the verb that follows. True where something was cleaned up, so that its release is
  // worth a moment at Close.
  bool RecoverRuns(bool quiet);

  void Close(int wait_ms);

 private:
  explicit Engine(dvdi_engine* engine) : engine_(engine) {}
  dvdi_engine* engine_;
};

// The `options` of dvdi_open for these options.
Json OpenOptions(const GlobalOptions& options);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_ENGINE_H_
