// dvdi-driver: a Docker volume plugin over a folder of image files.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <sstream>

#include "base/caller.h"
#include "base/output.h"
#include "base/text.h"
#include "driver/driver.h"
#include "driver/listen.h"
#include "driver/log.h"
#include "driver/protocol.h"
#include "driver/server.h"

namespace dvdi {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kDrainSeconds = 2;
// Together less than the service's TimeoutStopSec.
constexpr int kEndMs = 10'000, kSettleMs = 2000;
// Of the requests that are left, the line names so many.
constexpr size_t kNamed = 8;

int Fail(int code, const Status& s) {
  Log(LogLevel::kError, s.message() + (s.hint().empty() ? "" : "; " + s.hint()));
  return code;
}

// Tells it, and nothing else: what cannot be told has failed.
int Told(const std::string& text) {
  WriteOutput(text);
  const Status written = OutputWritten();
  return written.ok() ? 0 : Fail(kExitFailure, written);
}

// Waits for a signal to stop, and has late leases given back meanwhile.
int WaitForStop(const sigset_t& stop, Driver& driver) {
  for (;;) {
    struct timespec tick = {kDrainSeconds, 0};
    int signal = ::sigtimedwait(&stop, nullptr, &tick);
    if (signal > 0) return signal;
    if (errno == EAGAIN) driver.ReleaseDrained(0);
  }
}

// Of requests that have not ended, and what is given back late: one line. Whether there is any.
bool TellLeft(const std::vector<HttpRequest>& requests, bool settled) {
  if (!requests.empty()) {
    std::string names;
    for (size_t i = 0; i < requests.size() && i < kNamed; ++i)
      names += (names.empty() ? "" : ", ") + DescribeRequest(requests[i]);
    if (requests.size() > kNamed) names += ", …";
    Log(LogLevel::kWarning, "ends although " + std::to_string(requests.size()) +
                                (requests.size() == 1 ? " request has" : " requests have") + " not ended (" +
                                names + "): their pool may hang; the next driver sees to what they leave");
  } else if (!settled) {
    Log(LogLevel::kWarning,
        "a pool does not answer: what is to be given back there is left to the next driver");
  }
  return !requests.empty() || !settled;
}

// What the command line says; texts that are still to be read.
struct Arguments {
  DriverOptions options;
  ServerOptions server;
  std::string config, size = "1g", filesystem = "ext4", lease = "auto";
  double overcommit = 1;
  bool foreground = false;
  // fence
  std::string volume;
  bool node_is_dead = false;
};

void AddPools(CLI::App& app, Arguments* a) {
  app.add_option("--pool", a->options.pool, "Folder of the volumes, shared by the nodes");
  app.add_option("--config", a->config,
                 "File (YAML or JSON) that names several pools as tiers, instead of --pool");
  app.add_option("--node-id", a->options.node, "Name of this node, of no other node of the pool")->required();
  app.add_option(
      "--lease-seconds", a->lease,
      "How long a lease lasts without being renewed; 0: for ever. Default (auto): 60 where the pool lies on "
      "a filesystem that other machines share, else 0");
}

void AddServing(CLI::App& app, Arguments* a) {
  AddPools(app, a);
  app.add_option("--socket", a->server.socket, "Where to listen (default " + a->server.socket + ")");
  app.add_option("--mount-root", a->options.mount_root,
                 "Where volumes are mounted (default /run/dvdi-driver/NODE)");
  app.add_option("--default-size", a->size, "Size of a volume that names none (default 1g)");
  app.add_option("--default-fs", a->filesystem,
                 "Filesystem of a volume that names none: ext4, xfs or btrfs (default ext4)");
  app.add_option(
      "--overcommit", a->overcommit,
      "How much more than the pool's disk has free a new volume may be promised, as a factor (default 1)");
  app.add_option("--io-cgroup", a->options.io_cgroup,
                 "The cgroup that workloads run beneath: iops and bps of volumes are enforced there");
  app.add_flag("--accept-unenforced-io", a->options.accept_unenforced,
               "Without --io-cgroup, take iops and bps as a remark instead of refusing them");
  app.add_flag("--foreground", a->foreground, "Accepted; the driver never goes to the background");
}

// What a tier of --config says for itself must not be given beside it, and be left out of account.
Status CheckBesideConfig(const CLI::App& app) {
  if (app.count("--config") == 0) return OkStatus();
  for (const char* name : {"--pool", "--default-size", "--default-fs", "--overcommit"}) {
    const CLI::Option* option = app.get_option_no_throw(name);
    if (option != nullptr && option->count() > 0)
      return Status(Code::kInvalid, std::string(name) + " is not taken beside --config",
                    "leave one of them out; in the file each tier has a pool, default_size, filesystem and "
                    "overcommit of its own");
  }
  return OkStatus();
}

// Texts into values; one of --pool and --config into tiers.
Status Settle(Arguments* a) {
  DriverOptions& o = a->options;
  auto bytes = ParseSize(a->size);
  if (!bytes.ok()) return Status(bytes.status()).WithContext("--default-size");
  auto fs = ParseFilesystem(a->filesystem);
  if (!fs.ok()) return Status(fs.status()).WithContext("--default-fs");
  o.default_size = *bytes;
  o.default_filesystem = *fs;
  if (!(a->overcommit >= 1 && a->overcommit <= 100))
    return Status(Code::kInvalid, "--overcommit is no number from 1 to 100");
  if (a->lease != "auto") {
    bool digits = a->lease.size() <= 6 && IsDigits(a->lease);
    if (!digits || !LeaseTimeFits(std::stoll(a->lease) * 1000))
      return Status(Code::kInvalid, "--lease-seconds is '" + OneLine(a->lease, 40) + "'",
                    "give auto, 0, or 2 to 86400");
    o.lease_ms = std::stoll(a->lease) * 1000;
  }
  DVDI_RETURN_IF_ERROR(CheckName(o.node, "node id"));
  if (o.mount_root.empty()) o.mount_root = "/run/dvdi-driver/" + o.node;
  if (o.pool.empty() && a->config.empty())
    return Status(Code::kInvalid, "one of --pool and --config is needed",
                  "dvdi-driver --help lists the options");
  if (!a->config.empty()) {
    DVDI_ASSIGN_OR_RETURN(o.tiers, ReadTiers(a->config));
    return OkStatus();
  }
  TierConfig tier;
  tier.name = "default";
  tier.pool = o.pool;
  tier.filesystem = o.default_filesystem;
  tier.default_size = o.default_size;
  tier.overcommit = a->overcommit;
  o.tiers = {tier};
  return OkStatus();
}

int Serve(Arguments a) {
  auto inherited = SocketFromSystemd();
  if (!inherited.ok()) return Fail(kExitFailure, inherited.status());
  if (inherited->fd >= 0) {
    a.server.inherited = inherited->fd;
    a.server.socket = inherited->path;
  }
  // Every thread inherits the mask, so that only WaitForStop sees them.
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);

  auto driver = Driver::Open(a.options);
  if (!driver.ok()) return Fail(kExitFailure, driver.status());
  Driver* d = driver->get();
  auto server = Server::Start(a.server, [d](const HttpRequest& r) { return HandleRequest(*d, r); });
  if (!server.ok()) return Fail(kExitFailure, server.status());
  const std::string pools = d->Pools();
  Log(LogLevel::kInfo, "node " + a.options.node + " serves " +
                           (pools.empty() ? "no pool yet" : "pool " + pools) + " on " + a.server.socket);
  int signal = WaitForStop(stop, *d);
  Log(LogLevel::kInfo, std::string("stopping on ") + (signal == SIGINT ? "SIGINT" : "SIGTERM") +
                           "; mounted volumes stay mounted");
  const auto left = (*server)->Stop(kEndMs);
  const bool settled = d->Settled(kSettleMs);
  // Their threads refer to both, and nobody can end them: they go with the process. What is static stays,
  // too.
  if (TellLeft(left, settled)) ::_exit(0);
  return 0;
}

// Without a running driver: on the pool itself.
int FenceByHand(const Arguments& a) {
  Result<FenceResult> fenced =
      FenceWithoutDriver(a.options.tiers, a.options.lease_ms, a.options.node, a.volume, a.node_is_dead);
  if (!fenced.ok()) return Fail(kExitFailure, fenced.status());
  std::string line = fenced->from.empty()
                         ? "no node has volume " + a.volume
                         : "volume " + a.volume + " was taken from node " + OneLine(fenced->from, 128) +
                               " (lease " + std::to_string(fenced->generation) + ", waited " +
                               std::to_string(fenced->waited_ms) + " ms)";
  return Told(line + "\n");
}

int Run(int argc, char** argv) {
  Arguments a;
  a.server.socket = "/run/docker/plugins/dvdi.sock";
  bool fence = argc > 1 && std::string_view(argv[1]) == "fence";
  CLI::App app(
      fence ? "Takes a volume from a node that is gone or cut off. Waits until that node's lease has ended."
            : "Docker volume plugin over a folder of image files, one node at a time for each volume. "
              "`dvdi-driver fence --help` tells how to take a volume from a dead node.",
      fence ? "dvdi-driver fence" : "dvdi-driver");
  if (fence) {
    AddPools(app, &a);
    app.add_option("volume", a.volume, "The volume")->required();
    app.add_flag("--node-is-dead", a.node_is_dead,
                 "Wait for nothing: it is certain that the node is powered off (not merely unreachable)");
  } else {
    AddServing(app, &a);
  }
  app.set_version_flag("--version", "dvdi-driver " DVDI_VERSION);
  try {
    // The word `fence` itself is none of the arguments.
    fence ? app.parse(argc - 1, argv + 1) : app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) {
      std::ostringstream text;  // the help, or the version
      app.exit(e, text, text);
      return Told(text.str());
    }
    return Fail(kExitUsage, Status(Code::kInvalid, e.what(), "dvdi-driver --help lists the options"));
  }
  if (Status both = CheckBesideConfig(app); !both.ok()) return Fail(kExitUsage, both);
  if (Status settled = Settle(&a); !settled.ok()) return Fail(kExitUsage, settled);
  if (::geteuid() != 0)
    return Fail(kExitFailure,
                Status(Code::kUnsupported, "the driver attaches loop devices and mounts filesystems",
                       "run it as root"));
  return fence ? FenceByHand(a) : Serve(a);
}

}  // namespace
}  // namespace dvdi

int main(int argc, char** argv) {
  dvdi::HoldStandardStreams();
  dvdi::ShedInherited();
  try {
    return dvdi::Run(argc, argv);
  } catch (const std::exception& e) {
    ::fprintf(stderr, "dvdi-driver: error: %s\n", e.what());
    return 1;
  }
}
