// What the ledger knows, for people and tools. Asks no plugin unless told to.
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "engine/drivers.h"
#include "engine/engine.h"
#include "engine/operation_json.h"
#include "helper/helper.h"

namespace dvdi {
namespace {

Json UsersOf(LedgerTx& tx, const std::string& id, const Boot& boot, Status* status) {
  Json list = Json::array();
  auto users = tx.Users(id, boot);
  if (!users.ok()) {
    *status = users.status();
    return list;
  }
  for (const auto& u : *users)
    list.push_back({{"owner", u.owner},
                    {"scope", u.scope},
                    {"target", u.target},
                    {"mode", u.mode},
                    {"access", u.access},
                    {"stage", u.stage},
                    {"since_ms", u.since_ms}});
  return list;
}

Result<Json> Volumes(Core& core, const std::string& driver, const std::string& name) {
  Json list = Json::array();
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    list = Json::array();
    std::map<std::pair<std::string, std::string>, std::pair<VolumeRow, std::optional<AttachmentRow>>> all;
    DVDI_ASSIGN_OR_RETURN(auto volumes, tx.Volumes(name));
    for (const auto& v : volumes) all[{v.driver, v.name}].first = v;
    DVDI_ASSIGN_OR_RETURN(auto attachments, tx.Attachments());
    for (const auto& a : attachments) {
      if (!name.empty() && a.name != name) continue;
      all[{a.driver, a.name}].second = a;
    }
    for (const auto& [key, both] : all) {
      if (!driver.empty() && key.first != driver) continue;
      const auto& [v, a] = both;
      Json one = {{"driver", key.first},
                  {"name", key.second},
                  {"id", a ? a->id : ""},
                  {"state", a ? a->state : v.state},
                  {"mountpoint", a ? a->mountpoint : ""},
                  {"created_by_us", v.created_by_us},
                  {"created_ms", v.created_ms},
                  {"last_used_ms", v.last_used_ms},
                  {"unused", v.Unused() && !a},
                  {"users", Json::array()}};
      if (a) {
        Status s;
        one["users"] = UsersOf(tx, a->id, core.boot_id, &s);
        DVDI_RETURN_IF_ERROR(s);
        if (!a->error.empty())
          one["error"] = a->error, one["attempts"] = a->attempts, one["next_ms"] = a->next_ms;
      }
      list.push_back(std::move(one));
    }
    return Status();
  }));
  return list;
}

Result<Json> Scopes(Core& core) {
  Json list = Json::array();
  std::vector<OperationRow> operations;
  std::map<std::string, Json> volumes;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    volumes.clear();
    DVDI_ASSIGN_OR_RETURN(operations, tx.Operations());
    for (const auto& o : operations) {
      Json of = Json::array();
      DVDI_ASSIGN_OR_RETURN(auto effects, tx.Effects(o.id));
      for (const auto& e : effects) {
        if (e.kind != kAttach) continue;
        DVDI_ASSIGN_OR_RETURN(auto a, tx.GetAttachment(e.attachment));
        std::string stage;
        for (const auto& x : effects)
          if (x.kind == kStage && x.attachment == e.attachment && x.target == e.target) stage = x.path;
        of.push_back({{"driver", a ? a->driver : ""},
                      {"name", a ? a->name : ""},
                      {"target", e.target},
                      {"stage", stage},
                      {"mode", e.mode}});
      }
      volumes[o.id] = std::move(of);
    }
    return Status();
  }));
  uint64_t ours = 0;
  if (core.env.sys->MountNamespace(0, &ours) < 0) ours = 0;
  for (const auto& o : operations) {
    uint64_t start = 0;
    const bool known = KnowsPid(core, o);
    bool alive = o.pid > 0 && o.boot_id == core.boot_id &&
                 (known ? core.env.sys->ProcessStart(o.pid, &start) == 0 && start == o.start_time
                        : !ScopeIsOver(core, o));
    list.push_back({{"owner", o.owner},
                    {"scope", o.scope},
                    {"operation", o.id},
                    {"state", o.state},
                    {"since_ms", o.started_ms},
                    {"process", {{"pid", o.pid}, {"alive", alive}}},
                    {"volumes", volumes[o.id]}});
    auto stored = ParseJson(o.answer.empty() ? "{}" : o.answer, "a stored answer");
    const int64_t made_in = stored.ok() && o.boot_id == core.boot_id ? GetInt(*stored, kMadeIn) : 0;
    if (made_in != 0 && ours != 0)
      list.back()["same_mount_namespace"] = static_cast<uint64_t>(made_in) == ours;
    bool ended = false;
    if (made_in != 0 && core.env.sys->MountNamespaceEnded(static_cast<uint64_t>(made_in), &ended) == 0)
      list.back()["mount_namespace_ended"] = ended;
  }
  return Json{{"scopes", std::move(list)}};
}

Result<Json> Summary(Core& core) {
  Json pending = Json::array();
  int64_t volumes = 0, scopes = 0, operations = 0;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(volumes, tx.Count("SELECT count(*) FROM volume"));
    DVDI_ASSIGN_OR_RETURN(scopes, tx.Count("SELECT count(*) FROM operation WHERE state = 'committed'"));
    DVDI_ASSIGN_OR_RETURN(operations, tx.Count("SELECT count(*) FROM operation WHERE state <> 'committed'"));
    DVDI_ASSIGN_OR_RETURN(auto rows, tx.Releasing(1000));
    pending = Json::array();
    for (const auto& a : rows)
      pending.push_back({{"driver", a.driver},
                         {"name", a.name},
                         {"attempts", a.attempts},
                         {"next_ms", a.next_ms},
                         {"error", a.error}});
    return Status();
  }));
  Json policy;
  auto revision = core.policy->Current();
  if (revision.ok()) {
    const PolicyManifest& m = (*revision)->module->manifest();
    policy = {{"name", m.name},
              {"version", m.version},
              {"sha256", (*revision)->module->sha256()},
              {"source", (*revision)->source}};
  } else {
    policy = {{"error", Json::parse(revision.status().ToJson(), nullptr, false)}};
  }
  Json drivers = Json::object();
  for (const auto& [name, state] : core.plugins->Breakers()) drivers[name] = state;
  Json reported = Json::array();
  ReportStrangers(core);
  {
    std::lock_guard lock(core.reported_mu);
    for (const auto& r : core.reported) reported.push_back(r);
  }
  Json summary = {
      {"node", core.settings.node},
      {"boot_id", core.boot_id.id},
      {"state_dir", core.settings.state_dir},
      {"ledger",
       {{"ok", !core.ledger->damaged() && core.ledger->note().empty()}, {"note", core.ledger->note()}}},
      {"policy", policy},
      {"volumes", volumes},
      {"scopes", scopes},
      {"operations", operations},
      {"pending", pending},
      {"drivers", drivers},
      {"reported", reported}};
  if (uint64_t free = 0; core.env.sys->FsFree(core.settings.state_dir.c_str(), &free) >= 0)
    summary["state_free_bytes"] = free, summary["state_reserve"] = core.ledger->HasReserve();
  return summary;
}

Json AnswerJson(const Answer& a) {
  const char* kind = a.kind == Answer::Kind::kOk      ? "ok"
                     : a.kind == Answer::Kind::kError ? "error"
                                                      : "unknown";
  Json j = {{"kind", kind}};
  if (!a.error.empty()) j["error"] = a.error;
  if (!a.reason.empty()) j["reason"] = a.reason;
  if (!a.mountpoint.empty()) j["mountpoint"] = OneLine(a.mountpoint, 4096);
  if (!a.created_at.empty()) j["created_at"] = OneLine(a.created_at, 64);
  if (!a.status_json.empty()) j["status"] = Json::parse(a.status_json, nullptr, false);
  return j;
}

// Adds the processes that keep a scope alive: who is told to end it has to know which. Of one volume only,
// since each scope costs a look at every process of the node. What cannot be told is left out.
Status AddProcesses(Core& core, Json* users) {
  constexpr size_t kMost = 64;
  std::vector<OperationRow> operations;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(operations, tx.Operations());
    return Status();
  }));
  for (Json& user : *users)
    for (const auto& o : operations) {
      if (o.owner != GetString(user, "owner") || o.scope != GetString(user, "scope")) continue;
      if (o.mount_namespace == 0 || o.boot_id != core.boot_id) continue;
      auto living = core.env.sys->ProcessesIn(o.mount_namespace);
      if (!living.ok() || living->empty()) continue;
      living->resize(std::min(living->size(), kMost));
      user["processes"] = *living;
    }
  return Status();
}

Result<Json> Volume(Core& core, const Json& query) {
  std::string name = GetString(query, "name"), driver = GetString(query, "driver");
  if (name.empty()) return Status(Code::kInvalid, "status of a volume wants its name");
  DVDI_ASSIGN_OR_RETURN(Json list, Volumes(core, driver, name));
  if (list.size() > 1)
    return Status(Code::kInvalid, "several drivers have a volume " + OneLine(name, 255),
                  "name the driver too");
  Json one;
  if (list.empty()) {
    if (!GetBool(query, "ask_plugin") || driver.empty())
      return Status(Code::kNotFound, "no volume " + OneLine(name, 255) + " is known on this node",
                    "`dvdi ls` lists those that are; name a driver to ask it");
    one = {{"driver", driver}, {"name", name}, {"state", "unknown"}, {"users", Json::array()}};
  } else {
    one = list[0];
    if (!one["users"].empty()) DVDI_RETURN_IF_ERROR(AddProcesses(core, &one["users"]));
  }
  if (!GetBool(query, "ask_plugin")) return one;
  Call get;
  get.driver = GetString(one, "driver"), get.method = Method::kGet, get.volume = name;
  int64_t wait = GetInt(query, "timeout_ms", 10'000);
  get.deadline_ms = core.env.clock->MonotonicMs() + std::clamp<int64_t>(wait, 1, core.settings.call_max_ms);
  const Answer answer = AskDriver(core, get);
  if (list.empty() && answer.kind != Answer::Kind::kOk) {
    // Nobody is known to have it: there is nothing to tell of it but why.
    const bool says_no = answer.kind == Answer::Kind::kError;
    if (CodeOfAnswer(answer) == Code::kRefused) return core.settings.CheckDriver(get.driver, name);
    Status none(says_no ? Code::kNotFound : Code::kUnavailable,
                std::string("the volume is not known on this node, and its driver ") +
                    (says_no ? "says: " : "cannot be asked: ") + OneLine(answer.error),
                "`dvdi ls` lists the volumes of this node, `dvdi plugins` the drivers");
    return std::move(none.WithVolume(get.driver, name));
  }
  one["plugin"] = AnswerJson(answer);
  return one;
}

Json Doctor(Core& core) {
  Json checks = Json::array();
  auto add = [&](std::string name, bool ok, bool required, std::string found, std::string fix) {
    checks.push_back({{"name", std::move(name)},
                      {"ok", ok},
                      {"required", required},
                      {"found", std::move(found)},
                      {"fix", ok ? "" : std::move(fix)}});
  };
  add("state folder", true, true, core.settings.state_dir, "");
  bool sound = !core.ledger->damaged() && core.ledger->note().empty();
  add("ledger", sound, false, sound ? "sound" : core.ledger->note(),
      "look at what was put aside, then remove it and " + core.settings.state_dir + "/ledger.db.note");
  auto revision = core.policy->Current();
  add("policy", revision.ok(), true,
      revision.ok() ? (*revision)->module->manifest().name + " " + (*revision)->module->manifest().version
                    : revision.status().message(),
      revision.status().hint());
  const Status helper = CheckHelper();
  add("helper", helper.ok(), true, helper.ok() ? "can be started" : helper.message(), helper.hint());
  Status audit = core.observer->CheckAudit();
  add("audit log", audit.ok(), false, audit.ok() ? core.observer->audit_path() : audit.message(),
      audit.hint());
  const Status& counters = core.observer->counters().status();
  add("counters", counters.ok(), false, counters.ok() ? "shared by all engines" : counters.message(),
      counters.hint());
  Json drivers = DescribeDrivers(core, true);
  const std::vector<std::string>& folders = core.plugins->paths().sockets;
  add("drivers", !drivers.empty(), false, std::to_string(drivers.size()) + " found",
      "start a volume plugin; its socket belongs in " +
          (folders.empty() ? "a folder of plugins.sockets, which names none" : folders.front()) +
          ", or name its folder with plugins.sockets");
  for (const Json& d : drivers) {
    std::string name = "driver " + GetString(d, "name");
    if (!GetBool(d, "allowed")) {  // as the operator wants it
      add(name, true, false, OneLine(GetString(d, "error")), "");
      continue;
    }
    bool ok = GetBool(d, "reachable") && GetBool(d, "volume_driver");
    add(name, ok, false,
        ok                        ? "answers at " + GetString(d, "address")
        : GetBool(d, "reachable") ? "is no volume driver"
                                  : OneLine(GetString(d, "error", "does not answer")),
        "start it, or remove its socket or spec file");
    if (d.contains("same_mount_namespace") && !GetBool(d, "same_mount_namespace"))
      add(name + " mount namespace", false, false, "the driver runs in another mount namespace",
          "its mounts must reach this one: give it a folder with shared propagation (rshared)");
  }
  return checks;
}

// What has to be known beside records to replay them.
Json RecordsHead(const Settings& settings) {
  return {{"dvdi", "records"}, {"version", 1}, {"node", settings.node}, {"settings", settings.policy}};
}

}  // namespace

Result<Json> Engine::StatusOf(const Json& query) {
  std::string what = GetString(query, "what", "summary");
  Core& core = *core_;
  if (what == "summary") return Summary(core);
  if (what == "volumes") {
    DVDI_ASSIGN_OR_RETURN(Json list, Volumes(core, GetString(query, "driver"), GetString(query, "name")));
    return Json{{"volumes", std::move(list)}};
  }
  if (what == "volume") return Volume(core, query);
  if (what == "scopes") return Scopes(core);
  if (what == "usage") return UsageOf(query);
  if (what == "metrics") {
    DVDI_ASSIGN_OR_RETURN(std::string text, Metrics());
    Json values = MetricValues(text);
    return Json{{"text", std::move(text)}, {"values", std::move(values)}};
  }
  if (what == "drivers") return Json{{"drivers", DescribeDrivers(core, GetBool(query, "ask", true))}};
  if (what == "listed")
    return ListOfDriver(core, GetString(query, "driver"), GetInt(query, "timeout_ms", 10'000));
  if (what == "pools") return DescribePools(core, GetString(query, "driver"));
  if (what == "doctor") return Json{{"checks", Doctor(core)}};
  return Status(Code::kInvalid, "status of " + OneLine(what, 40) +
                                    "; summary, volumes, volume, scopes, usage, drivers, listed, pools, "
                                    "metrics and doctor are accepted");
}

Result<Json> Engine::Explain(const Json& query) {
  std::vector<RecordRow> rows;
  int64_t last = std::clamp<int64_t>(GetInt(query, "last", 1), 1, 1000);
  RecordOrder order;
  order.after = std::max<int64_t>(GetInt(query, "after", -1), -1);
  order.skip = std::max<int64_t>(GetInt(query, "skip"), 0);
  order.since_ms = GetInt(query, "since_ms");
  DVDI_RETURN_IF_ERROR(core_->ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(
        rows, tx.Records(GetString(query, "operation"), GetString(query, "scope"), GetString(query, "driver"),
                         GetString(query, "name"), static_cast<int>(last), order));
    return Status();
  }));
  Json list = Json::array();
  for (const auto& r : rows) {
    Json one = {{"seq", r.seq},
                {"operation", r.operation},
                {"kind", r.kind},
                {"owner", r.owner},
                {"scope", r.scope},
                {"started_ms", r.started_ms},
                {"duration_ms", static_cast<double>(r.duration_us) / 1000.0},
                {"outcome", r.outcome}};
    auto body = ParseJson(r.body, "a record", 80);  // a host call may be 64 deep
    if (body.ok()) AddMembers(&one, *body);
    for (Json& c : one["calls"]) {
      if (!c.is_object()) continue;
      c["ms"] = static_cast<double>(GetInt(c, "us")) / 1000.0;
      c.erase("us");
    }
    list.push_back(std::move(one));
  }
  Json answer = {{"operations", std::move(list)}};
  if (GetBool(query, "head")) answer["head"] = RecordsHead(core_->settings);
  return answer;
}

}  // namespace dvdi
