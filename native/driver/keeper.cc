#include "driver/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/caught.h"
#include "base/json.h"
#include "base/text.h"
#include "driver/files.h"
#include "driver/lease.h"
#include "driver/log.h"
#include "driver/options.h"
#include "sys/sys.h"

namespace dvdi {
namespace {

constexpr char kSessions[] = ".sessions";
constexpr int64_t kLeastMargin = 500;

struct Guarded {
  std::string session;
  uint64_t generation = 0;
};

Result<UniqueFd> OpenSessions(int pool) { return OpenFolder(pool, kSessions); }

}  // namespace

bool IsSessionName(const std::string& name) { return IsTempName("tmp." + name, "") && name[0] != '.'; }

int64_t BootMs() {
  struct timespec ts;
  ::clock_gettime(CLOCK_BOOTTIME, &ts);
  return ts.tv_sec * 1000LL + ts.tv_nsec / 1'000'000;
}

int64_t LeaseKeeper::Margin(int64_t lease_ms) { return std::max(lease_ms / 4, kLeastMargin); }

// What the threads need. They may outlive the keeper: a thread that hangs in a dead filesystem cannot be
// ended.
struct LeaseKeeper::Shared {
  KeeperOptions options;
  UniqueFd folder;        // the pool's, where leases are renewed
  mutable std::mutex mu;  // guards the rest
  std::condition_variable changed;
  bool stopping = false, watching = false;
  std::string session;  // "" after one has ended, until a new one is written
  int64_t valid_until = 0;
  uint64_t counter = 0;
  std::map<std::string, Guarded> guarded;
  // Guarded volumes that another node has taken, with the generation of the guard.
  std::map<std::string, uint64_t> taken;

  // Writes the session's file, a new one where it is `fresh`. Touches the pool; without the lock.
  Status Write(const std::string& name, uint64_t count, bool fresh) {
    if (::mkdirat(folder.get(), kSessions, 0700) < 0 && errno != EEXIST)
      return Status::FromErrno(errno, "cannot make " + options.pool + "/" + kSessions);
    DVDI_ASSIGN_OR_RETURN(UniqueFd sessions, OpenSessions(folder.get()));
    const std::string text =
        Dump(
            Json{{"format", 1}, {"node", options.node}, {"counter", count}, {"lease_ms", options.lease_ms}}) +
        "\n";
    Status replaced = ReplaceFile(sessions.get(), name, text, TempName(options.node));
    // A disk without room for a new file must not end the leases of all volumes on it. Who reads half of it
    // sees that it has changed, and that is true.
    return !fresh && NoRoom(replaced) ? OverwriteFile(sessions.get(), name, text) : replaced;
  }

  // One renewal.
  Status RenewOnce() {
    std::string name;
    uint64_t count = 0;
    bool fresh = false;
    {
      std::lock_guard<std::mutex> hold(mu);
      fresh = session.empty();
      name = fresh ? options.node + "." + RandomHex() : session;
      count = fresh ? 1 : counter + 1;
    }
    int64_t begun = options.now();
    DVDI_RETURN_IF_ERROR(Write(name, count, fresh));
    std::lock_guard<std::mutex> hold(mu);
    if (fresh) {
      session = name;
      valid_until = begun + options.lease_ms;
    }
    counter = count;
    // Too late is no renewal: somebody may have seen the lease end. The watcher ends the session.
    bool in_time = session == name && options.now() < valid_until - Margin(options.lease_ms);
    if (in_time) valid_until = begun + options.lease_ms;
    changed.notify_all();
    return Status();
  }

  // Looks whether guarded volumes were taken by another node, as an operator's --node-is-dead does.
  void LookForTaken() {
    std::map<std::string, Guarded> all;
    {
      std::lock_guard<std::mutex> hold(mu);
      all = guarded;
    }
    for (const auto& [volume, guard] : all) {
      auto there = OpenFolder(folder.get(), volume);
      if (!there.ok()) continue;
      LeaseFile leases(there->get(), volume, options.pool + "/" + volume, options.node);
      auto now = leases.ReadGeneration();
      if (!now.ok() || now->number <= guard.generation) continue;
      // What this driver has just taken itself, by the next number, is guarded a moment later.
      auto newest = leases.Read();
      std::lock_guard<std::mutex> hold(mu);
      if (newest.ok() && newest->has_value() && (*newest)->holder.node == options.node &&
          (*newest)->holder.session == session)
        continue;
      auto it = guarded.find(volume);
      if (it != guarded.end() && it->second.generation == guard.generation) taken[volume] = guard.generation;
      changed.notify_all();
    }
  }

  // Ends what has to end now: the volumes and the reason, nothing while all is well. Under the lock. Nothing
  // has ended where it throws.
  std::vector<std::string> Lost(std::string* why) {
    std::vector<std::string> out;
    if (!session.empty() && options.now() >= valid_until - Margin(options.lease_ms)) {
      for (const auto& entry : guarded) out.push_back(entry.first);
      *why = "its lease could not be renewed in the pool " + options.pool + " for " +
             std::to_string((options.now() - (valid_until - options.lease_ms)) / 1000) + " s";
      session.clear();
      taken.clear();
    } else if (!taken.empty()) {
      *why = "another node has taken its lease";
      for (const auto& [volume, generation] : taken) {
        // It may have been taken back since.
        auto it = guarded.find(volume);
        if (it != guarded.end() && it->second.generation == generation) out.push_back(volume);
      }
      taken.clear();
    }
    for (const auto& volume : out) guarded.erase(volume);
    return out;
  }
};

Result<std::unique_ptr<LeaseKeeper>> LeaseKeeper::Start(KeeperOptions options) {
  auto shared = std::make_shared<Shared>();
  shared->options = options;
  if (options.lease_ms > 0) {
    shared->folder.reset(::fcntl(options.folder, F_DUPFD_CLOEXEC, 0));
    if (!shared->folder.valid())
      return Status::FromErrno(errno, "cannot keep the pool " + options.pool + " open");
    if (Status s = shared->RenewOnce(); !s.ok())
      return Status(Code::kUnavailable,
                    "no lease can be renewed in the pool " + options.pool + ": " + s.message());
    DVDI_RETURN_IF_ERROR(Scheduler::Real()->Spawn([shared] { Renew(shared); }, "renew"));
    {
      std::lock_guard<std::mutex> hold(shared->mu);
      shared->watching = true;
    }
    Status watch = Scheduler::Real()->Spawn([shared] { Watch(shared); }, "lease-watch");
    if (!watch.ok()) {
      std::lock_guard<std::mutex> hold(shared->mu);
      shared->stopping = true;
      shared->changed.notify_all();
      return watch;
    }
  }
  return std::unique_ptr<LeaseKeeper>(new LeaseKeeper(std::move(options), std::move(shared)));
}

LeaseKeeper::~LeaseKeeper() {
  std::unique_lock<std::mutex> lock(shared_->mu);
  shared_->stopping = true;
  shared_->changed.notify_all();
  // `lost` and `taken` refer to what owns this. The watcher never hangs; the renewer may, and calls nothing
  // once it sees that this has ended.
  shared_->changed.wait(lock, [this] { return !shared_->watching; });
}

void LeaseKeeper::Renew(std::shared_ptr<Shared> s) {
  const int64_t lease = s->options.lease_ms;
  bool failing = false;
  for (;;) {
    {
      // Start has written the first one just now.
      std::unique_lock<std::mutex> lock(s->mu);
      s->changed.wait_for(lock, std::chrono::milliseconds(failing ? lease / 20 : lease / 5),
                          [&] { return s->stopping || s->session.empty(); });
      if (s->stopping) return;
    }
    // Without this thread all would be lost: what a library throws is a renewal that failed.
    const Status renewed = Caught([&] { return s->RenewOnce(); });
    const bool fine = renewed.ok();
    (void)Caught([&] {
      if (fine == failing)
        Log(fine ? LogLevel::kInfo : LogLevel::kWarning,
            "pool " + s->options.pool + ": " +
                (fine ? std::string("leases are renewed again")
                      : "cannot renew leases: " + renewed.message()));
      if (fine) s->LookForTaken();
    });
    failing = !fine;
    if (fine) continue;
    std::unique_lock<std::mutex> lock(s->mu);
    s->changed.wait_for(lock, std::chrono::milliseconds(lease / 20), [&] { return s->stopping; });
  }
}

void LeaseKeeper::Watch(std::shared_ptr<Shared> s) {
  // Often enough to notice soon after the machine has slept, when the clock has jumped.
  const auto tick = std::chrono::milliseconds(std::clamp<int64_t>(s->options.lease_ms / 40, 20, 1000));
  std::string why;
  std::vector<std::string> lost;  // kept until their end has been told: nobody else would fence them
  std::unique_lock<std::mutex> lock(s->mu);
  while (!s->stopping) {
    if (lost.empty()) (void)Caught([&] { lost = s->Lost(&why); });
    // A session that has ended gets a successor at once.
    if (s->session.empty()) s->changed.notify_all();
    if (!lost.empty()) {
      lock.unlock();
      Status told = Caught([&] {
        if (s->options.lost != nullptr) s->options.lost(lost, why);
      });
      lock.lock();
      if (told.ok()) {
        lost.clear();
        continue;
      }
    }
    s->changed.wait_for(lock, tick);
  }
  s->watching = false;
  s->changed.notify_all();
}

Result<std::string> LeaseKeeper::Session() const {
  if (options_.lease_ms == 0) return std::string();
  std::lock_guard<std::mutex> hold(shared_->mu);
  if (!shared_->session.empty() && options_.now() < shared_->valid_until - Margin(options_.lease_ms))
    return shared_->session;
  return Status(Code::kUnavailable, "leases cannot be renewed in the pool " + options_.pool,
                "see whether the pool can be reached and written to; the driver goes on trying");
}

void LeaseKeeper::Guard(const std::string& volume, const std::string& session, uint64_t generation) {
  if (options_.lease_ms == 0) return;
  std::lock_guard<std::mutex> hold(shared_->mu);
  // Of a session that has ended meanwhile: Holds says no.
  if (session == shared_->session) shared_->guarded[volume] = {session, generation};
}

void LeaseKeeper::Unguard(const std::string& volume) {
  std::lock_guard<std::mutex> hold(shared_->mu);
  shared_->guarded.erase(volume);
}

bool LeaseKeeper::Holds(const std::string& volume) const {
  if (options_.lease_ms == 0) return true;
  std::lock_guard<std::mutex> hold(shared_->mu);
  auto it = shared_->guarded.find(volume);
  return it != shared_->guarded.end() && it->second.session == shared_->session &&
         options_.now() < shared_->valid_until - Margin(options_.lease_ms);
}

Result<std::string> ReadSession(int pool, const std::string& session, const std::string& node) {
  auto folder = OpenSessions(pool);
  if (!folder.ok() && folder.status().code() == Code::kNotFound) return std::string();
  if (!folder.ok()) return folder.status();
  std::string fresh = TempName(node);
  if (::linkat(folder->get(), session.c_str(), folder->get(), fresh.c_str(), 0) < 0) {
    if (errno == ENOENT) return std::string();
    return Status::FromErrno(errno, "cannot look at the session " + session + " in the pool");
  }
  auto text = ReadSmallFile(folder->get(), fresh);
  DVDI_RETURN_IF_ERROR(RemoveFile(folder->get(), fresh));
  return text;
}

void SweepSessions(int pool, const std::string& node, const std::vector<std::string>& in_use) {
  auto folder = OpenSessions(pool);
  if (!folder.ok()) return;
  std::vector<std::string> names;
  if (Sys::Real()->ListDir(folder->get(), ".", &names) < 0) return;
  for (const auto& name : names) {
    bool session = IsTempName("tmp." + name, node);
    if (session && std::find(in_use.begin(), in_use.end(), name) != in_use.end()) continue;
    // What cannot be removed is swept by the next start.
    if (session || IsTempName(name, node)) (void)RemoveFile(folder->get(), name);
  }
}

}  // namespace dvdi
