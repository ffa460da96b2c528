// Mount and Unmount: one ID, two, none, unknown ones, and what may happen meanwhile.
#include "sanity/context.h"

namespace dvdi::sanity {
namespace {

// A workload that uses it would still find its data.
bool InUse(Context& c, const Marked& m, const std::string& after) {
  return c.Expect(c.HasMark(m.folder, m.mark), after + ", the volume is no longer at " + m.folder);
}

void Released(Context& c, const Marked& m, const std::string& after) {
  Said removed = c.Remove(m.name);
  c.Expect(removed.ok(), after + " the volume cannot be removed: " + removed.Text());
}

void Mount(Context& c) {
  auto given = c.GivenMounted(c.NewId());
  if (!given) return c.Found("a volume cannot be mounted");
  if (!c.LooksInside()) return;
  const std::string& folder = given->second;
  if (!c.Expect(c.IsFolder(folder), "its Mountpoint is no folder here: " + folder)) return;
  c.Expect(c.WriteMark(folder, c.Name("mark")), "the mounted volume cannot be written to: " + folder);
}

void Tell(Context& c) {
  auto given = c.GivenMounted(c.NewId());
  if (!given) return;
  Said get = c.plugin().Ask(Method::kGet, given->first), path = c.plugin().Ask(Method::kPath, given->first);
  c.Expect(get.answer.mountpoint == given->second,
           "Get names another Mountpoint than Mount (" + given->second + "): " + get.Text());
  c.Expect(path.answer.mountpoint == given->second,
           "Path names another Mountpoint than Mount (" + given->second + "): " + path.Text());
}

void Data(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  Said unmounted = c.Unmount(m->name, m->id);
  c.Expect(unmounted.ok(), "Unmount: " + unmounted.Text());
  Said again = c.Mount(m->name, c.NewId());
  if (!c.Expect(again.ok(), "Mount after an Unmount: " + again.Text())) return;
  c.Expect(c.HasMark(again.answer.mountpoint, m->mark), "what was written is gone after Unmount and Mount");
}

void TwoVolumes(Context& c) {
  auto one = c.GivenMarked(), two = one ? c.GivenMarked() : std::nullopt;
  if (!two) return;
  InUse(c, *one, "after Mount of another volume");
  InUse(c, *two, "after Mount of two volumes");
  c.Expect(one->folder != two->folder, "two volumes are mounted at one folder: " + one->folder);
  c.Expect(c.LacksMark(one->folder, two->mark) && c.LacksMark(two->folder, one->mark),
           "what is written to one volume is in another: " + one->folder + ", " + two->folder);
}

void OneIdTwice(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  Said again = c.Mount(m->name, m->id);
  c.Expect(again.ok() || again.refused(), "a second Mount with the same ID: " + again.Text());
  if (again.ok())
    c.Expect(again.answer.mountpoint == m->folder,
             "a second Mount with the same ID names another folder: " + again.Text());
  InUse(c, *m, "after a second Mount with the same ID");
  Said unmounted = c.Unmount(m->name, m->id);
  c.Expect(unmounted.ok(), "Unmount: " + unmounted.Text());
  Released(c, *m, "two Mounts with one ID and one Unmount:");
}

void TwoIds(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  std::string other = c.NewId();
  Said second = c.Mount(m->name, other);
  if (!c.Expect(second.ok(), "Mount with a second ID: " + second.Text())) return;
  c.Expect(c.HasMark(second.answer.mountpoint, m->mark),
           "the second Mount's folder has not the volume's data");
  InUse(c, *m, "after Mount with a second ID");
  Said first = c.Unmount(m->name, m->id);
  c.Expect(first.ok(), "Unmount of the first ID: " + first.Text());
  m->folder = second.answer.mountpoint;
  InUse(c, *m, "after Unmount of the first of two IDs");
  Said last = c.Unmount(m->name, other);
  c.Expect(last.ok(), "Unmount of the second ID: " + last.Text());
  Released(c, *m, "after Unmount of both IDs");
}

// Only a plugin that names no folder before a Mount says by that when it has let go of the volume; others
// have plain folders that are always there.
void IsReleased(Context& c) {
  std::optional<std::string> name = c.Given();
  if (!name) return;
  const std::string before = c.Mountpoint(*name), ids[] = {c.NewId(), c.NewId()};
  std::vector<std::string> folders;
  for (const std::string& id : ids)
    if (Said mounted = c.Mount(*name, id); mounted.ok()) folders.push_back(mounted.answer.mountpoint);
  if (folders.empty()) return c.Skip("it needs a mounted volume, and Mount was not answered with success");
  for (const std::string& id : ids) c.Unmount(*name, id);
  if (!before.empty()) return;
  Said get = c.plugin().Ask(Method::kGet, *name);
  c.Expect(get.answer.mountpoint.empty(),
           "after Unmount of all IDs Get still names a Mountpoint: " + get.Text());
  for (const std::string& folder : folders)
    if (!c.Expect(!c.StaysMounted(folder), "after Unmount of all IDs it is still mounted: " + folder)) return;
}

void UnknownId(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  Said said = c.Unmount(m->name, c.NewId());
  c.Expect(said.ok() || said.refused(), "Unmount with an ID that mounted nothing: " + said.Text());
  InUse(c, *m, "after Unmount with an ID that mounted nothing");
  Said mounted = c.plugin().Ask(Method::kGet, m->name);
  c.Expect(mounted.answer.mountpoint == m->folder,
           "after Unmount with an ID that mounted nothing, Get says: " + mounted.Text());
}

void NoId(Context& c) {
  std::optional<std::string> name = c.Given();
  if (!name) return;
  Said said = c.plugin().Ask(Method::kMount, *name);
  c.Expect(said.answered(), "Mount without ID: " + said.Text());
  if (!said.ok()) {
    c.Expect(!said.accepted(), "Mount without ID: no Err, and no Mountpoint: " + said.reply.body);
    return;
  }
  c.Expect(c.IsFolder(said.answer.mountpoint), "Mount without ID names what is no folder: " + said.Text());
  Said unmounted = c.plugin().Ask(Method::kUnmount, *name);
  c.Expect(unmounted.ok(), "Unmount without ID, after such a Mount: " + unmounted.Text());
  Said removed = c.Remove(*name);
  c.Expect(removed.ok(), "Mount and Unmount without ID: the volume cannot be removed: " + removed.Text());
}

void UnmountTwice(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  c.Unmount(m->name, m->id);
  Said again = c.Unmount(m->name, m->id);
  c.Expect(again.ok() || again.refused(), "a second Unmount: " + again.Text());
  // One that only counts is now below zero, and lets go of a volume that is in use.
  Said first = c.Mount(m->name, m->id), second = c.Mount(m->name, c.NewId());
  if (!c.Expect(first.ok(), "Mount after two Unmounts: " + first.Text()) || !second.ok()) return;
  c.Unmount(m->name, m->id);
  m->folder = second.answer.mountpoint;
  InUse(c, *m, "after one Unmount too many, and later the Unmount of one of two IDs");
}

void NeverMounted(Context& c) {
  std::optional<std::string> name = c.Given();
  if (!name) return;
  Said said = c.Unmount(*name, c.NewId());
  c.Expect(said.ok() || said.refused(), "Unmount of what is not mounted: " + said.Text());
  Said mounted = c.Mount(*name, c.NewId());
  if (c.Expect(mounted.ok(), "Mount after an Unmount too many: " + mounted.Text()))
    c.Expect(c.IsFolder(mounted.answer.mountpoint),
             "Mount after an Unmount too many: no folder: " + mounted.Text());
}

void RemoveMounted(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  Said said = c.Remove(m->name);
  c.Expect(!said.ok(), "Remove of a mounted volume was carried out: " + said.Text());
  if (!said.ok()) c.Expect(said.refused(), "Remove of a mounted volume: " + said.Text());
  InUse(c, *m, "after Remove");
  c.Expect(c.Listed(m->name), "after Remove of a mounted volume List does not name it");
}

void CreateMounted(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  Said said = c.Create(m->name);
  c.Expect(said.ok() || said.refused(), "Create of a mounted volume: " + said.Text());
  InUse(c, *m, "after Create");
  Said get = c.plugin().Ask(Method::kGet, m->name);
  c.Expect(get.answer.mountpoint == m->folder,
           "after Create of a mounted volume it is forgotten that it is mounted: " + get.Text());
  Said unmounted = c.Unmount(m->name, m->id);
  c.Expect(unmounted.ok(), "Unmount after Create of a mounted volume: " + unmounted.Text());
  Released(c, *m, "after Create of a mounted volume, and its Unmount,");
}

}  // namespace

std::vector<Check> MountChecks() {
  return {
      {"mount.mount", "a mounted volume is a folder that can be written to",
       "Mount answers with the absolute path of a folder on the host.",
       "They bind that folder into the workload. One that is not there (a plugin in a mount namespace of its "
       "own) is "
       "refused by dvdi; others make it, and the workload writes to the node's own disk.",
       Severity::kError, Mount},
      {"mount.tell", "Get and Path name the Mountpoint of a mounted volume", "Both name the Mountpoint.",
       "After a crash they ask Get what is mounted. Without it a release cannot be confirmed.",
       Severity::kError, Tell},
      {"mount.data", "data is there again after Unmount and Mount", "Volumes persist.",
       "It is what volumes are for.", Severity::kError, Data},
      {"mount.two-volumes", "two volumes are two folders, and neither has what is written to the other",
       "A volume is what its name says.",
       "Each belongs to another workload. A driver whose options name the place of the data has this finding "
       "where all volumes are given the same ones.",
       Severity::kError, TwoVolumes},
      {"mount.one-id-twice", "a Mount that is repeated with its ID is one mount",
       "ID is of one user of the volume; Unmount with it undoes that user's Mount.",
       "A client whose answer was lost repeats the call. Where the plugin counts calls, the volume stays "
       "mounted for "
       "ever; dvdi never sends an ID twice, and undoes an unanswered Mount.",
       Severity::kError, OneIdTwice},
      {"mount.two-ids", "a volume with two users is there until the second has ended",
       "Mount is called once for each container; ID tells them apart.",
       "Docker mounts once for each container, each with its ID. dvdi has one ID for a node and shares below "
       "it.",
       Severity::kError, TwoIds},
      {"mount.released", "a volume whose last user has ended is mounted no more",
       "Unmount: the volume is no longer used by that ID; with the last one it may be detached.",
       "They ask Get whether a release has been done. What stays mounted stays attached to this node, and is "
       "not "
       "to be had on another.",
       Severity::kError, IsReleased},
      {"mount.unknown-id", "Unmount with an ID that mounted nothing leaves the volume to its user",
       "ID tells users apart.",
       "A client that recovers undoes Mounts of which it does not know whether they were done.",
       Severity::kError, UnknownId},
      {"mount.no-id", "Mount without an ID is an error, or mounts",
       "ID was added later; older clients send none.",
       "dvdcli sends none. Success without a Mountpoint lets a workload write to the node's own disk.",
       Severity::kError, NoId},
      {"mount.unmount-twice", "one Unmount too many does no harm to later users", "Nothing.",
       "An Unmount whose answer was lost is repeated.", Severity::kError, UnmountTwice},
      {"mount.never-mounted", "Unmount of what is not mounted does no harm", "Nothing.",
       "A client that recovers undoes Mounts of which it does not know whether they were done.",
       Severity::kError, NeverMounted},
      {"mount.remove-mounted", "a mounted volume is not removed",
       "Nothing; \"Remove: delete the volume from disk\".",
       "Docker and dvdi refuse it themselves, but another client on another node cannot know.",
       Severity::kError, RemoveMounted},
      {"mount.create-mounted", "Create of a mounted volume changes nothing", "Nothing.",
       "A client that asks the wrong plugin, or at the wrong time, creates what is there. A count that is "
       "reset "
       "unmounts a volume in use.",
       Severity::kError, CreateMounted},
  };
}

}  // namespace dvdi::sanity
