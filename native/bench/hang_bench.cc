// Drivers that do not answer, and one that does, in one engine: when the callers of the sick ones have their
// answer, what the other one's callers notice, and what it costs in threads and memory.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "bench/counting_env.h"
#include "bench/report.h"
#include "bench/world.h"

namespace dvdi {
namespace {

constexpr int kDeadlineMs = 3000, kCallers = 64;

// Accepts, and says nothing; or says a byte a second.
class SickDriver {
 public:
  SickDriver(const std::string& path, bool drips) : drips_(drips) {
    ::unlink(path.c_str());
    listening_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) Die("a path that is too long: " + path, 0);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    Check(::bind(listening_.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address), path);
    Check(::listen(listening_.get(), kCallers * 4), path);
    thread_ = std::thread([this] { Serve(); });
  }
  ~SickDriver() {
    ends_ = true;
    thread_.join();
  }

 private:
  void Serve() {
    std::vector<std::pair<UniqueFd, size_t>> connections;
    const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, ' ');
    for (int tenth = 0; !ends_; ++tenth) {
      struct pollfd polled = {.fd = listening_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&polled, 1, 100) > 0)
        connections.emplace_back(UniqueFd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC)), 0);
      if (!drips_ || tenth % 10 != 0) continue;
      for (auto& [fd, sent] : connections)
        if (fd.valid() && sent < answer.size())
          sent += ::send(fd.get(), answer.data() + sent, 1, MSG_NOSIGNAL) > 0 ? 1 : 0;
    }
  }

  const bool drips_;
  UniqueFd listening_;
  std::atomic<bool> ends_{false};
  std::thread thread_;
};

// A line of /proc/self/status: threads, or memory in KiB.
int64_t OfProcess(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.rfind(name + ":", 0) == 0) return std::stoll(line.substr(name.size() + 1));
  return -1;
}

struct Caller {
  int64_t began = 0;
  std::atomic<int64_t> answered{0};
  std::atomic<bool> timeout{false};
};

void Answered(void* user, dvdi_code code, const char*, size_t) {
  auto caller = static_cast<Caller*>(user);
  caller->timeout = code == DVDI_TIMEOUT || code == DVDI_UNAVAILABLE;
  caller->answered = NowNs();
}

// Both answers of a workload's beginning and end. Not until all is quiet, as sick drivers never are.
int64_t Timed(BenchEngine* engine) {
  const int64_t began = NowNs();
  if (!engine->TryOperation()) Die("an operation of the driver that is well failed", 0);
  return NowNs() - began;
}

void Hang(Report& report, const std::string& name, bool drips) {
  if (!report.Wants(name)) return;
  World world(ProgramFolder());
  const std::string bench = world.Socket();
  SickDriver sick(bench.substr(0, bench.rfind('/')) + "/sick.sock", drips);
  BenchEngine engine(world.Options(world.Folder(true, "hang")));
  const int rounds = report.Rounds(300);
  Samples alone, beside;
  for (int i = 0; i < rounds; ++i) alone.Add(Timed(&engine));
  const int64_t kib = OfProcess("VmRSS"), threads = OfProcess("Threads");

  std::vector<Caller> callers(kCallers);
  for (int i = 0; i < kCallers; ++i) {
    Json request = PrepareRequestOf("sick-" + std::to_string(i), {"v" + std::to_string(i)}, "sick");
    request["deadline_ms"] = kDeadlineMs;
    callers[i].began = NowNs();
    engine.StartApart(dvdi_prepare, request, Answered, &callers[i]);
  }
  int64_t most_kib = 0, most_threads = 0;
  auto all = [&] {
    for (const Caller& c : callers)
      if (c.answered == 0) return false;
    return true;
  };
  for (int i = 0; !all(); ++i) {
    beside.Add(Timed(&engine));
    if (i % 64 != 0) continue;
    most_kib = std::max(most_kib, OfProcess("VmRSS"));
    most_threads = std::max(most_threads, OfProcess("Threads"));
  }
  int64_t late = 0, failed = 0;
  for (const Caller& c : callers) {
    late = std::max<int64_t>(late, c.answered - c.began - kDeadlineMs * 1'000'000LL);
    failed += c.timeout ? 1 : 0;
  }
  report.Add(name, beside,
             {{"late_ms", static_cast<double>(late) / 1e6},
              {"ratio", beside.Median() / alone.Median()},
              {"alone_us", alone.Median()},
              {"operations_beside", static_cast<double>(beside.size())},
              {"timed_out", static_cast<double>(failed)},
              {"threads_more", static_cast<double>(most_threads - threads)},
              {"grown_kib", static_cast<double>(most_kib - kib)}},
             std::to_string(kCallers) + " callers of a driver that " +
                 (drips ? "answers a byte a second" : "never answers") +
                 ", and one of another in the same engine");
}

int Main(int argc, char** argv) {
  Report report(argc, argv);
  if (!OwnMounts()) {
    report.Skip("hang", "mounts need root");
    return report.Write() ? 0 : 1;
  }
  Hang(report, "hang/never", false);
  Hang(report, "hang/drip", true);
  return report.Write() ? 0 : 1;
}

}  // namespace
}  // namespace dvdi

int main(int argc, char** argv) { return dvdi::Main(argc, argv); }
