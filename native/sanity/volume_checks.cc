// Volumes that exist, and those that do not: Create, Get, List, Path, Remove.
#include "sanity/context.h"

namespace dvdi::sanity {
namespace {

void StillUnknown(Context& c, const std::string& name, const char* after) {
  if (!c.Expect(!c.Listed(name), std::string(after) + " of a volume that does not exist has made it"))
    c.Remember(name);
}

void UnknownGet(Context& c) {
  std::string name = c.Name("none");
  Said said = c.plugin().Ask(Method::kGet, name);
  c.Expect(said.answered() && !said.accepted(), "Get: " + said.Text());
  StillUnknown(c, name, "Get");
}

void UnknownPath(Context& c) {
  std::string name = c.Name("none");
  Said said = c.plugin().Ask(Method::kPath, name);
  c.Expect(said.answered(), "Path: " + said.Text());
  c.Expect(said.answer.mountpoint.empty(), "Path of a volume that does not exist: " + said.Text());
  StillUnknown(c, name, "Path");
}

void UnknownMount(Context& c) {
  std::string name = c.Name("none"), id = c.NewId();
  Said said = c.Mount(name, id);
  c.Expect(said.answered() && !said.accepted(), "Mount: " + said.Text() + ", with no Err");
  StillUnknown(c, name, "Mount");
}

void UnknownUnmount(Context& c) {
  std::string name = c.Name("none");
  Said said = c.Unmount(name, c.NewId());
  c.Expect(said.ok() || said.refused(), "Unmount: " + said.Text());
  StillUnknown(c, name, "Unmount");
}

void UnknownRemove(Context& c) {
  std::string name = c.Name("none");
  Said said = c.Remove(name);
  c.Expect(said.ok() || said.refused(), "Remove: " + said.Text());
  StillUnknown(c, name, "Remove");
}

void Create(Context& c) {
  std::string name = c.Name();
  Said said = c.Create(name);
  if (!c.Expect(said.ok(), "Create: " + said.Text())) return;
  c.Expect(c.Exists(name),
           "Get does not find what was created: " + c.plugin().Ask(Method::kGet, name).Text());
  c.Expect(c.Listed(name), "List does not name what was created");
  Said path = c.plugin().Ask(Method::kPath, name);
  c.Expect(path.ok() || path.refused(), "Path of a volume that is not mounted: " + path.Text());
}

void NoOptions(Context& c) {
  if (!c.setup().create_options.empty()) return c.Skip("this driver needs options");
  for (const Json& body : {Json{{"Name", c.Name()}, {"Opts", nullptr}}, Json{{"Name", c.Name()}}}) {
    c.Remember(GetString(body, "Name"));
    Said said = c.plugin().Ask(Method::kCreate, body);
    c.Expect(said.ok(), std::string("Create with Opts ") + (body.contains("Opts") ? "null: " : "missing: ") +
                            said.Text());
  }
}

void CreateTwice(Context& c) {
  std::optional<std::string> name = c.Given();
  if (!name) return;
  Said again = c.Create(*name);
  c.Expect(again.ok() || again.refused(), "a second Create: " + again.Text());
  c.Expect(c.Exists(*name) && c.Listed(*name), "after a second Create the volume is gone");
  std::string id = c.NewId();
  Said mounted = c.Mount(*name, id);
  c.Expect(mounted.ok(), "after a second Create, Mount: " + mounted.Text());
}

void CreateKeepsData(Context& c) {
  std::string id = c.NewId(), mark = c.Name("mark");
  auto given = c.GivenMounted(id);
  if (!given) return;
  const auto& [name, folder] = *given;
  c.Expect(c.WriteMark(folder, mark), "the mounted volume cannot be written to: " + folder);
  c.Unmount(name, id);
  Said again = c.Create(name);
  Said mounted = c.Mount(name, id);
  if (!c.Expect(mounted.ok(), "after a second Create, Mount: " + mounted.Text())) return;
  c.Expect(c.HasMark(mounted.answer.mountpoint, mark),
           "after a second Create (" + again.Text() + ") what had been written is gone");
}

void Remove(Context& c) {
  std::optional<std::string> name = c.Given();
  if (!name) return;
  Said said = c.Remove(*name);
  if (!c.Expect(said.ok(), "Remove: " + said.Text())) return;
  c.Expect(!c.Exists(*name), "Get finds what was removed");
  c.Expect(!c.Listed(*name), "List names what was removed");
  Said again = c.Remove(*name);
  c.Expect(again.ok() || again.refused(), "a second Remove: " + again.Text());
  Said created = c.Create(*name);
  c.Expect(created.ok(), "Create of a name that was removed: " + created.Text());
}

void RemoveData(Context& c) {
  auto m = c.GivenMarked();
  if (!m) return;
  c.Unmount(m->name, m->id);
  Said removed = c.Remove(m->name);
  if (!removed.ok())
    return c.Skip("it needs a volume that is removed, and Remove was answered with " + removed.Text());
  Said created = c.Create(m->name), mounted = c.Mount(m->name, m->id);
  if (!c.Expect(mounted.ok(), "after Remove and Create (" + created.Text() + "), Mount: " + mounted.Text()))
    return;
  c.Expect(c.LacksMark(mounted.answer.mountpoint, m->mark),
           "what was written to a volume is there after its Remove, in a new one of its name");
}

}  // namespace

std::vector<Check> VolumeChecks() {
  return {
      {"unknown.get", "Get of a volume that does not exist is an error", "Get fails with Err.",
       "They ask Get whether to Create: success means that a volume is never created.", Severity::kError,
       UnknownGet},
      {"unknown.path", "Path of a volume that does not exist names no folder", "Path fails with Err.",
       "dvdcli prints it, and a workload writes there.", Severity::kWarning, UnknownPath},
      {"unknown.mount", "Mount of a volume that does not exist is an error, and creates nothing",
       "Mount fails with Err.",
       "An empty Mountpoint without Err is success to some, and the workload writes to the node's own disk; "
       "an implicit "
       "Create turns a typing error into a volume.",
       Severity::kError, UnknownMount},
      {"unknown.unmount", "Unmount of a volume that does not exist is answered", "Nothing of which answer.",
       "They repeat an Unmount whose answer was lost, and need one.", Severity::kError, UnknownUnmount},
      {"unknown.remove", "Remove of a volume that does not exist is answered", "Nothing of which answer.",
       "They repeat a Remove whose answer was lost, and need one.", Severity::kError, UnknownRemove},
      {"volume.create", "what was created is found by Get and List",
       "Create makes the volume; Get and List tell of it.",
       "They Create only what Get does not find, and a volume that it never finds is created again each "
       "time.",
       Severity::kError, Create},
      {"volume.no-options", "Opts may be null or missing", "Opts is an object of texts.",
       "Docker sends null where there are none.", Severity::kError, NoOptions},
      {"volume.create-twice", "a second Create does no harm",
       "Nothing. \"The plugin need not do anything if it exists\" is how most read it.",
       "Two clients may both see that there is none, and both create. Either answer is taken.",
       Severity::kError, CreateTwice},
      {"volume.create-keeps-data", "a second Create keeps what is in the volume", "Nothing.",
       "As above; data is lost here.", Severity::kError, CreateKeepsData},
      {"volume.remove", "what was removed is gone, and its name is free", "Remove deletes the volume.",
       "They show it as gone. A second Remove may be an error, but is answered.", Severity::kError, Remove},
      {"volume.remove-data", "a new volume has nothing of a removed one of its name",
       "\"Remove: delete the volume from disk\".",
       "The new one may be somebody else's, and a workload takes old data for its own.", Severity::kError,
       RemoveData},
  };
}

}  // namespace dvdi::sanity
