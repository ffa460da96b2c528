#include "driver/fence.h"

#include <time.h>

#include <algorithm>

#include "base/text.h"
#include "driver/attempt.h"
#include "driver/files.h"
#include "driver/image.h"
#include "driver/log.h"
#include "sys/env.h"

namespace dvdi {
namespace {
constexpr int64_t kOpenMs = 10'000;  // for a pool that does not answer
}  // namespace

Result<std::optional<Lease>> WaitForLeaseEnd(const Pool& pool, const std::string& name, const Holder& self,
                                             bool node_is_dead, int64_t* waited_ms) {
  DVDI_ASSIGN_OR_RETURN(UniqueFd folder, pool.OpenVolume(name));
  LeaseFile leases(folder.get(), name, pool.VolumePath(name), self.node);
  // An old listing could show the volume as free.
  DVDI_RETURN_IF_ERROR(RefreshFolder(folder.get(), self.node));
  DVDI_ASSIGN_OR_RETURN(auto held, leases.Read());
  *waited_ms = 0;
  if (!held.has_value()) return held;
  const std::string by = "node " + OneLine(held->holder.node, 128);
  if (held->holder.node == self.node &&
      (held->holder.machine == self.machine || held->holder.machine.empty() || self.machine.empty()))
    return Status(
        Code::kRefused, "volume " + name + " is in use on this very node, " + self.node,
        "end its use here; what a driver that is gone has left, the next one gives back when it starts");
  if (node_is_dead) return held;
  const int64_t lease_ms = held->holder.lease_ms;
  if (lease_ms == 0 || held->holder.session.empty())
    return Status(Code::kRefused,
                  "the lease that " + by + " has on volume " + name +
                      " is not one that is renewed, so that it never ends by itself",
                  "make sure that the node is powered off, then say so: --node-is-dead");
  const int64_t begun = BootMs(), wait = lease_ms + LeaseKeeper::Margin(lease_ms);
  DVDI_ASSIGN_OR_RETURN(std::string counter, ReadSession(pool.folder(), held->holder.session, self.node));
  // From here on it has to stand still: whatever was written before counts from before.
  const int64_t seen = BootMs();
  Log(LogLevel::kInfo, "fencing volume " + name + ": waiting " + std::to_string(wait) +
                           " ms for the end of " + by + "'s lease");
  for (bool last = false;;) {
    const int64_t pause = std::min<int64_t>(std::max<int64_t>(lease_ms / 10, 50), 2000);
    Clock* clock = Clock::Real();
    if (!last) Scheduler::Real()->SleepUntil(clock->MonotonicMs() + pause);
    // Asked before the look, so that the last look is after the end.
    last = BootMs() - seen >= wait;
    DVDI_ASSIGN_OR_RETURN(std::string now, ReadSession(pool.folder(), held->holder.session, self.node));
    *waited_ms = BootMs() - begun;
    if (now != counter)
      return Status(Code::kRefused,
                    by + " is alive: it has renewed the lease of volume " + name + " just now",
                    "end its use there; or cut the node off from the pool, or power it off, and fence again");
    DVDI_ASSIGN_OR_RETURN(auto still, leases.Read());
    if (!still.has_value()) return still;
    if (still->generation != held->generation)
      return Status(
          Code::kRefused,
          "volume " + name + " was taken by node " + OneLine(still->holder.node, 128) + " meanwhile",
          "fence again if that is the node you mean");
    if (last) return held;
  }
}

Result<FenceResult> TakeFenced(const Pool& pool, LeaseKeeper& keeper, const std::string& name,
                               const Holder& self, const Lease& lease, bool node_is_dead,
                               const std::function<void(int64_t)>& progress) {
  DVDI_ASSIGN_OR_RETURN(UniqueFd folder, pool.OpenVolume(name));
  LeaseFile leases(folder.get(), name, pool.VolumePath(name), self.node);
  const bool copied = !node_is_dead || lease.fencing;
  if (copied) {
    // What cannot be copied is not taken.
    DVDI_RETURN_IF_ERROR(pool.ReadMeta(folder.get(), name).status());
    DVDI_RETURN_IF_ERROR(pool.OpenImage(folder.get(), name).status());
  }
  Holder holder = self;
  DVDI_ASSIGN_OR_RETURN(holder.session, keeper.Session());
  holder.lease_ms = keeper.lease_ms();
  DVDI_ASSIGN_OR_RETURN(Lease mine, leases.TakeNext(lease.generation, holder, copied));
  keeper.Guard(name, holder.session, mine.generation);
  Log(LogLevel::kWarning, "took volume " + name + " from node " + OneLine(lease.holder.node, 128) +
                              " (lease " + std::to_string(mine.generation) +
                              (node_is_dead ? ", on the operator's word that it is dead)" : ")"));
  Step("fenced");
  bool recorded = !mine.fencing;  // whether whoever mounts it next knows of a copy that is owed
  auto work = [&]() -> Status {
    DVDI_RETURN_IF_ERROR(pool.RemoveTemporaries(folder.get(), true));
    if (!mine.fencing) return OkStatus();
    DVDI_ASSIGN_OR_RETURN(VolumeMeta meta, pool.ReadMeta(folder.get(), name));
    meta.renew = true;
    DVDI_RETURN_IF_ERROR(pool.WriteMeta(folder.get(), meta));
    recorded = true;
    Step("fence-marked");
    DVDI_RETURN_IF_ERROR(
        RenewImage(pool, folder.get(), name, self.node, progress, [&] { return !keeper.Holds(name); }));
    meta.renew = false;
    return pool.WriteMeta(folder.get(), meta);
  };
  Status worked = work();
  if (!worked.ok() && !keeper.Holds(name)) return worked;
  // The lease itself says what is owed, to this node's next mount and to its driver's next start.
  if (!recorded)
    return std::move(worked)
        .WithContext("volume " + name + " was taken from node " + OneLine(lease.holder.node, 128) +
                     ", but its image could not be copied; node " + self.node + " keeps it")
        .WithHint("see to that, then mount it on this node: it is copied first");
  Status released = leases.Release(mine, false);
  keeper.Unguard(name);
  DVDI_RETURN_IF_ERROR(released);
  FenceResult result;
  result.generation = mine.generation;
  result.from = lease.holder.node;
  if (worked.ok()) return result;
  return std::move(worked).WithContext("volume " + name + " was taken from node " +
                                       OneLine(lease.holder.node, 128) +
                                       ", but its image could not be copied; the next mount tries again");
}

Result<FenceResult> FenceWithoutDriver(const std::vector<TierConfig>& tiers, std::optional<int64_t> lease_ms,
                                       const std::string& node, const std::string& name, bool node_is_dead) {
  DVDI_ASSIGN_OR_RETURN(Holder self, Holder::Self(node));
  // Side by side, and none for ever: the volume's own pool may be there though another one is not.
  std::vector<std::shared_ptr<Attempt<Pool>>> openings;
  for (const auto& tier : tiers)
    openings.push_back(
        Attempt<Pool>::Begin([path = tier.pool, node] { return Pool::Open(path, node); }, "open-pool"));
  const int64_t deadline = Clock::Real()->MonotonicMs() + kOpenMs;
  Status missing(Code::kNotFound, "there is no volume " + name + " in any tier"), closed;
  for (size_t i = 0; i < tiers.size(); ++i) {
    const TierConfig& tier = tiers[i];
    auto opened = openings[i]->Wait(deadline)
                      ? openings[i]->Take()
                      : Result<Pool>(Status(Code::kUnavailable, "it does not answer"));
    if (!opened.ok()) {
      closed = Status(opened.status()).WithContext("volume " + name + " may be in the pool " + tier.pool);
      continue;
    }
    const Pool pool = std::move(*opened);
    auto folder = pool.OpenVolume(name);
    if (!folder.ok()) {
      if (folder.status().code() != Code::kNotFound) return folder.status();
      missing = folder.status();
      continue;
    }
    FenceResult result;
    DVDI_ASSIGN_OR_RETURN(auto lease, WaitForLeaseEnd(pool, name, self, node_is_dead, &result.waited_ms));
    if (!lease.has_value()) return result;
    KeeperOptions options;
    options.pool = pool.path();
    options.folder = pool.folder();
    options.node = node;
    options.lease_ms = tier.lease_ms.value_or(lease_ms.value_or(pool.DefaultLeaseMs()));
    DVDI_ASSIGN_OR_RETURN(auto keeper, LeaseKeeper::Start(std::move(options)));
    int64_t waited = result.waited_ms;
    DVDI_ASSIGN_OR_RETURN(result, TakeFenced(pool, *keeper, name, self, *lease, node_is_dead, {}));
    result.waited_ms = waited;
    return result;
  }
  return closed.ok() ? missing : closed;
}

}  // namespace dvdi
