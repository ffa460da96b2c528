#include "engine/drivers.h"

#include <unistd.h>

#include <algorithm>

#include "base/text.h"

namespace dvdi {
namespace {

constexpr int64_t kAskMs = 2000;

constexpr char kNotAllowed[] = "not-allowed";

std::vector<Answer> AskAll(Core& core, const std::vector<std::string>& names, Method method) {
  std::vector<Call> calls;
  for (const auto& name : names) {
    Call call;
    call.driver = name, call.method = method;
    call.deadline_ms = core.env.clock->MonotonicMs() + kAskMs;
    calls.push_back(std::move(call));
  }
  return AskDrivers(core, calls);
}

bool IsVolumeDriver(const Answer& a) {
  return std::find(a.implements.begin(), a.implements.end(), "VolumeDriver") != a.implements.end();
}

// One tier as the driver wrote it, with our names. What it left out is left out.
Json TierJson(const std::string& driver, const Json& tier) {
  Json out = {{"driver", driver}};
  auto text = [&](const char* theirs, const char* ours) {
    std::string value = OneLine(GetString(tier, theirs), 4096);
    if (!value.empty()) out[ours] = value;
  };
  auto number = [&](const char* theirs, const char* ours) {
    if (GetMember(tier, theirs).is_number()) out[ours] = GetInt(tier, theirs);
  };
  text("Name", "name"), text("Path", "path"), text("Label", "label"), text("Filesystem", "filesystem");
  number("CapacityBytes", "capacity_bytes"), number("PromisedBytes", "promised_bytes");
  number("FreeBytes", "free_bytes");
  const Json& attributes = GetMember(tier, "Attributes");
  out["attributes"] = attributes.is_object() ? attributes : Json::object();
  return out;
}

}  // namespace

std::vector<Answer> AskDrivers(Core& core, const std::vector<Call>& calls) {
  std::vector<Answer> answers(calls.size());
  std::vector<Call> allowed;
  std::vector<size_t> at;
  for (size_t i = 0; i < calls.size(); ++i) {
    const Status may = core.settings.CheckDriver(calls[i].driver);  // promise 9
    if (may.ok())
      allowed.push_back(calls[i]), at.push_back(i);
    else
      answers[i].reason = kNotAllowed, answers[i].error = may.message() + ": " + may.hint();
  }
  std::vector<Answer> some = core.plugins->Run(allowed);
  for (size_t k = 0; k < at.size(); ++k) answers[at[k]] = std::move(some[k]);
  return answers;
}

Answer AskDriver(Core& core, const Call& call) { return std::move(AskDrivers(core, {call})[0]); }

Code CodeOfAnswer(const Answer& answer) {
  if (answer.kind == Answer::Kind::kError) return Code::kDriver;
  if (answer.reason == kNotAllowed) return Code::kRefused;
  return answer.reason == "not-found" ? Code::kNotFound : Code::kUnavailable;
}

Json DescribeDrivers(Core& core, bool ask) {
  auto breakers = core.plugins->Breakers();
  std::vector<std::string> names = ListPlugins(core.env.sys, core.plugins->paths());
  std::vector<Answer> answers, capabilities;
  if (ask) {
    answers = AskAll(core, names, Method::kActivate);
    std::vector<std::string> volume_drivers;
    for (size_t i = 0; i < names.size(); ++i)
      if (IsVolumeDriver(answers[i])) volume_drivers.push_back(names[i]);
    auto some = AskAll(core, volume_drivers, Method::kCapabilities);
    capabilities.resize(names.size());
    for (size_t i = 0, k = 0; i < names.size(); ++i)
      if (IsVolumeDriver(answers[i])) capabilities[i] = std::move(some[k++]);
  }
  Json list = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    auto address = DiscoverPlugin(core.env.sys, core.plugins->paths(), names[i]);
    Json one = {{"name", names[i]},
                {"address", address.ok() ? address->ToString() : address.status().message()},
                {"found", address.ok()},
                {"allowed", core.settings.AllowsDriver(names[i])},
                {"breaker", breakers.count(names[i]) != 0 ? breakers[names[i]] : "closed"}};
    if (ask) {
      if (answers[i].reason != kNotAllowed) {
        one["reachable"] = answers[i].kind != Answer::Kind::kUnknown;
        one["volume_driver"] = IsVolumeDriver(answers[i]);
      }
      if (capabilities[i].kind == Answer::Kind::kOk) one["scope"] = capabilities[i].scope;
      if (!answers[i].error.empty()) one["error"] = answers[i].error;
      uint64_t theirs = 0, ours = 0;
      if (answers[i].peer_pid > 0 && core.env.sys->MountNamespace(answers[i].peer_pid, &theirs) == 0 &&
          core.env.sys->MountNamespace(static_cast<pid_t>(::getpid()), &ours) == 0)
        one["same_mount_namespace"] = theirs == ours;
    }
    list.push_back(std::move(one));
  }
  return list;
}

Result<Json> DescribePools(Core& core, const std::string& driver) {
  std::vector<std::string> names =
      driver.empty() ? ListPlugins(core.env.sys, core.plugins->paths()) : std::vector<std::string>{driver};
  std::vector<Answer> answers = AskAll(core, names, Method::kTiers);
  Json tiers = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    const Answer& a = answers[i];
    // Most drivers know no such call, and say so in every way there is; only the one that was named has to.
    if (a.kind != Answer::Kind::kOk) {
      if (driver.empty()) continue;
      const Code code = a.NoSuchMethod() ? Code::kUnsupported : CodeOfAnswer(a);
      return Status(code,
                    (code == Code::kUnsupported ? "driver " + driver + " has no tiers: " : "") + a.error)
          .WithVolume(OneLine(driver, 128), "");
    }
    auto body = ParseJson(a.body_json, "the driver's answer");
    if (!body.ok()) continue;
    for (const Json& tier : GetMember(*body, "Tiers"))
      if (tier.is_object()) tiers.push_back(TierJson(names[i], tier));
  }
  Json pools = Json::array();
  for (const Json& pool : GetMember(core.settings.policy, "pools")) {
    if (!pool.is_object() || (!driver.empty() && GetString(pool, "driver") != driver)) continue;
    Json one = {{"name", GetString(pool, "name")}, {"driver", GetString(pool, "driver")}};
    if (!core.settings.AllowsDriver(GetString(pool, "driver"))) one["allowed"] = false;
    const Json& attributes = GetMember(pool, "attributes");
    one["attributes"] = attributes.is_object() ? attributes : Json::object();
    Json options = Json::object();
    const Json& given = GetMember(pool, "options");
    if (given.is_object()) {
      for (auto it = given.begin(); it != given.end(); ++it) {
        const bool secret = it->is_string() &&
                            SettingSecret(core.setting_secrets, it->get_ref<const std::string&>()) != nullptr;
        options[it.key()] = secret ? Json("[secret]") : *it;
      }
    }
    one["options"] = std::move(options);
    pools.push_back(std::move(one));
  }
  return Json{{"pools", std::move(pools)}, {"tiers", std::move(tiers)}};
}

Result<Json> ListOfDriver(Core& core, const std::string& driver, int64_t timeout_ms) {
  Call call;
  call.driver = driver, call.method = Method::kList;
  call.deadline_ms =
      core.env.clock->MonotonicMs() + std::clamp<int64_t>(timeout_ms, 1, core.settings.call_max_ms);
  const Answer answer = AskDriver(core, call);
  if (answer.kind != Answer::Kind::kOk)
    return Status(CodeOfAnswer(answer), answer.error).WithVolume(OneLine(driver, 128), "");
  Json list = Json::array();
  for (const auto& v : answer.volumes) {
    Json one = {{"name", OneLine(v.name, 255)}};
    if (!v.mountpoint.empty()) one["mountpoint"] = OneLine(v.mountpoint, 4096);
    list.push_back(std::move(one));
  }
  return Json{{"volumes", std::move(list)}};
}

}  // namespace dvdi
