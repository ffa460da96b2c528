// The verbs beside `run` and `doctor`. Each prints its answer (or its failure) and returns the exit code.
#ifndef DVDI_CLI_VERBS_H_
#define DVDI_CLI_VERBS_H_

#include <string>

#include "base/json.h"
#include "cli/engine.h"
#include "cli/options.h"

namespace dvdi::cli {

int Mount(const Options& options);       // verbs_volumes.cc
int Unmount(const Options& options);     // verbs_volumes.cc
int Forget(const Options& options);      // verbs_volumes.cc
int Create(const Options& options);      // verbs_manage.cc
int Remove(const Options& options);      // verbs_manage.cc
int Prune(const Options& options);       // verbs_manage.cc
int Plugins(const Options& options);     // verbs_places.cc
int Pools(const Options& options);       // verbs_places.cc
int Fence(const Options& options);       // verbs_places.cc
int List(const Options& options);        // verbs_show.cc
int Inspect(const Options& options);     // verbs_show.cc
int ShowStatus(const Options& options);  // verbs_show.cc
int Explain(const Options& options);     // verbs_explain.cc
int Metrics(const Options& options);     // verbs_metrics.cc
int OciHook(const Options& options);     // oci.cc
int OciBundle(const Options& options);   // oci_bundle.cc
int Recover(const Options& options);     // verbs_admin.cc
int Policy(const Options& options);      // verbs_policy.cc
int Version(const Options& options);     // verbs_admin.cc
int Completion(const Options& options);  // verbs_completion.cc
int Names(const Options& options);       // verbs_completion.cc

// Opens the engine and cleans up after ended runs, as every verb does. Where that freed something, the
// release gets a moment when the engine is closed.
struct OpenedEngine {
  std::unique_ptr<Engine> engine;
  int close_wait_ms = 0;
  ~OpenedEngine() {
    if (engine != nullptr) engine->Close(close_wait_ms);
  }
  OpenedEngine(std::unique_ptr<Engine> e, int wait) : engine(std::move(e)), close_wait_ms(wait) {}
  OpenedEngine(OpenedEngine&&) = default;
  Engine* operator->() { return engine.get(); }
};
Result<OpenedEngine> OpenEngine(const Options& options);

// Prints the failure and gives its exit code.
int Failed(const Options& options, const Status& status);

// The head, then each record of `query` (a query of dvdi_explain) as a line, oldest first: the newest
// options.last of them, 0 for all, to standard output or into the new file options.file. verbs_export.cc
Status ExportRecords(Engine& engine, const Options& options, Json query);

// The timeline of one operation of dvdi_explain, for people.
std::string OperationText(const Json& operation);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_VERBS_H_
