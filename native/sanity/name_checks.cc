// Odd names. Docker's own rule is [a-zA-Z0-9][a-zA-Z0-9_.-]+, but other clients have none, and a plugin is
// its own last line. A name is either refused, or it works like any other.
#include <filesystem>

#include "base/text.h"
#include "sanity/context.h"

namespace dvdi::sanity {
namespace {

using Look = std::function<void(const std::string& folder)>;

// `look` sees where it is mounted, if it is.
void WorksOrIsRefused(Context& c, const std::string& name, const Look& look = nullptr) {
  std::string what = "'" + OneLine(name, 60) + "': ";
  Said created = c.Create(name);
  if (!c.Expect(created.ok() || created.refused(), what + "Create: " + created.Text())) return;
  if (created.refused()) {
    c.Expect(!c.Listed(name), what + "Create was refused, and List names it all the same");
    return;
  }
  c.Expect(c.Exists(name), what + "it was created, and Get does not find it");
  c.Expect(c.Listed(name), what + "it was created, and List does not name it so");
  std::string id = c.NewId();
  Said mounted = c.Mount(name, id);
  if (!c.Expect(mounted.ok(), what + "it was created, and Mount says: " + mounted.Text())) return;
  c.Expect(c.IsFolder(mounted.answer.mountpoint), what + "its Mountpoint is no folder: " + mounted.Text());
  if (look) look(mounted.answer.mountpoint);
  Said unmounted = c.Unmount(name, id);
  c.Expect(unmounted.ok(), what + "Unmount: " + unmounted.Text());
  Said removed = c.Remove(name);
  c.Expect(removed.ok(), what + "Remove: " + removed.Text());
}

// Never above the plugin's own folder, whatever it does with names. To one that joins no paths it is a name.
void DotDot(Context& c) {
  auto other = c.GivenMarked();
  if (!other) return;
  std::string name = c.Name("dir") + "/../" + other->name;
  Said get = c.plugin().Ask(Method::kGet, name);
  c.Expect(!get.ok(), "Get of '" + name + "' finds volume " + other->name + ": " + get.Text());
  Said path = c.Mount(name, c.NewId());
  c.Expect(!path.ok(), "Mount of '" + name + "', which was never created: " + path.Text());
  if (get.ok()) return;  // Remove would remove the other one
  // Not mounted: a folder that is in use, and not empty, may be refused for that alone.
  c.Unmount(other->name, other->id);
  std::string at;
  auto mount_other = [&](const char* when) {
    Said mounted = c.Mount(other->name, other->id);
    if (c.Expect(mounted.ok(), when + (", Mount of volume " + other->name) + ": " + mounted.Text()))
      at = mounted.answer.mountpoint;
  };
  WorksOrIsRefused(c, name, [&](const std::string& folder) {
    mount_other("while that is mounted");
    auto normal = [](const std::string& path) { return std::filesystem::path(path).lexically_normal(); };
    bool apart = normal(folder) != normal(at) && c.LacksMark(folder, other->mark);
    c.Expect(apart, "'" + name + "' leads to volume " + other->name + ": it is mounted at " + folder);
  });
  c.Expect(c.Exists(other->name), "after that, volume " + other->name + " is gone");
  if (at.empty()) mount_other("after that");
  c.Expect(c.HasMark(at, other->mark), "after that, what was written to volume " + other->name + " is gone");
}

void Case(Context& c) {
  std::optional<std::string> lower = c.Given();
  if (!lower) return;
  std::string upper = *lower;
  for (char& ch : upper) ch = static_cast<char>(ch >= 'a' && ch <= 'z' ? ch - 'a' + 'A' : ch);
  c.Expect(!c.Exists(upper), "Get of " + upper + " finds volume " + *lower);
}

Check Odd(const char* id, const char* title, std::function<std::string(Context&)> name) {
  return {std::string("name.") + id,
          title,
          "Nothing of what a name may be.",
          "Docker sends letters, digits, dots, dashes and underscores; others send what users typed. "
          "Half-done (created, "
          "then not found under that name) is worst: it is created again each time.",
          Severity::kError,
          [name](Context& c) { WorksOrIsRefused(c, name(c)); }};
}

}  // namespace

std::vector<Check> NameChecks() {
  auto with = [](const char* text) { return [text](Context& c) { return c.Name() + text; }; };
  std::vector<Check> all = {
      {"name.dot-dot", "a name with .. leads to no other volume", "Nothing of what a name may be.",
       "A name comes from a workload's owner; one that reaches another's volume is a hole.", Severity::kError,
       DotDot},
      {"name.case", "names that differ in case are different names", "Nothing.",
       "To clients they are two volumes.", Severity::kError, Case},
      Odd("slash", "a slash: refused, or it works", with("/x")),
      Odd("space", "spaces: refused, or they work", with(" a  b")),
      Odd("utf-8", "letters beyond ASCII: refused, or they work", with("-größe-日本")),
      Odd("newline", "a line feed: refused, or it works", with("\na")),
      Odd("zero", "a zero byte: refused, or it works",
          [](Context& c) { return c.Name() + std::string("\0a", 2); }),
      Odd("quotes", "quotes, backslashes, dollars: refused, or they work", with("\"'\\$(a)`b`;&")),
      Odd("percent", "per cent signs and pluses: refused, or they work", with("%2e%2e+%s%n")),
      Odd("comma", "commas and equals signs: refused, or they work", with(",a=b:c")),
      Odd("dash", "a leading dash: refused, or it works", [](Context& c) { return "-" + c.Name(); }),
      Odd("dot", "a leading dot: refused, or it works", [](Context& c) { return "." + c.Name(); }),
      Odd("long", "64 characters: refused, or it works",
          [](Context& c) {
            std::string n = c.Name();
            return n + std::string(64 - n.size(), 'n');
          }),
      Odd("too-long", "5,000 characters: refused, or it works",
          [](Context& c) { return c.Name() + std::string(5000, 'n'); }),
  };
  return all;
}

}  // namespace dvdi::sanity
