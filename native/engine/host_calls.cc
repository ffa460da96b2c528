// The imports of module "dvdi": what a policy may ask for, and the promises that hold whatever it asks.
#include "engine/host_calls.h"

#include <algorithm>
#include <cerrno>

#include "base/guards.h"
#include "base/path.h"
#include "base/secret.h"
#include "base/text.h"
#include "engine/driver_words.h"
#include "engine/meta.h"
#include "engine/operation.h"
#include "engine/secrets.h"
#include "mount/stage.h"

namespace dvdi {
namespace {

Json Refused(std::string why) { return {{"kind", "refused"}, {"error", std::move(why)}}; }

bool SaysNo(const std::string& value) {
  return value.empty() || value == "false" || value == "0" || value == "no";
}

}  // namespace

Result<std::string> PrepareOperation::HostCall(std::string_view name, std::string_view request) {
  int64_t begin = core_.env.clock->MonotonicNs();
  auto parsed = ParseJson(request, "the request of host call " + std::string(name));
  Result<Json> ok = Status(Code::kInternal, "no such host call");
  if (!parsed.ok()) {
    ok = Status(Code::kPolicy, parsed.status().message());
  } else if (LeftMs() == 0) {
    if (!unanswered_.empty())
      return Status(Code::kTimeout, unanswered_ + ", and the operation's deadline has passed",
                    "see whether the driver is alive (`dvdi doctor`), and its log");
    return Status(Code::kTimeout, "the operation's deadline passed while the policy was at work",
                  "`dvdi explain` shows what took so long");
  } else if (name == "plugin_call") {
    ok = PluginCall(*parsed);
  } else if (name == "stage") {
    ok = Stage(*parsed);
  } else if (name == "query") {
    ok = Query(*parsed);
  } else if (name == "log") {
    ok = Json::object();  // the record holds the request
  } else if (name == "now") {
    ok = Json{{"unix_ms", core_.env.clock->WallMs()}, {"left_ms", LeftMs()}};
  } else if (name == "sleep") {
    int64_t ms = std::clamp<int64_t>(GetInt(*parsed, "ms"), 0, LeftMs());
    core_.env.scheduler->SleepUntil(core_.env.clock->MonotonicMs() + ms);
    ok = Json::object();
  } else if (name == "random") {
    uint32_t n = 0;
    core_.env.random->Fill(&n, sizeof n);
    ok = Json{{"u32", n}};
  }
  std::string answer = ok.ok() ? Dump({{"ok", *ok}}) : "{\"error\":" + ok.status().ToJson() + "}";
  std::string kept = parsed.ok() ? std::string(request) : Dump(Json(std::string(request)));
  recorder_.HostCall(name, kept, answer, core_.env.clock->MonotonicNs() - begin);
  if (!ok.ok() && core_.closing) return ok.status();
  return recorder_.RedactJson(answer);
}

Result<Json> PrepareOperation::PluginCall(const Json& request) {
  const Json& items = GetMember(request, "calls");
  if (!items.is_array() || items.empty() || items.size() > kMaxCallsAtOnce)
    return Status(Code::kPolicy, "plugin_call wants 1 to " + std::to_string(kMaxCallsAtOnce) + " calls");
  struct Slot {
    Json answer;        // where nothing is sent
    int64_t call = -1;  // index into `calls`
    size_t volume = 0;
  };
  std::vector<Slot> slots(items.size());
  std::vector<Call> calls;
  std::vector<size_t> mounts, creates;  // volumes (first of their kind) that are about to be mounted, made
  for (size_t i = 0; i < items.size(); ++i) {
    Call call;
    std::string refused;
    DVDI_RETURN_IF_ERROR(FillCall(items[i], &call, &slots[i].volume, &refused));
    if (!refused.empty()) {
      slots[i].answer = Refused(refused);
      continue;
    }
    if (Json instead = AnswerApart(items[i], call, slots[i].volume); !instead.is_null()) {
      slots[i].answer = std::move(instead);
      continue;
    }
    if (call.method == Method::kCreate) {
      // What the driver said serves for one Create, also within one host call.
      VolumeState& first = volumes_[volumes_[slots[i].volume].first];
      first.get_said_no = first.list_without = false;
      creates.push_back(volumes_[slots[i].volume].first);
    }
    if (call.method == Method::kMount) {
      size_t first = volumes_[slots[i].volume].first;
      VolumeState& v = volumes_[first];
      if (v.attached) {
        slots[i].answer = {{"kind", "ok"}, {"mountpoint", v.attachment.mountpoint}};
        continue;
      }
      auto again = std::find(mounts.begin(), mounts.end(), first);
      if (again != mounts.end()) {  // one volume at two paths: one Mount
        for (size_t k = 0; k < i; ++k)
          if (slots[k].call >= 0 && calls[slots[k].call].method == Method::kMount &&
              volumes_[slots[k].volume].first == first)
            slots[i].call = slots[k].call;
        continue;
      }
      mounts.push_back(first);
      // From here on it may be mounted: before a Create the driver is asked anew.
      v.get_said_no = v.list_without = false;
    }
    slots[i].call = static_cast<int64_t>(calls.size());
    calls.push_back(std::move(call));
  }
  if (!mounts.empty() || !creates.empty()) DVDI_RETURN_IF_ERROR(BeforeEffects(mounts, creates));
  std::vector<Answer> answers = core_.plugins->Run(calls);
  for (Call& call : calls)
    for (auto& [key, value] : call.options) Wipe(&value);
  for (size_t c = 0; c < calls.size(); ++c)
    if (DVDI_GUARD(words_hidden) && HasWords(answers[c]) && had_words_.insert(calls[c].driver).second)
      HideWhatItMayRepeat(core_, calls[c].driver, &recorder_);
  if (!mounts.empty()) {
    for (size_t c = 0; c < calls.size(); ++c)
      if (calls[c].method == Method::kMount) named_.push_back(answers[c].mountpoint);
    if (Status s = ReadMounts(); !s.ok()) {
      for (const Slot& slot : slots)
        if (slot.call >= 0 && calls[slot.call].method == Method::kMount)
          volumes_[volumes_[slot.volume].first].unseen = NormalPath(answers[slot.call].mountpoint);
      return s;
    }
  }
  std::vector<Json> read;
  for (size_t c = 0; c < calls.size(); ++c) {
    for (const Slot& s : slots) {
      if (s.call != static_cast<int64_t>(c)) continue;
      read.push_back(AfterCall(calls[c], s.volume, answers[c]));
      break;
    }
  }
  Json out = Json::array();
  for (Slot& s : slots) out.push_back(s.call >= 0 ? read[s.call] : std::move(s.answer));
  return Json{{"answers", std::move(out)}};
}

// Fills in a call from what the policy wrote. An error ends the host call (the request makes no sense); a
// text in *refused answers this call alone.
Status PrepareOperation::FillCall(const Json& item, Call* call, size_t* volume, std::string* refused) {
  std::string name = GetString(item, "method");
  if (!MethodFromName(name, &call->method))
    return Status(Code::kPolicy,
                  "plugin_call: method " + OneLine(name, 60) + " is not one of the protocol's");
  if (DVDI_GUARD(policy_methods) && (call->method == Method::kUnmount || call->method == Method::kRemove))
    return Status(Code::kPolicy,
                  "plugin_call: " + name + " is the engine's own and cannot be called by a policy");
  bool of_driver = call->method == Method::kActivate || call->method == Method::kCapabilities ||
                   call->method == Method::kList;
  int64_t index = VolumeIndex(item, volumes_.size());
  if (of_driver) {
    std::string driver = GetString(item, "driver");
    index = -1;
    for (size_t i = 0; i < volumes_.size() && index < 0; ++i)
      if (volumes_[i].driver == driver) index = static_cast<int64_t>(i);
    if (index < 0)  // promise 4 and 9: only the drivers of this operation
      return Status(Code::kPolicy,
                    "plugin_call: driver " + OneLine(driver, 60) + " is not one of this operation's");
  }
  if (index < 0) return Status(Code::kPolicy, "plugin_call: " + name + " names no volume of this operation");
  *volume = static_cast<size_t>(index);
  const VolumeState& v = volumes_[*volume];
  const VolumeState& first = volumes_[v.first];
  call->driver = v.driver;
  if (!of_driver) call->volume = v.name;
  if (call->method == Method::kMount) call->id = first.attachment.id;
  int64_t timeout = GetInt(item, "timeout_ms", core_.settings.call_max_ms);
  if (DVDI_GUARD(call_deadline))  // promise 4
    timeout = std::clamp<int64_t>(timeout, 1, std::min(core_.settings.call_max_ms, LeftMs()));
  call->deadline_ms = core_.env.clock->MonotonicMs() + timeout;
  const Json& options = GetMember(item, "options");
  if (call->method == Method::kMount && !options.is_null()) {
    // An extension of some drivers: a volume that exists is held against them, and grows.
    if (!first.mount_opts)
      *refused = "the driver has not said that it takes options with a Mount";
    else if (std::any_of(options.begin(), options.end(),
                         [](const Json& value) { return !value.is_string(); }))
      return Status(Code::kPolicy, "plugin_call: an option of Mount is not text");
    for (auto it = options.begin(); options.is_object() && it != options.end() && refused->empty(); ++it)
      if (DVDI_GUARD(overwrite) && core_.settings.IsOverwriteOption(it.key()))
        *refused = "option " + OneLine(it.key(), 60) + " can destroy data: it passes with a Create alone";
    if (!refused->empty()) return Status();
    DVDI_ASSIGN_OR_RETURN(call->options, CreateOptions(v, options, refused));
    return Status();
  }
  if (call->method != Method::kCreate) return Status();

  // Promise 11: a second Create corrupts some drivers' state, and a Create on a guess makes an empty volume
  // in place of the one with the data.
  if (DVDI_GUARD(create_never) && GetString(v.request, "create") == "never")
    *refused = "the statement says that volume " + v.name + " is never to be created";
  else if (DVDI_GUARD(create_attached) && first.attached)
    *refused = "volume " + v.name + " is mounted on this node: no Create is sent under a mount";
  else if (DVDI_GUARD(create_after_no) && !first.get_said_no)
    *refused = "Create is sent only after the driver answered Get with an error of its own";
  else if (DVDI_GUARD(create_not_listed) && !first.list_without)
    *refused = "Create is sent only after the driver answered List without the volume";
  if (!refused->empty()) return Status();
  DVDI_ASSIGN_OR_RETURN(call->options, CreateOptions(v, options, refused));
  return Status();
}

Result<std::map<std::string, std::string>> PrepareOperation::CreateOptions(const VolumeState& v,
                                                                           const Json& options,
                                                                           std::string* refused) {
  std::map<std::string, std::string> out;
  auto forget = [&out] {
    for (auto& [key, value] : out) Wipe(&value);
    out.clear();
  };
  if (options.is_null()) return out;
  if (!options.is_object()) return Status(Code::kPolicy, "plugin_call: options of Create are not an object");
  for (auto it = options.begin(); it != options.end(); ++it) {
    std::string value;
    if (it->is_string()) {
      value = it->get<std::string>();
      for (const auto& [handle, secret] : request_.secrets)
        if (it->get_ref<const std::string&>() == handle) value = secret;
      if (const std::string* secret =
              SettingSecret(core_.setting_secrets, it->get_ref<const std::string&>())) {
        if (DVDI_GUARD(secret_option) && !IsSecretOption(core_.settings, it.key())) {
          *refused = "option " + OneLine(it.key(), 60) +
                     " has a secret of the settings as its value, and is not among secrets.options";
          forget();
          return out;
        }
        value = *secret;
      }
    } else if (it->is_object() && it->size() == 1 && it->contains("secret")) {
      auto secret =
          ResolveSecret(core_.env, core_.settings, request_.secrets, v.driver, GetString(*it, "secret"));
      if (!secret.ok()) {
        const Status why = secret.status();
        *refused = why.message() + (why.hint().empty() ? "" : "; " + why.hint());
        forget();
        return out;
      }
      value = std::move(*secret);
      recorder_.HideSecret(value);
    } else {
      forget();
      return Status(Code::kPolicy,
                    "plugin_call: option " + OneLine(it.key(), 60) + " is neither text nor a secret");
    }
    if (DVDI_GUARD(overwrite) && core_.settings.IsOverwriteOption(it.key()) && !SaysNo(value) &&
        !core_.settings.OverwriteAllowed(v.driver, it.key())) {
      *refused = "option " + OneLine(it.key(), 60) +
                 " can destroy data, and the settings of this node do not allow it for driver " + v.driver +
                 ": leave it out, or list it in their drivers." + v.driver + ".overwrite_options";
      Wipe(&value);
      forget();
      return out;
    }
    out[it.key()] = std::move(value);
  }
  return out;
}

// The IDs are durable and marked as sent before any Mount leaves.
Status PrepareOperation::BeforeEffects(const std::vector<size_t>& mounts,
                                       const std::vector<size_t>& creates) {
  create_tried_ |= !creates.empty();
  if (!mounts.empty() && !meta_written_) {
    Meta meta;
    meta.operation = request_.operation;
    const bool secrets = MayTellSecrets(core_.env, core_.settings);
    for (const auto& v : volumes_) {
      if (&volumes_[v.first] != &v || v.attached) continue;
      meta.attachments.push_back({v.attachment.id, v.driver, v.name, secrets, !request_.take_over});
      if (v.before != "releasing") continue;
      // What its driver was told before this engine takes it over, it knows still.
      if (auto before = ReadMeta(core_.env, core_.stage_root, v.attachment.id); before.ok())
        for (const auto& e : before->attachments)
          meta.attachments.back().secrets |= e.id == v.attachment.id && e.secrets;
    }
    if (DVDI_GUARD(meta_first))
      if (Status s = WriteMeta(core_.env, core_.stage_root, meta); !s.ok()) {  // promise 2
        const VolumeState& v = volumes_[mounts.front()];
        const bool full = s.error_number() == ENOSPC || s.error_number() == EDQUOT;
        std::string hint = full ? "make room on the filesystem of the state folder" : s.hint();
        return std::move(s)
            .WithContext("no volume was mounted, as that cannot be recorded")
            .WithHint(std::move(hint))
            .WithVolume(v.driver, v.name);
      }
    meta_written_ = true;
  }
  Status s = Journal(mounts, creates);
  if (s.ok() || begun_ || !meta_written_) return s;
  // Nothing of the operation is in the ledger, so that nobody will undo it: its folders would stay, of each
  // try others, on a disk that may be nearly full already.
  for (const auto& v : volumes_)
    if (&volumes_[v.first] == &v && v.fresh) (void)RemoveMeta(core_.env, core_.stage_root, v.attachment.id);
  meta_written_ = false;
  return s;
}

Json PrepareOperation::AfterCall(const Call& call, size_t volume, const Answer& answer) {
  VolumeState& first = volumes_[volumes_[volume].first];
  bool ok = answer.kind == Answer::Kind::kOk;
  if (call.method == Method::kGet) {
    first.there |= ok;
    first.get_said_no = answer.kind == Answer::Kind::kError ||
                        (!DVDI_GUARD(unknown_is_not_no) && answer.kind == Answer::Kind::kUnknown);
  } else if (call.method == Method::kCreate) {
    first.created |= ok, first.there |= ok;
    first.create_sent |= answer.kind == Answer::Kind::kUnknown && answer.sent;
    created_any_ |= ok || answer.sent;
    if (ok) TellCreated(first);
    // Whatever it answered: before another Create the driver is asked again.
    first.get_said_no = first.list_without = false;
  } else if (call.method == Method::kList) {
    for (auto& v : volumes_) {
      if (v.driver != call.driver) continue;
      bool named = std::any_of(answer.volumes.begin(), answer.volumes.end(),
                               [&](const ListedVolume& l) { return l.name == v.name; });
      v.list_without = ok && !named;
      v.there |= ok && named;
    }
  }
  if (call.method == Method::kMount && ok) return AfterMount(volume, answer);

  if (answer.kind == Answer::Kind::kError) return {{"kind", "error"}, {"error", answer.error}};
  if (answer.kind == Answer::Kind::kUnknown) unanswered_ = answer.error;
  if (answer.kind == Answer::Kind::kUnknown)
    return {{"kind", "unknown"}, {"reason", answer.reason}, {"error", answer.error}, {"sent", answer.sent}};
  Json j = {{"kind", "ok"}};
  if (!answer.mountpoint.empty()) j["mountpoint"] = OneLine(answer.mountpoint, 4096);
  if (call.method == Method::kCapabilities) {
    j["scope"] = answer.scope;
    if (answer.mount_opts) j["mount_opts"] = true;
    for (auto& v : volumes_)
      if (v.driver == call.driver) v.mount_opts = answer.mount_opts;
  }
  if (call.method == Method::kActivate) j["implements"] = answer.implements;
  if (!answer.created_at.empty()) j["created_at"] = OneLine(answer.created_at, 64);
  if (call.method == Method::kList) {
    Json list = Json::array();
    for (const auto& l : answer.volumes)
      if (std::any_of(volumes_.begin(), volumes_.end(),
                      [&](const VolumeState& v) { return v.driver == call.driver && v.name == l.name; }))
        list.push_back({{"name", l.name}});
    j["volumes"] = std::move(list);
  }
  return j;
}

Json PrepareOperation::AfterMount(size_t volume, const Answer& answer) {
  VolumeState& v = volumes_[volumes_[volume].first];
  std::string real;
  Status s = CheckMountpoint(
      core_.env, answer.mountpoint, answer.peer_pid, request_.deadline_ms, &mounts_,  // promise 12
      [&](const std::string& place) { return MayBeAt(v, place); }, &real);
  // Through a symlink: our mountinfo has the mount where that leads.
  if (s.ok() && real != NormalPath(answer.mountpoint)) {
    named_.push_back(real);
    s = ReadMounts();
  }
  if (s.ok()) {
    s = NobodyUnknownHas(v, real);
    if (!s.ok()) v.unseen = real;
  }
  if (!s.ok()) return Refused(s.message() + (s.hint().empty() ? "" : ": " + s.hint()));
  v.attachment.mountpoint = real;
  v.attachment.device = DeviceAt(mounts_, real);
  v.attached = true;
  return {{"kind", "ok"}, {"mountpoint", OneLine(answer.mountpoint, 4096)}};
}

Result<Json> PrepareOperation::Query(const Json& request) {
  int64_t i = VolumeIndex(request, volumes_.size());
  if (GetString(request, "what") != "volume" || i < 0)
    return Status(Code::kPolicy, "query wants {\"what\": \"volume\", \"volume\": index}");
  const VolumeState& v = volumes_[static_cast<size_t>(i)];
  return Json{{"attachment", AttachmentForPolicy(v)}, {"history", HistoryForPolicy(v)}};
}

}  // namespace dvdi
