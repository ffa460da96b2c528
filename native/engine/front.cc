// The first part of a prepare, on the front thread: reading the request, the policy's parse, admission.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/caught.h"
#include "base/guards.h"
#include "base/path.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/operation.h"
#include "engine/operation_json.h"
#include "engine/release.h"
#include "engine/secrets.h"
#include "engine/tell.h"
#include "engine/watch.h"
#include "mount/stage.h"
#include "policy/answer.h"
#include "sys/user.h"

namespace dvdi {
namespace {

constexpr size_t kMaxSources = 1000;
constexpr size_t kMaxOrigin = 255;  // bytes of it that errors and records show

// The sources as the policy gets them: secrets taken out, text checked.
Result<Json> ReadSources(Random* random, const Settings& settings, const Json& sources, SecretList* secrets) {
  if (sources.is_null()) return Json::array();
  if (!sources.is_array() || sources.size() > kMaxSources)
    return Status(Code::kInvalid,
                  "sources wants a list of at most " + std::to_string(kMaxSources) + " entries");
  Json out = Json::array();
  for (const Json& s : sources) {
    std::string form = GetString(s, "form");
    const Json& origin = GetMember(s, "origin");
    if (!origin.is_null() && !origin.is_string())
      return Status(Code::kInvalid, "the origin of a source of form " + OneLine(form, 40) + " is not text");
    Json source = {{"form", form}};
    if (std::string shown = OneLine(GetString(s, "origin"), kMaxOrigin); !shown.empty())
      source["origin"] = std::move(shown);
    if (form == "env") {
      Json env = Json::object();
      for (const auto& [name, value] : GetMember(s, "env").items()) {
        if (!value.is_string())
          return Status(Code::kInvalid, "variable " + OneLine(name, 60) + " is not text");
        env[name] = TakeSecrets(random, settings, "env", value.get_ref<const std::string&>(), secrets);
      }
      source["env"] = std::move(env);
      out.push_back(std::move(source));
      continue;
    }
    const Json& text = GetMember(s, "text");
    if (!text.is_string())
      return Status(Code::kInvalid, "a source of form " + OneLine(form, 40) + " has no text");
    source["text"] = TakeSecrets(random, settings, form, text.get_ref<const std::string&>(), secrets);
    out.push_back(std::move(source));
  }
  return out;
}

Status ReadRequest(Core& core, const Json& request, PrepareRequest* out) {
  OperationRow& o = out->operation;
  o.owner = GetString(request, "owner"), o.scope = GetString(request, "scope");
  for (const auto& [what, text] : {std::pair("owner", &o.owner), {"scope", &o.scope}})
    if (text->empty() || text->size() > 512 || OneLine(*text, 600) != *text)
      return Status(
          Code::kInvalid,
          std::string("the request's ") + what +
              (text->empty() ? " is missing" : " \"" + OneLine(*text, 60) + "\" is not one plain line") +
              ": it has 1 to 512 bytes",
          text == &o.scope ? "The scope is what `--name` gives" : "");
  out->targets = GetString(request, "targets", "ignore");
  if (out->targets != "make" && out->targets != "check" && out->targets != "ignore")
    return Status(Code::kInvalid,
                  "targets is " + OneLine(out->targets, 40) + "; make, check or ignore are accepted");
  std::string goal = GetString(request, "goal");
  if (!goal.empty() && goal != "create")
    return Status(Code::kInvalid, "goal is " + OneLine(goal, 40) + "; only create is accepted");
  out->goal = GetBool(request, "dry_run") ? Goal::kRehearsal
              : goal == "create"          ? Goal::kCreate
                                          : Goal::kWorkload;
  const Json& process = GetMember(request, "process");
  if (!process.is_null()) {
    o.pid = static_cast<pid_t>(GetInt(process, "pid"));
    int r = o.pid > 0 ? core.env.sys->ProcessStart(o.pid, &o.start_time) : -ESRCH;
    if (r >= 0) r = core.env.sys->MountNamespace(o.pid, &o.mount_namespace);
    o.pid_namespace = core.pid_namespace;
    if (r < 0)
      return Status::FromErrno(-r, "cannot look at process " + std::to_string(o.pid) + " of the scope");
    out->hide = true;
  }
  const Json& user = GetMember(request, "user");
  if (!user.is_null()) {
    out->has_user = true;
    out->user = GetString(user, "name");
    out->uid = static_cast<uint32_t>(GetInt(user, "uid")),
    out->gid = static_cast<uint32_t>(GetInt(user, "gid"));
  }
  const Json& base = GetMember(request, "target_base");
  for (auto [name, path] : {std::pair("relative", &out->relative_base), {"absolute", &out->absolute_base}}) {
    *path = GetString(base, name);
    if (!path->empty() && (!IsNormalPath(*path) || *path == "/"))
      return Status(Code::kInvalid, std::string("target_base.") + name + " is " + OneLine(*path) +
                                        ", which is no absolute path without \"..\"");
  }
  out->covers = GetString(request, "covers");
  int64_t wait = GetInt(request, "deadline_ms");
  if (wait <= 0) wait = core.settings.prepare_ms;
  out->deadline_ms = core.In(wait);
  Json hashed = request;
  hashed.erase("deadline_ms");
  // Where the same was written down makes it no other request.
  if (hashed.contains("sources") && hashed["sources"].is_array())
    for (Json& source : hashed["sources"])
      if (source.is_object()) source.erase("origin");
  o.request_hash = Sha256Hex(Dump(hashed));
  return Status();
}

// Where the scope has an operation already: the answer of one that committed for the same request, or OK
// where the way is free (what was left of it is undone).
Status ResolveExisting(Core& core, const OperationRow& o, Json* answer) {
  std::optional<OperationRow> found;
  DVDI_RETURN_IF_ERROR(core.ledger->Read([&](LedgerTx& tx) -> Status {
    DVDI_ASSIGN_OR_RETURN(found, tx.FindOperation(o.owner, o.scope));
    return Status();
  }));
  if (!found) return Status();
  bool over = found->state == kCommitted ? ScopeIsOver(core, *found)
                                         : !InstanceAlive(core.env, core.instances, found->instance);
  if (over) {
    UndoOutcome outcome;
    return TakeDown(core, *found, "recover", Status(), core.env.clock->MonotonicMs() + 10'000, &outcome)
        .status();
  }
  if (found->state == kCommitted && found->request_hash == o.request_hash && !found->answer.empty()) {
    auto stored = ParseJson(found->answer, "a stored answer");
    if (stored.ok() && stored->is_object()) {
      *answer = std::move(*stored);
      answer->erase(kMadeIn);
      (*answer)["hide"] = Json::array();
      // Whoever cannot go on with it has not begun the scope, and is not to end it.
      (*answer)["stored"] = true;
      return Status();
    }
  }
  return ScopeTaken(o);
}

// A name becomes numbers. Whatever the system looks users up in may be slow, so this has a thread of its own.
Status FindUser(PrepareRequest* request) {
  if (request->user.empty()) return Status();
  DVDI_ASSIGN_OR_RETURN(UserIds ids, ResolveUser(request->user));
  request->uid = ids.uid, request->gid = ids.gid;
  return Status();
}

// Before a workload's operation begins. `stored` is the answer where it was answered before.
Status GetReady(Core& core, const PrepareRequest& request, Json* stored) {
  if (request.goal != Goal::kWorkload) return Status();
  DVDI_RETURN_IF_ERROR(ResolveExisting(core, request.operation, stored));
  if (!stored->is_null()) return Status();
  // Once it was ready, one look tells whether it is there still. Before, it may be one that somebody who died
  // has only begun.
  bool there = false;
  if (core.stage_root_ready) DVDI_RETURN_IF_ERROR(IsMountpoint(core.env, core.stage_root, &there));
  if (there) return Status();
  DVDI_RETURN_IF_ERROR(EnsureStageRoot(core.env, core.stage_root));
  core.stage_root_ready = true;
  return Status();
}

}  // namespace

Status Engine::Prepare(const Json& request, Done done) { return Begin(request, false, std::move(done)); }

Status Engine::Begin(const Json& request, bool take_over, Done done) {
  if (!request.is_object()) return Status(Code::kInvalid, "a prepare request is an object");
  if (core_->closing) return Status(Code::kRefused, "the engine is being closed");
  done = Promise(std::move(done));
  Front(done, [this, self = shared_from_this(), request, take_over, done] {
    return PrepareFront(request, take_over, done);
  });
  return Status();
}

Engine::Rest Engine::PrepareFront(Json raw, bool take_over, Done done) {
  Core& core = *core_;
  auto request = std::make_shared<PrepareRequest>();
  request->take_over = take_over;
  auto recorder = std::make_shared<Recorder>(
      core.env, GetString(raw, "goal") == "create" ? "create" : "prepare", core.settings.record_bytes);
  std::shared_ptr<const Revision> decides;
  // What fails here has touched nothing: it leaves a record, so that `explain` can say why.
  auto fail = [&](const Status& s, bool policy_failed = false) -> Rest {
    if (request->goal == Goal::kRehearsal) {
      done(s, Json());
      return nullptr;
    }
    request->operation.id = core.env.random->HexId(16);
    (void)core.ledger->Apply(Commit::recorded, false, [&](LedgerTx& tx) {
      return tx.PutRecord(recorder->Finish(request->operation, CodeName(s.code()), s), {},
                          core.settings.records_keep);
    });
    TellRefused(core, *recorder, *request, s);
    done(s, Json());
    if (decides == nullptr) return nullptr;
    return [core_ref = core_, self = shared_from_this(), recorder, request, decides, s, policy_failed] {
      WatchPolicies(*core_ref, *decides, *recorder, request->operation, s, policy_failed);
    };
  };
  // The policy's own failure, unless the engine was what kept it from an answer.
  auto policy_failed = [&](const Status& s) {
    const bool failed = s.code() == Code::kPolicy && !core.closing;
    return fail(failed ? PolicyFault(*decides, s) : s, failed);
  };
  Status s = ReadRequest(core, raw, request.get());
  if (!s.ok()) {
    done(s, Json());
    return nullptr;
  }
  auto sources = ReadSources(core.env.random, core.settings, GetMember(raw, "sources"), &request->secrets);
  if (!sources.ok()) return fail(sources.status());
  for (const auto* secrets : {&request->secrets, &core.setting_secrets})
    for (const auto& [handle, value] : *secrets) recorder->HideSecret(value);
  auto revision = core.policy->Current();
  if (!revision.ok()) return fail(revision.status());
  const PolicyManifest& m = (*revision)->module->manifest();
  recorder->Policy(m.name, m.version, (*revision)->module->sha256());
  decides = *revision;

  Json input = {{"config", (*revision)->config}, {"sources", std::move(*sources)}};
  std::string driver = GetString(raw, "default_driver");
  if (!driver.empty()) input["default_driver"] = driver;
  std::string input_text = Dump(input);
  recorder->Input("parse", input_text);
  request->policy = (*revision)->module->Begin();
  auto text = request->policy->Call(
      "parse", input_text, [](std::string_view name, std::string_view) -> Result<std::string> {
        if (name == "log") return std::string("{\"ok\":{}}");
        return Status(Code::kPolicy, "the policy called " + std::string(name) + " while parsing");
      });
  if (!text.ok()) return policy_failed(text.status());
  recorder->Answer("parse", *text);
  Json said;
  auto parsed = ParsePolicyAnswer("parse", *text, &said);
  if (!parsed.ok()) return said.is_null() ? policy_failed(parsed.status()) : fail(parsed.status());
  request->volumes = GetMember(*parsed, "volumes");
  request->notes = GetMember(*parsed, "notes").is_array() ? GetMember(*parsed, "notes") : Json::array();
  if (!request->volumes.is_array())
    return policy_failed(Status(Code::kPolicy, "the policy's answer to parse has no volumes"));

  std::set<std::string> drivers;
  for (const Json& v : request->volumes) {
    std::string d = GetString(v, "driver"), name = GetString(v, "name");
    if (d.empty() || name.empty())
      return policy_failed(
          Status(Code::kPolicy, "the policy's answer to parse has a volume without driver or name"));
    if (Status allowed = core.settings.CheckDriver(d, name); !allowed.ok()) return fail(allowed);
    drivers.insert(d);
  }
  const std::string& covers = request->covers;
  if (!covers.empty() && std::none_of(request->volumes.begin(), request->volumes.end(), [&](const Json& v) {
        const std::string path = NormalPath(GetString(v, "container_path"));
        return path == covers || IsStrictlyBelow(path, covers);
      }))
    return fail(Status(Code::kInvalid,
                       "there is no folder " + OneLine(covers, 200) + ", and no volume is to be there",
                       "Make it, or choose one that is there (`--workdir`)")
                    .WithPath(covers));
  if (request->volumes.empty() && request->goal == Goal::kWorkload) {
    done(Status(),
         {{"operation", ""},
          {"scope", request->operation.scope},
          {"volumes", Json::array()},
          {"hide", Json::array()},
          {"notes", request->notes},
          {"policy", {{"name", m.name}, {"version", m.version}, {"sha256", (*revision)->module->sha256()}}}});
    return nullptr;
  }
  const std::vector<std::string> wanted(drivers.begin(), drivers.end());
  Admission::Task task = [this, self = shared_from_this(), core_ref = core_, request, recorder, wanted,
                          revision = *revision, done](const Status& admitted) {
    Core& c = *core_ref;
    auto refused = [&](const Status& why) {
      TellRefused(c, *recorder, *request, why);
      done(why, Json());
    };
    if (!admitted.ok()) return refused(admitted);
    Json stored;
    Status s = FindUser(request.get());
    if (s.ok()) s = GetReady(c, *request, &stored);
    if (!s.ok()) return refused(s);
    if (!stored.is_null()) return done(s, stored);
    Conduct(std::make_shared<PrepareOperation>(c, std::move(*request), revision, std::move(*recorder)),
            wanted, done, Status());
  };
  Rest rest = core.admission->TryAdmit("prepare", wanted, task);
  if (!rest) core.admission->Submit("prepare", wanted, request->deadline_ms, std::move(task));
  return rest;
}

void Engine::Conduct(const std::shared_ptr<PrepareOperation>& operation,
                     const std::vector<std::string>& drivers, const Done& done, const Status& admitted) {
  Core& c = *core_;
  auto outcome = admitted.ok() ? operation->Run() : operation->GiveUp();
  if (outcome.again_ms > 0) {
    c.plugins->CloseIdle();
    c.admission->Submit(
        "prepare", drivers, operation->deadline_ms(),
        [this, self = shared_from_this(), operation, drivers, done](const Status& let_in) {
          Conduct(operation, drivers, done, let_in);
        },
        outcome.again_ms);
    return;
  }
  done(outcome.status, outcome.answer);
  // What the rest throws is no longer the operation's: it is not given up for it.
  (void)Caught([&] {
    ReleaseBehind(outcome.releasing, std::move(outcome.locks));
    // An idle connection of ours would keep a plugin that serves one at a time from everybody else.
    c.plugins->CloseIdle();
    if (!outcome.status.ok()) Wake();
    c.policy->Tidy();
    operation->Watch(outcome.status);
  });
}

}  // namespace dvdi
