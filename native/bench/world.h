// What the benchmarks of the engine run in: a folder and a mount namespace of their own, a plugin, child
// processes, and an engine behind dvdi.h. Whatever fails ends the program with a message.
#ifndef DVDI_BENCH_WORLD_H_
#define DVDI_BENCH_WORLD_H_

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "base/status.h"
#include "dvdi/dvdi.h"

namespace dvdi {

// Removes what the world made. `err`: 0 where errno says nothing.
[[noreturn]] void Die(const std::string& what, int err);
[[noreturn]] void Die(const std::string& what);  // errno says why
void Check(long result, const std::string& what);
void Check(const Status& s);

int64_t NowNs();
// CPU time of all threads of this process, in user and in kernel mode.
int64_t CpuNs();
// Makes the mount namespace; false where that needs rights which we lack.
bool OwnMounts();
// The folder that this program is in.
std::string ProgramFolder();

// A child process with pipes to its standard input and output; ended by closing its input, or by a signal.
class Child {
 public:
  Child(const std::string& program, std::vector<std::string> arguments);
  ~Child() { Wait(true); }
  void Tell(std::string_view text);
  // The next line that it prints; "" at its end.
  std::string Line();
  // Its exit status.
  int Wait(bool end = false);

 private:
  pid_t pid_ = -1;
  UniqueFd to_, from_;
};

// The folder that everything is in, and the plugin. Ends with all that was mounted there. One at a time.
class World {
 public:
  // `delay_ms`, `in_flight`: the plugin takes so long for a call, and so many at once; 0: answers at once.
  explicit World(const std::string& programs, int delay_ms = 0, int in_flight = 0);
  // The plugin is the driver that ships, over a pool on the disk that the programs are on.
  struct WithDriver {};
  World(const std::string& programs, WithDriver);
  ~World();
  void Clear();

  const std::string& programs() const { return programs_; }
  std::string Socket() const { return folder_ + "/plugins/bench.sock"; }
  // A folder for state: on the disk that the programs are on, or in memory.
  std::string Folder(bool memory, const std::string& name) const;
  std::string Options(const std::string& state, bool keeper = true) const;
  // The same as a settings file, for a program of its own.
  std::string SettingsText(const std::string& state) const;
  // The node reboots: other boot id, no mounts of the engine with that state, none of the plugin's.
  void Reboot(const std::string& state);
  // Requests that the plugin had since the last call; -1 where it does not tell.
  int64_t Requests();

 private:
  // The number in the plugin's answer to a question of the benchmark's own.
  int64_t Ask(const std::string& what);
  void MakeFolder();
  void StartPlugin(const std::string& program, std::vector<std::string> arguments);

  std::string programs_, folder_;
  std::unique_ptr<Child> plugin_;
  UniqueFd control_;
};

struct Times {
  int64_t prepare = 0, cleanup = 0, released = 0;  // until the answers; until nothing is going on any more
};

// An engine behind dvdi.h.
class BenchEngine {
 public:
  explicit BenchEngine(const std::string& options);
  ~BenchEngine() { dvdi_close(engine_, 1000); }

  // One volume, prepared and cleaned up, from one scope to the next.
  Times Operation();
  // The same, not waiting for its release; false where it failed, which does not end the program.
  bool TryOperation();
  // A question that must be answered.
  using Question = dvdi_code(dvdi_engine*, const char*, char**);
  Json Ask(Question* question, const Json& request);
  // One that must be refused.
  void MustRefuse(Question* question, const Json& request);
  // Starts a request; WaitForAll returns when each that was started was answered.
  using Verb = dvdi_code(dvdi_engine*, const char*, dvdi_done, void*);
  void Start(Verb* verb, const Json& request);
  void WaitForAll();
  // Starts a request that WaitForAll does not wait for, and that may fail: `done` has its answer.
  void StartApart(Verb* verb, const Json& request, dvdi_done done, void* user);

 private:
  static void Done(void* user, dvdi_code code, const char* json, size_t length);

  dvdi_engine* engine_ = nullptr;
  int count_ = 0;
  std::mutex mu_;
  std::condition_variable cv_;
  int open_ = 0;
  dvdi_code code_ = DVDI_OK;
  std::string answer_;
};

// A request to prepare volumes of the plugin, each at a path of its own.
Json PrepareRequestOf(const std::string& scope, const std::vector<std::string>& volumes,
                      const std::string& driver = "bench");

}  // namespace dvdi

#endif  // DVDI_BENCH_WORLD_H_
