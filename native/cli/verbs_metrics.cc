// metrics: what the node counts, for Prometheus.
#include <cstdio>

#include "cli/print.h"
#include "cli/verbs.h"

namespace dvdi::cli {

int Metrics(const Options& options) {
  // Nothing is cleaned up first: who looks every few seconds changes nothing by looking.
  auto engine = Engine::Open(options.global);
  if (!engine.ok()) return Failed(options, engine.status());
  auto answer = (*engine)->Ask(dvdi_status, {{"what", "metrics"}});
  if (!answer.ok()) return Failed(options, answer.status());
  if (options.global.json)
    PrintJson(*answer);
  else
    PrintText(GetString(*answer, "text"));
  return kExitOk;
}

}  // namespace dvdi::cli
