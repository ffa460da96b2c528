// dvdi-driver: a Docker volume plugin over a folder of image files.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "driver/driver.h"
#include "driver/log.h"
#include "driver/protocol.h"
#include "driver/server.h"

namespace dvdi {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kDrainSeconds = 2;

int Fail(int code, const Status& s) {
  Log(LogLevel::kError, s.message() + (s.hint().empty() ? "" : "; " + s.hint()));
  return code;
}

// Waits for a signal to stop, and gives back late leases meanwhile.
int WaitForStop(const sigset_t& stop, Driver& driver) {
  for (;;) {
    struct timespec tick = {kDrainSeconds, 0};
    int signal = ::sigtimedwait(&stop, nullptr, &tick);
    if (signal > 0) return signal;
    if (errno == EAGAIN) driver.ReleaseDrained();
  }
}

int Run(int argc, char** argv) {
  DriverOptions options;
  ServerOptions server_options;
  server_options.socket = "/run/docker/plugins/dvdi.sock";
  std::string size = "1g", filesystem = "ext4";
  bool foreground = false;

  CLI::App app("Docker volume plugin over a folder of image files, one node at a time for each volume.",
               "dvdi-driver");
  app.add_option("--pool", options.pool, "Folder of the volumes, shared by the nodes")->required();
  app.add_option("--node-id", options.node, "Name of this node, of no other node of the pool")->required();
  app.add_option("--socket", server_options.socket,
                 "Where to listen (default " + server_options.socket + ")");
  app.add_option("--mount-root", options.mount_root,
                 "Where volumes are mounted (default /run/dvdi-driver/NODE)");
  app.add_option("--default-size", size, "Size of a volume that names none (default 1g)");
  app.add_option("--default-fs", filesystem,
                 "Filesystem of a volume that names none: ext4 or xfs (default ext4)");
  app.add_flag("--foreground", foreground, "Accepted; the driver never goes to the background");
  app.set_version_flag("--version", "dvdi-driver " DVDI_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    return Fail(kExitUsage, Status(Code::kInvalid, e.what(), "dvdi-driver --help lists the options"));
  }
  auto bytes = ParseSize(size);
  if (!bytes.ok()) return Fail(kExitUsage, bytes.status().WithContext("--default-size"));
  auto fs = ParseFilesystem(filesystem);
  if (!fs.ok()) return Fail(kExitUsage, fs.status().WithContext("--default-fs"));
  options.default_size = *bytes;
  options.default_filesystem = *fs;
  if (options.mount_root.empty()) options.mount_root = "/run/dvdi-driver/" + options.node;
  if (Status node = CheckName(options.node, "node id"); !node.ok()) return Fail(kExitUsage, node);
  if (::geteuid() != 0)
    return Fail(kExitFailure,
                Status(Code::kUnsupported, "the driver attaches loop devices and mounts filesystems",
                       "run it as root"));

  // Every thread inherits the mask, so that only WaitForStop sees them.
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &stop, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  auto driver = Driver::Open(options);
  if (!driver.ok()) return Fail(kExitFailure, driver.status());
  Driver* d = driver->get();
  auto server = Server::Start(server_options, [d](const HttpRequest& r) { return HandleRequest(*d, r); });
  if (!server.ok()) return Fail(kExitFailure, server.status());
  Log(LogLevel::kInfo, "node " + options.node + " serves pool " + d->pool() + " on " + server_options.socket);
  int signal = WaitForStop(stop, *d);
  Log(LogLevel::kInfo, std::string("stopping on ") + (signal == SIGINT ? "SIGINT" : "SIGTERM") +
                           "; mounted volumes stay mounted");
  (*server)->Stop();
  return 0;
}

}  // namespace
}  // namespace dvdi

int main(int argc, char** argv) {
  try {
    return dvdi::Run(argc, argv);
  } catch (const std::exception& e) {
    ::fprintf(stderr, "dvdi-driver: error: %s\n", e.what());
    return 1;
  }
}
