// The plugin ends and comes back under volumes that are in use.
#include "sanity/context.h"

namespace dvdi::sanity {
namespace {

struct World : Marked {
  std::string unmounted;
};

// A mounted volume with a mark in it, and one that is not mounted; then the restart.
std::optional<World> Restarted(Context& c) {
  auto given = c.GivenMarked();
  auto other = given ? c.Given() : std::nullopt;
  if (!other || !c.Restart()) return std::nullopt;
  return World{*given, *other};
}

void Knows(Context& c) {
  auto w = Restarted(c);
  if (!w) return;
  for (const std::string& name : {w->name, w->unmounted}) {
    std::string what = name == w->name ? "the mounted volume" : "a volume that is not mounted";
    c.Expect(c.Exists(name), "after a restart Get does not find " + what);
    c.Expect(c.Listed(name), "after a restart List does not name " + what);
  }
}

void InUse(Context& c) {
  auto w = Restarted(c);
  if (!w) return;
  c.Expect(c.HasMark(w->folder, w->mark), "after a restart the volume is no longer at " + w->folder);
}

void Tell(Context& c) {
  auto w = Restarted(c);
  if (!w) return;
  Said get = c.plugin().Ask(Method::kGet, w->name);
  c.Expect(get.answer.mountpoint == w->folder,
           "after a restart Get no longer says where it is mounted: " + get.Text());
}

void Unmount(Context& c) {
  auto w = Restarted(c);
  if (!w) return;
  Said unmounted = c.Unmount(w->name, w->id);
  c.Expect(unmounted.ok(), "after a restart, Unmount with the ID of before: " + unmounted.Text());
  Said removed = c.Remove(w->name);
  c.Expect(removed.ok(), "after a restart and Unmount, Remove: " + removed.Text());
}

void Users(Context& c) {
  auto w = Restarted(c);
  if (!w) return;
  std::string other = c.NewId();
  Said second = c.Mount(w->name, other);
  if (!c.Expect(second.ok(), "after a restart, Mount with a second ID: " + second.Text())) return;
  c.Expect(c.HasMark(second.answer.mountpoint, w->mark),
           "after a restart, Mount leads to another folder: " + second.Text());
  c.Unmount(w->name, other);
  c.Expect(c.HasMark(w->folder, w->mark),
           "a user of before the restart has lost the volume by the Unmount of one that came after it");
}

// Who knows after a restart only that it is mounted, and not for whom, lets go of it with the first of two.
void BothUsers(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  const std::string other = c.NewId();
  Said second = c.Mount(m->name, other);
  if (!second.ok()) return c.Skip("Mount with a second ID was answered with " + second.Text());
  if (!c.Restart()) return;
  const std::string& folder = second.answer.mountpoint;
  if (!c.Expect(c.HasMark(folder, m->mark), "after a restart the volume is no longer at " + folder)) return;
  c.Unmount(m->name, m->id);
  c.Expect(c.HasMark(folder, m->mark),
           "after a restart the second of two users has lost the volume by the Unmount of the first");
  Said last = c.Unmount(m->name, other);
  c.Expect(last.ok(), "after a restart, Unmount of the second of two IDs: " + last.Text());
  Said removed = c.Remove(m->name);
  c.Expect(removed.ok(), "after a restart and Unmount of both IDs, Remove: " + removed.Text());
}

void Remove(Context& c) {
  auto w = Restarted(c);
  if (!w) return;
  Said removed = c.Remove(w->name);
  c.Expect(!removed.ok(), "after a restart a mounted volume was removed: " + removed.Text());
  c.Expect(c.HasMark(w->folder, w->mark),
           "after a restart and Remove the volume is no longer at " + w->folder);
}

}  // namespace

std::vector<Check> RestartChecks() {
  constexpr char kNothing[] = "Nothing.";
  return {
      {"restart.knows", "volumes are known after a restart", "Volumes persist.",
       "They ask Get first: what is not found is created again.", Severity::kError, Knows},
      {"restart.in-use", "a volume in use is there while its plugin restarts", kNothing,
       "Workloads go on. A filesystem that lives in the plugin's process takes them down with it.",
       Severity::kError, InUse},
      {"restart.tell", "after a restart Get names the Mountpoint of a mounted volume", kNothing,
       "They ask Get what is mounted before they undo or repeat anything.", Severity::kWarning, Tell},
      {"restart.unmount", "after a restart Unmount with an ID of before releases the volume", kNothing,
       "They unmount when the workload ends, and know of no restart.", Severity::kError, Unmount},
      {"restart.users", "users of before the restart count", "ID tells users apart.",
       "The first workload still runs; the second one's end must not take its volume.", Severity::kError,
       Users},
      {"restart.two-ids", "two users of before the restart are two", "ID tells users apart.",
       "As mount.two-ids; where the count is not kept, a restart of the plugin takes the volume from the "
       "second.",
       Severity::kError, BothUsers},
      {"restart.remove-mounted", "after a restart a mounted volume is not removed", kNothing,
       "As mount.remove-mounted.", Severity::kError, Remove},
  };
}

}  // namespace dvdi::sanity
