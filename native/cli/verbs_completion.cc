// completion, and the names that a completion asks for.
#include <cstdio>
#include <set>

#include "cli/completion.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace dvdi::cli {

int Completion(const Options& options) {
  WithCommandTree([&](const CLI::App& app) { PrintText(CompletionScript(app, options.shell)); });
  return kExitOk;
}

int Names(const Options& options) {
  bool drivers = options.names == "drivers";
  if (!drivers && options.names != "volumes")
    return Failed(options, Status(Code::kInvalid, "names of " + options.names + " are not known",
                                  "volumes and drivers are"));
  GlobalOptions global = options.global;
  global.keeper = false;
  auto engine = Engine::Open(global);
  if (!engine.ok()) return Failed(options, engine.status());
  Json query = {{"what", options.names}};
  if (drivers) query["ask"] = false;
  auto answer = (*engine)->Ask(dvdi_status, query);
  if (!answer.ok()) return Failed(options, answer.status());
  std::set<std::string> names;
  for (const auto& one : GetMember(*answer, options.names.c_str()))
    names.insert(Clean(GetString(one, "name")));
  for (const auto& name : names) PrintText(name + "\n");
  return kExitOk;
}

}  // namespace dvdi::cli
