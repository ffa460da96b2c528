#include "driver/open_tiers.h"

#include <utility>

#include "base/path.h"
#include "base/text.h"
#include "driver/log.h"
#include "sys/env.h"

namespace dvdi {
namespace {

// A pool that has just failed is not asked again at once, however many requests come.
constexpr int64_t kPauseMs = 100;

int64_t Now() { return Clock::Real()->MonotonicMs(); }

// On a thread that may hang in the pool, and be left behind: what it refers to is its own.
Result<std::unique_ptr<Tier>> OpenTier(TierConfig config, const TierOptions& options, bool late) {
  DVDI_ASSIGN_OR_RETURN(Pool pool, Pool::Open(config.pool, options.node, late));
  DVDI_RETURN_IF_ERROR(CheckApart(options.mount_root, pool.path(), options.mount_root, config.pool));
  // Before anybody makes a volume there: what is half made is of an earlier driver.
  if (Status removed = pool.RemoveLeftovers(); !removed.ok()) Log(LogLevel::kWarning, removed.message());
  DVDI_ASSIGN_OR_RETURN(auto found, pool.List());
  config.pool = pool.path();
  if (!config.lease_ms.has_value()) config.lease_ms = options.lease_ms.value_or(pool.DefaultLeaseMs());
  KeeperOptions keeper;
  keeper.pool = pool.path();
  keeper.folder = pool.folder();
  keeper.node = options.node;
  keeper.lease_ms = *config.lease_ms;
  keeper.lost = options.lost;  // not called before a volume of it is guarded
  DVDI_ASSIGN_OR_RETURN(auto started, LeaseKeeper::Start(std::move(keeper)));
  return std::make_unique<Tier>(
      Tier{std::move(config), std::move(pool), std::move(started), std::move(found)});
}

}  // namespace

Status CheckApart(const std::string& root_path, const std::string& pool_path, const std::string& mount_root,
                  const std::string& pool) {
  const std::string root = NormalPath(root_path), there = NormalPath(pool_path);
  if (root.empty() || there.empty()) return OkStatus();
  if (root != there && !IsStrictlyBelow(there, root) && !IsStrictlyBelow(root, there)) return OkStatus();
  return Status(Code::kInvalid,
                "the mount root " + mount_root + " and the pool " + pool +
                    " lie one in the other: a volume that is mounted would hide files of the pool",
                "give --mount-root a folder of its own, as /run/dvdi-driver")
      .WithPath(mount_root);
}

OpenTiers::OpenTiers(std::vector<TierConfig> configs, TierOptions options) : options_(std::move(options)) {
  for (auto& config : configs) {
    slots_.emplace_back();
    slots_.back().config = std::move(config);
  }
}

Status OpenTiers::Start() {
  const int64_t deadline = Now() + options_.wait_ms;
  TryAll();
  bool usable = false;
  std::string none;
  Status last;
  for (size_t i = 0; i < slots_.size(); ++i) {
    std::shared_ptr<Opening> opening;
    {
      std::lock_guard<std::mutex> hold(mu_);
      opening = slots_[i].opening;
    }
    if (opening != nullptr && opening->Wait(deadline)) Settle(i, opening);
    std::lock_guard<std::mutex> hold(mu_);
    Slot& slot = slots_[i];
    // One that hangs may answer at any moment, and meanwhile its clients are told.
    usable = usable || slot.tier != nullptr || slot.opening != nullptr;
    if (slot.tier != nullptr) continue;
    // Whatever becomes of its pool, this stays wrong.
    if (slot.why.code() == Code::kInvalid) return slot.why;
    Note(slot);
    last = slot.why;
    none += (none.empty() ? "" : "; ") + slot.config.name + ": " + last.message();
  }
  if (usable) return OkStatus();
  if (slots_.size() == 1) return last;
  return Status(Code::kUnavailable, "no tier can be used (" + OneLine(none, 1500) + ")",
                "see to the pools, then start the driver again");
}

Tier* OpenTiers::Get(size_t index) const {
  std::lock_guard<std::mutex> hold(mu_);
  return slots_[index].tier.get();
}

Result<Tier*> OpenTiers::Reach(size_t index) {
  std::shared_ptr<Opening> opening;
  int64_t deadline = 0;
  {
    std::lock_guard<std::mutex> hold(mu_);
    Slot& slot = slots_[index];
    if (slot.tier != nullptr) return slot.tier.get();
    if (slot.opening == nullptr) Begin(slot);
    opening = slot.opening;
    // From its begin on: a pool that hangs holds up who comes first, not everybody.
    deadline = slot.begun + options_.wait_ms;
  }
  if (opening != nullptr && opening->Wait(deadline)) Settle(index, opening);
  std::lock_guard<std::mutex> hold(mu_);
  Slot& slot = slots_[index];
  if (slot.tier != nullptr) return slot.tier.get();
  Note(slot);
  return Closed(slot);
}

void OpenTiers::TryAll() {
  for (size_t i = 0; i < slots_.size(); ++i) {
    std::shared_ptr<Opening> opening;
    {
      std::lock_guard<std::mutex> hold(mu_);
      Slot& slot = slots_[i];
      if (slot.tier != nullptr) continue;
      opening = slot.opening;
      if (opening == nullptr) Begin(slot);
    }
    if (opening != nullptr && opening->Wait(0)) Settle(i, opening);
  }
}

TierConfig OpenTiers::Config(size_t index) const {
  std::lock_guard<std::mutex> hold(mu_);
  const Slot& slot = slots_[index];
  return slot.tier != nullptr ? slot.tier->config : slot.config;
}

void OpenTiers::Begin(Slot& slot) const {
  // What is configured wrongly stays so.
  if (slot.why.code() == Code::kInvalid || (slot.ended != 0 && Now() - slot.ended < kPauseMs)) return;
  const bool late = slot.begun != 0;
  slot.begun = Now();
  slot.opening = Opening::Begin(
      [config = slot.config, options = options_, late] { return OpenTier(config, options, late); },
      "open-tier");
}

// Takes the result of an attempt that has ended.
void OpenTiers::Settle(size_t index, const std::shared_ptr<Opening>& opening) {
  Tier* open = nullptr;
  {
    std::lock_guard<std::mutex> hold(mu_);
    Slot& slot = slots_[index];
    if (slot.opening != opening) return;  // somebody else was faster
    slot.opening.reset();
    slot.ended = Now();
    auto tier = opening->Take();
    slot.why = tier.status();
    for (const auto& other : slots_)
      if (tier.ok() && other.tier != nullptr && other.tier->pool.path() == (*tier)->pool.path())
        slot.why =
            Status(Code::kInvalid,
                   "tiers " + other.config.name + " and " + slot.config.name + " lie in the same folder",
                   "give each tier a folder of its own");
    if (!slot.why.ok()) return;
    slot.tier = std::move(*tier);
    open = slot.tier.get();
    if (!slot.logged.empty())
      Log(LogLevel::kInfo, "tier " + slot.config.name + " is open now (pool " + open->pool.path() + ")");
  }
  if (options_.opened != nullptr) options_.opened(index, *open);
}

Status OpenTiers::Closed(const Slot& slot) const {
  const std::string what = "tier " + slot.config.name + " cannot be used (pool " + slot.config.pool + "): ";
  // While it hangs, what it said before is not known to be so.
  if (slot.opening != nullptr || slot.why.ok())
    return Status(Code::kUnavailable, what + "its pool does not answer",
                  "see whether its storage can be reached; the driver opens it as soon as it answers")
        .WithPath(slot.config.pool);
  const bool wrong = slot.why.code() == Code::kInvalid;
  return Status(Code::kUnavailable, what + slot.why.message(),
                (slot.why.hint().empty() ? "make the pool available" : slot.why.hint()) +
                    (wrong ? ", then start the driver again" : "; the driver opens it by itself then"))
      .WithPath(slot.config.pool);
}

void OpenTiers::Note(Slot& slot) const {
  const Status closed = Closed(slot);
  if (slot.logged == closed.message()) return;
  slot.logged = closed.message();
  Log(LogLevel::kError,
      closed.message() + "; the volumes in it cannot be had, nor new ones be made; " + closed.hint());
}

}  // namespace dvdi
