#include "engine/testing/scripted_policy.h"

namespace dvdi {

Json ScriptHost::Do(const char* name, const Json& request) {
  if (!ended_.ok()) return nullptr;
  ++calls_;
  auto text = call_(name, request.is_string() ? request.get<std::string>() : Dump(request));
  if (!text.ok()) {
    ended_ = text.status();
    return nullptr;
  }
  auto json = ParseJson(*text, "the answer of a host call");
  return json.ok() ? *json : Json("not JSON: " + *text);
}

Json ScriptHost::PluginAll(const std::vector<Json>& calls) {
  Json answer = Do("plugin_call", {{"calls", calls}});
  return GetMember(GetMember(answer, "ok"), "answers");
}

Json ScriptHost::Plugin(const Json& call) {
  Json answer = Do("plugin_call", {{"calls", {call}}});
  const Json& answers = GetMember(GetMember(answer, "ok"), "answers");
  // Where the engine refused the call as a whole: why.
  return answers.is_array() && answers.size() == 1 ? answers[0] : GetMember(answer, "error");
}

Json ScriptHost::Stage(const Json& stage) {
  Json answer = Do("stage", {{"stages", {stage}}});
  const Json& stages = GetMember(GetMember(answer, "ok"), "stages");
  return stages.is_array() && stages.size() == 1 ? stages[0] : GetMember(answer, "error");
}

std::string AllIsWell() { return R"({"ok":{"volumes":[],"notes":[]}})"; }

std::string SaysError(const std::string& code, const std::string& message) {
  return Dump({{"error", {{"code", code}, {"message", message}}}});
}

Result<std::string> Honest(const Json& input, ScriptHost& host) {
  for (const Json& v : input["volumes"]) {
    int64_t i = GetInt(v, "index");
    Json get = host.Plugin({{"method", "Get"}, {"volume", i}});
    if (GetString(get, "kind") == "error") {
      host.Plugin({{"method", "List"}, {"driver", v["driver"]}});
      Json create =
          host.Plugin({{"method", "Create"}, {"volume", i}, {"options", v.value("options", Json::object())}});
      if (GetString(create, "kind") != "ok") return SaysError("driver", "cannot create: " + Dump(create));
    } else if (GetString(get, "kind") != "ok") {
      return SaysError("unavailable", "nothing is known: " + Dump(get));
    }
    Json mount = host.Plugin({{"method", "Mount"}, {"volume", i}});
    if (GetString(mount, "kind") != "ok") return SaysError("driver", "cannot mount: " + Dump(mount));
    Json stage = host.Stage(
        {{"volume", i}, {"read_only", GetString(v, "mode") == "ro"}, {"subpath", v.value("subpath", "")}});
    if (!GetBool(stage, "ok")) return SaysError("system", "cannot stage: " + Dump(stage));
  }
  return AllIsWell();
}

ScriptedPolicy::ScriptedPolicy() {
  manifest_.name = "scripted", manifest_.version = "1.0.0", manifest_.abi = 1;
  scripts["parse"] = [](const Json& input, ScriptHost&) -> Result<std::string> {
    Json volumes = Json::array();
    for (const Json& source : input["sources"]) {
      auto statement = ParseJson(GetString(source, "text", "{}"), "the statement");
      if (!statement.ok()) return SaysError("invalid", statement.status().message());
      for (const Json& v : GetMember(*statement, "volumes")) volumes.push_back(v);
    }
    return Dump({{"ok", {{"volumes", volumes}, {"notes", Json::array()}}}});
  };
  scripts["prepare"] = Honest;
}

class ScriptedPolicy::Instance : public PolicyInstance {
 public:
  explicit Instance(std::shared_ptr<const ScriptedPolicy> policy) : policy_(std::move(policy)) {}

  Result<std::string> Call(const std::string& export_name, std::string_view input, const HostFunction& host,
                           CallStats*) override {
    auto script = policy_->scripts.find(export_name);
    if (script == policy_->scripts.end()) return std::string("{\"ok\":{}}");
    auto json = ParseJson(input, "the input of " + export_name);
    if (!json.ok()) return json.status();
    ScriptHost calls(host);
    auto answer = script->second(*json, calls);
    // What the engine ended stays ended, whatever the policy says then.
    if (!calls.ended().ok()) return calls.ended();
    return answer;
  }

 private:
  const std::shared_ptr<const ScriptedPolicy> policy_;
};

std::unique_ptr<PolicyInstance> ScriptedPolicy::Begin() const {
  return std::make_unique<Instance>(shared_from_this());
}

ScriptedSelector::ScriptedSelector(const Env& env, PolicyRuntime* runtime,
                                   std::shared_ptr<const PolicyModule> policy)
    : PolicySelector(env, runtime, "", Json::object()) {
  auto revision = std::make_shared<Revision>();
  revision->module = std::move(policy);
  revision->config = Json::object();
  revision->source = "scripted";
  revision_ = std::move(revision);
}

}  // namespace dvdi
