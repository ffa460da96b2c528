// What a check works with: the plugin, volumes that are cleaned up behind it, and a place for what it finds.
#ifndef DVDI_SANITY_CONTEXT_H_
#define DVDI_SANITY_CONTEXT_H_

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "sanity/check.h"
#include "sanity/plugin.h"

namespace dvdi::sanity {

// What all checks of one run share.
struct RunSetup {
  std::map<std::string, std::string> create_options;
  std::vector<std::string> restart;  // the command that restarts the plugin; none where empty
  std::string prefix;                // of the names of all volumes, of no other run
  bool look_inside = true;           // the plugin's folders can be seen from here
};

// A volume that is mounted and has a mark in it, which shows whether the mount is still there.
struct Marked {
  std::string name, folder, id, mark;
};

class Context {
 public:
  Context(const RunSetup& setup, Plugin& plugin, Outcome* outcome);
  // Unmounts and removes what the check has left; what cannot be removed is found. So is a plugin that
  // answers no more, whether it hangs or has ended: it is restarted where there is a command, else the run is
  // stuck.
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const RunSetup& setup() const { return setup_; }
  Plugin& plugin() { return plugin_; }

  void Found(std::string what);
  // Found(`what`) unless `holds`. Returns `holds`.
  bool Expect(bool holds, std::string what);
  void Skip(std::string why);

  // A name that no other volume has.
  std::string Name(const std::string& word = "v");
  std::string NewId();
  Json CreateBody(const std::string& name) const;

  // Create, which may fail; it is remembered for the clean-up all the same: what is refused may be half done.
  Said Create(const std::string& name);
  // Mount, in the same way.
  Said Mount(const std::string& name, const std::string& id);
  Said Unmount(const std::string& name, const std::string& id);
  Said Remove(const std::string& name);
  // The same for calls that the check has made by itself.
  void Remember(const std::string& name, const std::string& id = "");

  // A new volume; without one (another check has found that), this check is skipped.
  std::optional<std::string> Given();
  // A new volume that is mounted with `id`, and its mountpoint.
  std::optional<std::pair<std::string, std::string>> GivenMounted(const std::string& id);
  // The same with a mark in it.
  std::optional<Marked> GivenMarked();

  // Whether Get finds it. An answer that says nothing is found.
  bool Exists(const std::string& name);
  // Whether List names it.
  bool Listed(const std::string& name);
  // The Mountpoint of Get, "" where there is none.
  std::string Mountpoint(const std::string& name);

  // Files in a plugin's folder, in a child process: a dead filesystem must not keep us. Where the folders
  // cannot be looked into, all of them succeed, and a check that asks for a mark counts as skipped unless it
  // finds something all the same.
  bool LooksInside();  // false, and a skip, where they cannot
  bool IsFolder(const std::string& path);
  bool WriteMark(const std::string& folder, const std::string& mark);
  bool HasMark(const std::string& folder, const std::string& mark);
  // Whether something is mounted there, and still is after a while: some unmount behind their answer. False
  // where the folders cannot be looked into.
  bool StaysMounted(const std::string& folder);
  // A folder that cannot be read lacks it, too.
  bool LacksMark(const std::string& folder, const std::string& mark);

  // Runs the operator's command and waits until the plugin answers. Skips the check where there is no
  // command.
  bool Restart();

 private:
  struct Volume {
    std::string name;
    std::vector<std::string> ids;  // mounted with
    std::set<std::string> open;    // of those, for which no Unmount was answered with success
    std::set<std::string> mountpoints;
  };
  Volume& Of(const std::string& name);
  // Both are false where the plugin does not answer, `last` says how.
  bool Answers(Said* last);
  bool CleanUp(const Volume& volume, Said* last);
  // What is still mounted of a volume that the plugin no longer knows is found.
  void TellMounted(const Volume& volume);

  const RunSetup& setup_;
  Plugin& plugin_;
  Outcome* const outcome_;
  std::vector<Volume> volumes_;
};

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_CONTEXT_H_
