// The isolator that an agent loads: between Mesos's futures and the engine's callbacks. The engine works on
// threads of its own, so nothing here waits; its answers are dispatched to the one actor, which alone has
// state.
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <mesos/module/isolator.hpp>
#include <mesos/slave/isolator.hpp>
#include <mesos/version.hpp>
#include <process/defer.hpp>
#include <process/delay.hpp>
#include <process/dispatch.hpp>
#include <process/http.hpp>
#include <process/metrics/metrics.hpp>
#include <process/metrics/pull_gauge.hpp>
#include <process/process.hpp>
#include <set>
#include <stout/os/read.hpp>
#include <stout/protobuf.hpp>

#include "dvdi/dvdi.h"
#include "mesos/adapter.h"
#include "mesos/scopes.h"

// What differs between the releases, of what is used here:
//   1.8, 1.9     Isolator::update(id, resources)            not overridden: volumes do not change
//   1.10, 1.11   Isolator::update(id, requests, limits)     the same
#if MESOS_MAJOR_VERSION_NUM != 1 || MESOS_MINOR_VERSION_NUM < 8 || MESOS_MINOR_VERSION_NUM > 11
#error "the module is for Mesos 1.8 to 1.11"
#endif

namespace dvdi_mesos {
namespace {

using mesos::ContainerID;
using mesos::ResourceStatistics;
using mesos::slave::ContainerConfig;
using mesos::slave::ContainerLaunchInfo;
using mesos::slave::ContainerLimitation;
using mesos::slave::ContainerState;
using process::Clock;
using process::Future;
using process::Promise;
using std::string;
namespace http = process::http;
string ScopeOf(const ContainerID& id) {
  return (id.has_parent() ? ScopeOf(id.parent()) + "." : "") + id.value();
}

Container Describe(const ContainerID& id, const ContainerConfig& config, const Options& options) {
  Container c;
  c.scope = ScopeOf(id), c.sandbox = config.directory(), c.rootfs = config.rootfs(), c.user = config.user();
  for (const auto& v : config.container_info().volumes())
    if (options.docker_volumes && v.source().type() == mesos::Volume::Source::DOCKER_VOLUME)
      c.volumes.push_back(stringify(JSON::protobuf(v)));
  c.nested = id.has_parent();
  for (const auto& l : config.task_info().labels().labels()) c.labels.emplace_back(l.key(), l.value());
  for (const auto& l : config.executor_info().labels().labels())
    c.executor_labels.emplace_back(l.key(), l.value());
  for (const auto* e : {&config.task_info().command().environment(), &config.command_info().environment()})
    for (const auto& v : e->variables())
      c.environment.push_back({v.name(), v.value(), v.type() == mesos::Environment::Variable::SECRET});
  return c;
}

struct Answer {
  dvdi_code code;
  string text;
};

class Volumes : public process::Process<Volumes> {
 public:
  Volumes(const Options& options, dvdi_engine* engine)
      : ProcessBase("dvdi"), options_(options), engine_(engine) {}

  Future<Nothing> Recover(const std::vector<ContainerState>& states, const hashset<ContainerID>& orphans) {
    std::vector<string> live;
    for (const auto& s : states) live.push_back(ScopeOf(s.container_id()));
    // Their processes may run still; the agent destroys each, and calls cleanup then.
    for (const auto& o : orphans) live.push_back(ScopeOf(o));
    return Ask(dvdi_recover, RecoverRequest(options_, live))
        .then(defer(self(),
                    [=](const Answer& a) {
                      // What cannot be recovered now keeps no agent from its containers.
                      if (a.code != DVDI_OK) LOG(ERROR) << ErrorLine(a.text);
                      for (const auto& line : ReadEnded(a.text)) LOG(WARNING) << "DVDI: " << line;
                      return Ask(dvdi_ask, R"({"what":"scopes"})");
                    }))
        .then(defer(self(), [=](const Answer& a) {
          if (a.code != DVDI_OK) {
            LOG(ERROR) << ErrorLine(a.text) << ". Each container is taken for one that may have volumes";
            scopes_.SetUnread();
          }
          const std::set<string> alive(live.begin(), live.end());
          for (const auto& scope : ReadScopes(a.text, options_)) {
            scopes_.Begin(scope);
            LOG(INFO) << "DVDI: container " << scope << " has its volumes still";
            if (alive.count(scope) == 0) End(scope);
          }
          return Nothing();
        }));
  }

  Future<Option<ContainerLaunchInfo>> Prepare(const ContainerID& id, const ContainerConfig& config) {
    // A debug container lives in its parent's mounts.
    if (config.container_class() == mesos::slave::DEBUG) return None();
    const Container container = Describe(id, config, options_);
    string error;
    const string request = PrepareRequest(container, options_, &error);
    if (!error.empty()) return process::Failure(error);
    if (request.empty()) return None();
    // Before the answer: where the caller of the launch has hung up (v1 API), the agent discards it, what
    // follows below is left out, and only its cleanup can give back what the engine has prepared meanwhile.
    scopes_.Begin(container.scope);
    return Ask(dvdi_prepare, request)
        .then(defer(self(), [=](const Answer& a) -> Future<Option<ContainerLaunchInfo>> {
          const Prepared prepared = ReadPrepared(a.text, container, options_);
          for (const auto& line : prepared.lines)
            LOG(INFO) << "DVDI: container " << container.scope << ": " << line;
          if (!prepared.error.empty()) {
            LOG(ERROR) << "Container " << container.scope << ": " << prepared.error;
            return process::Failure(prepared.error);
          }
          if (prepared.mounts.empty()) return None();
          ContainerLaunchInfo info;
          info.add_clone_namespaces(CLONE_NEWNS);
          for (const auto& mount : prepared.mounts) {
            auto* m = info.add_mounts();
            m->set_source(mount.source), m->set_target(mount.target);
            // Read-only, nosuid, nodev come with the source; asked for again, the launcher loses some.
            m->set_flags(MS_BIND | MS_REC);
          }
          return info;
        }));
  }

  Future<ContainerLimitation> Watch(const ContainerID& id) {
    auto& promise = limits_[ScopeOf(id)];
    if (!promise) promise = std::make_shared<Promise<ContainerLimitation>>();
    return promise->future();
  }

  // As of the last sample: a filesystem that hangs holds up nobody.
  Future<ResourceStatistics> Usage(const ContainerID& id) {
    const string scope = ScopeOf(id);
    ResourceStatistics statistics;
    if (!scopes_.MayHave(scope)) return statistics;
    SampleUsage();
    for (const auto& v : volumes_) {
      for (const auto& [user, target] : v.users) {
        if (user != scope || v.state != "ok") continue;
        auto* disk = statistics.add_disk_statistics();
        auto* source = disk->mutable_source();
        source->set_type(mesos::Resource::DiskInfo::Source::MOUNT);
        source->mutable_mount()->set_root(target);
        source->set_vendor(v.driver), source->set_id(v.name);
        disk->set_limit_bytes(v.total_bytes), disk->set_used_bytes(v.used_bytes);
      }
    }
    return statistics;
  }

  // Answers when our mounts are gone, and in any case soon: no volume holds up a container's end.
  Future<Nothing> Cleanup(const ContainerID& id) {
    const string scope = ScopeOf(id);
    limits_.erase(scope);
    if (!scopes_.MayHave(scope)) return Nothing();
    return End(scope).after(Seconds(5), [scope](const Future<Nothing>&) -> Future<Nothing> {
      LOG(WARNING) << "DVDI: container " << scope << ": giving its volumes back takes long; it goes on";
      return Nothing();
    });
  }

 protected:
  void initialize() override {
    // What is attached, for operators: ContainerStatus has no place for volumes.
    route("/volumes", "mesos-agent-readonly", None(),
          [this](const http::Request&,
                 const Option<http::authentication::Principal>&) -> Future<http::Response> {
            // Where one of those who ask hangs up, the others' answer is not discarded with it.
            return process::undiscardable(Shown()).then([](const Answer& a) -> http::Response {
              return http::OK(a.text + "\n", "application/json");
            });
          });
    Tick();
  }

 private:
  using Verb = dvdi_code (*)(dvdi_engine*, const char*, dvdi_done, void*);

  Future<Answer> Ask(Verb verb, const string& request) {
    auto* promise = new Promise<Answer>();
    const Future<Answer> future = promise->future();
    auto done = [](void* user, dvdi_code code, const char* json, size_t length) {
      std::unique_ptr<Promise<Answer>> answered(static_cast<Promise<Answer>*>(user));
      answered->set(Answer{code, string(json, length)});
    };
    const dvdi_code code = verb(engine_, request.c_str(), done, promise);
    if (code == DVDI_OK) return future;
    delete promise;
    return Answer{code, ""};
  }

  Future<Nothing> End(const string& scope) {
    const uint64_t launch = scopes_.Launch(scope);
    return Ask(dvdi_cleanup, CleanupRequest(options_, scope)).then(defer(self(), [=](const Answer& a) {
      for (const auto& line : ReadEnded(a.text)) LOG(INFO) << "DVDI: container " << scope << ": " << line;
      if (a.code == DVDI_OK) {
        scopes_.End(scope, launch);
      } else {
        LOG(ERROR) << "Container " << scope << ": " << ErrorLine(a.text) << ". It is tried again";
        process::delay(Seconds(10), self(), &Volumes::Retry, scope, launch);
      }
      return Nothing();
    }));
  }
  void Retry(const string& scope, uint64_t launch) {
    if (scopes_.Still(scope, launch)) End(scope);
  }
  // One question for all who ask meanwhile, and for a second: each takes a thread of the agent's, and a look
  // at every volume.
  Future<Answer> Shown() {
    if (shown_.isPending() || Clock::now() - shown_at_ < Seconds(1)) return shown_;
    shown_at_ = Clock::now();
    shown_ = Ask(dvdi_ask, UsageRequest(options_));
    return shown_;
  }
  void Tick() {
    SampleUsage();
    SampleMetrics();
    process::delay(Seconds(15), self(), &Volumes::Tick);
  }

  void SampleUsage() {
    if (sampling_ || (!scopes_.Any() && volumes_.empty()) || Clock::now() - usage_at_ < Seconds(5)) return;
    sampling_ = true, usage_at_ = Clock::now();
    Ask(dvdi_ask, UsageRequest(options_)).then(defer(self(), [=](const Answer& a) {
      sampling_ = false;
      volumes_ = ReadUsage(a.text);
      volume_values_ = ReadGauges(a.text);
      std::set<string> lost;
      for (const auto& v : volumes_)
        if (v.state == "lost") Lost(v, &lost);
      lost_.swap(lost);
      return Nothing();
    }));
  }

  void Lost(const VolumeSample& v, std::set<string>* lost) {
    for (const auto& [scope, target] : v.users) {
      const string what =
          "volume \"" + v.name + "\" (driver " + v.driver + ") is lost at " + target + ": " + v.why;
      lost->insert(scope + what);
      if (lost_.count(scope + what) == 0) LOG(ERROR) << "DVDI: container " << scope << ": " << what;
      auto watched = limits_.find(scope);
      if (!options_.kill_on_loss || watched == limits_.end()) continue;
      ContainerLimitation limit;
      limit.set_message("DVDI: " + what);
      limit.set_reason(mesos::TaskStatus::REASON_CONTAINER_LIMITATION_DISK);
      watched->second->set(limit);
    }
  }

  Future<Nothing> SampleMetrics() {
    if (metrics_.isPending() || Clock::now() - metrics_at_ < Seconds(1)) return metrics_;
    metrics_at_ = Clock::now();
    metrics_ = Ask(dvdi_ask, R"({"what":"metrics"})").then(defer(self(), [=](const Answer& a) {
      values_ = ReadGauges(a.text);
      values_.insert(volume_values_.begin(), volume_values_.end());
      for (const auto& [key, value] : values_) {
        if (gauges_.count(key) != 0) continue;
        const string name = key;
        gauges_.emplace(key, process::metrics::PullGauge(key, defer(self(), [=] { return Value(name); })));
        process::metrics::add(gauges_.at(key));
      }
      for (auto it = gauges_.begin(); it != gauges_.end();) {
        const bool gone = values_.count(it->first) == 0;
        if (gone) process::metrics::remove(it->second);
        it = gone ? gauges_.erase(it) : std::next(it);
      }
      return Nothing();
    }));
    return metrics_;
  }
  Future<double> Value(const string& key) {
    return SampleMetrics().then(defer(self(), [=](const Nothing&) { return values_[key]; }));
  }

  const Options options_;
  dvdi_engine* const engine_;
  Scopes scopes_;
  std::map<string, std::shared_ptr<Promise<ContainerLimitation>>> limits_;
  std::vector<VolumeSample> volumes_;  // of the last sample
  std::set<string> lost_;              // what was said of it
  bool sampling_ = false;
  process::Time usage_at_, metrics_at_, shown_at_;
  Future<Answer> shown_ = Answer{DVDI_OK, ""};  // of the last question from outside
  Future<Nothing> metrics_ = Nothing();
  std::map<string, double> values_, volume_values_;  // of the engine, of volumes
  std::map<string, process::metrics::PullGauge> gauges_;
};

class VolumeIsolator : public mesos::slave::Isolator {
 public:
  VolumeIsolator(const Options& options, dvdi_engine* engine)
      : engine_(engine), volumes_(new Volumes(options, engine)) {
    process::spawn(volumes_.get());
  }
  ~VolumeIsolator() override {
    process::terminate(volumes_.get());
    process::wait(volumes_.get());
    dvdi_close(engine_, 0);
  }
  bool supportsNesting() override { return true; }
  bool supportsStandalone() override { return true; }
  Future<Nothing> recover(const std::vector<ContainerState>& states,
                          const hashset<ContainerID>& orphans) override {
    return process::dispatch(volumes_.get(), &Volumes::Recover, states, orphans);
  }
  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& id, const ContainerConfig& config) override {
    return process::dispatch(volumes_.get(), &Volumes::Prepare, id, config);
  }
  Future<ContainerLimitation> watch(const ContainerID& id) override {
    return process::dispatch(volumes_.get(), &Volumes::Watch, id);
  }
  Future<ResourceStatistics> usage(const ContainerID& id) override {
    return process::dispatch(volumes_.get(), &Volumes::Usage, id);
  }
  Future<Nothing> cleanup(const ContainerID& id) override {
    return process::dispatch(volumes_.get(), &Volumes::Cleanup, id);
  }

 private:
  dvdi_engine* const engine_;
  const std::unique_ptr<Volumes> volumes_;
};

mesos::slave::Isolator* Refused(const string& why) {
  LOG(ERROR) << why;
  return nullptr;
}

mesos::slave::Isolator* Create(const mesos::Parameters& parameters) {
  static std::atomic<bool> created{false};
  try {
    if (created.exchange(true))
      return Refused("DVDI: --isolation names the module twice, which has two names: name it once");
    if (::geteuid() != 0) return Refused("DVDI: mounting volumes needs an agent that runs as root");
    Pairs given;
    for (const auto& p : parameters.parameter()) given.emplace_back(p.key(), p.value());
    const Try<string> cmdline = os::read("/proc/self/cmdline");
    Options options;
    const string wrong = ReadOptions(given, cmdline.isSome() ? cmdline.get() : "", ::getenv, &options);
    if (!wrong.empty()) return Refused("DVDI: " + wrong);
    dvdi_engine* engine = nullptr;
    char* error = nullptr;
    if (dvdi_open(options.engine.c_str(), &engine, &error) != DVDI_OK) {
      const std::unique_ptr<char, decltype(&dvdi_free)> text(error, dvdi_free);
      return Refused(ErrorLine(error == nullptr ? "" : error));
    }
    LOG(INFO) << "DVDI " << dvdi_version() << ": volumes of " << options.owner
              << "; DOCKER_VOLUME sources are "
              << (options.docker_volumes ? "ours" : "left to docker/volume");
    return new VolumeIsolator(options, engine);
  } catch (const std::exception& e) {
    return Refused(string("DVDI: the module cannot start: ") + e.what());
  }
}

}  // namespace
}  // namespace dvdi_mesos

#define DVDI_MODULE(name)                                                                     \
  __attribute__((visibility("default"))) mesos::modules::Module<mesos::slave::Isolator> name( \
      MESOS_MODULE_API_VERSION, MESOS_VERSION, "DVDI isolator", "maintainers@dvdi.invalid",   \
      "Volumes through Docker volume plugins", nullptr, dvdi_mesos::Create)
DVDI_MODULE(org_dvdi_DockerVolumeIsolator);
// The original module's name, for those who upgrade.
DVDI_MODULE(com_emccode_mesos_DockerVolumeDriverIsolator);
