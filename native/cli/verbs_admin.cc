// recover, version; and what all verbs begin with.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "cli/prepare.h"
#include "cli/print.h"
#include "cli/verbs.h"

namespace dvdi::cli {
namespace {

constexpr int kAfterRecoveryWaitMs = 2000;
constexpr int kRecoverWaitMs = 10000;

// Appends the items of a member of `from`, each once.
void Merge(const Json& from, const char* key, Json* into) {
  Json& list = (*into)[key];
  if (!list.is_array()) list = Json::array();
  for (const auto& item : GetMember(from, key)) {
    bool there = false;
    for (const auto& known : list) there |= known == item;
    if (!there) list.push_back(item);
  }
}

std::string VolumeText(const Json& v) {
  std::string why = GetString(v, "why", GetString(v, "error"));
  if (GetString(v, "name").empty()) return why;  // what could not be undone is of no volume alone
  return GetString(v, "name") + " (driver " + GetString(v, "driver") + ")" + (why.empty() ? "" : ": " + why);
}

void PrintRecovered(const Json& answer) {
  std::string text;
  auto line = [&](const char* what, const Json& item) {
    text += Clean(std::string(what) + " " +
                  (item.is_string()   ? item.get<std::string>()
                   : item.is_object() ? VolumeText(item)
                                      : Dump(item))) +
            "\n";
  };
  for (const auto& i : GetMember(answer, "undone")) line("undid the unfinished operation", i);
  for (const auto& i : GetMember(answer, "ended")) line("ended the scope", i);
  for (const auto& i : GetMember(answer, "released")) line("released", i);
  for (const auto& i : GetMember(answer, "pending")) line("still to be released:", i);
  for (const auto& i : GetMember(answer, "reported")) line("not ours, left alone:", i);
  for (const auto& i : GetMember(answer, "notes")) line("note:", i);
  PrintText(text.empty() ? "nothing to do\n" : text);
}

}  // namespace

Result<OpenedEngine> OpenEngine(const Options& options) {
  DVDI_ASSIGN_OR_RETURN(auto engine, Engine::Open(options.global));
  bool freed = engine->RecoverRuns(options.global.json);
  return OpenedEngine(std::move(engine), freed ? kAfterRecoveryWaitMs : 0);
}

int Failed(const Options& options, const Status& status) {
  PrintError(status, options.global.json);
  return ExitCodeFor(status);
}

int Recover(const Options& options) {
  auto engine = Engine::Open(options.global);
  if (!engine.ok()) return Failed(options, engine.status());
  std::vector<std::string> owners = options.owners;
  if (owners.empty()) owners = {"run", "manual", "oci", "dvdcli"};
  Json all = Json::object(), due = Json::array(), problems = Json::array();
  Status failure;
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(CloseWait(options, kRecoverWaitMs));
  for (const auto& owner : owners) {
    // Each waits for all releases: together no longer than was said.
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const int64_t wait = options.wait ? std::max<int64_t>(left, 0) : 0;
    auto answer = (*engine)->Do(dvdi_recover, {{"owner", owner}, {"wait_ms", wait}}, "recovering");
    // One owner's trouble is no reason to leave the others.
    if (!answer.ok() && failure.ok()) failure = answer.status();
    for (const char* key : {"undone", "ended", "released", "reported", "notes"})
      Merge(answer.ok() ? *answer : Json(), key, &all);
    if (!answer.ok()) continue;
    // Volumes that are due are all of the node's: what was when one owner's turn ended may be released since.
    due = Json::array();
    for (const auto& item : GetMember(*answer, "pending"))
      (GetString(item, "name").empty() ? problems : due).push_back(item);
  }
  all["pending"] = std::move(problems);
  Merge({{"pending", due}}, "pending", &all);
  (*engine)->Close(options.wait ? 0 : kAfterRecoveryWaitMs);
  if (!failure.ok()) return Failed(options, failure);
  if (options.global.json)
    PrintJson(all);
  else
    PrintRecovered(all);
  if (!options.wait || GetMember(all, "pending").empty()) return kExitOk;
  Status late(Code::kTimeout, "not all volumes were released in time",
              "they stay due and are named above; see their drivers' logs, then wait again");
  if (!options.global.json) PrintError(late, false);
  return ExitCodeFor(late);
}

int Version(const Options& options) {
  if (options.global.json)
    PrintJson({{"version", dvdi_version()}});
  else
    ::printf("dvdi %s\n", Clean(dvdi_version()).c_str());
  return kExitOk;
}

}  // namespace dvdi::cli
