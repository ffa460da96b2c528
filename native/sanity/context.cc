#include "sanity/context.h"

#include <algorithm>

#include "base/text.h"
#include "plugin/protocol.h"
#include "sanity/process.h"
#include "sys/env.h"

namespace dvdi::sanity {
namespace {

constexpr int64_t kFilesMs = 10'000;
constexpr int64_t kRestartMs = 60'000;
constexpr int64_t kUnmountedMs = 2'000;
constexpr int kCleanUpRounds = 8;  // a plugin that counts mounts wants as many unmounts

int next_name = 0;

}  // namespace

Context::Context(const RunSetup& setup, Plugin& plugin, Outcome* outcome)
    : setup_(setup), plugin_(plugin), outcome_(outcome) {}

Context::~Context() {
  bool revived = false;
  auto done = [&](const std::function<bool(Said*)>& what) {
    Said last;
    if (what(&last)) return true;
    // Each further call would wait as long again, or fail, and each further check would blame itself.
    Found("after this check it answers no more: " + last.Text());
    if (!revived && !setup_.restart.empty() && RunCommand(setup_.restart, kRestartMs).ok()) {
      plugin_.CloseIdle();
      revived = plugin_.WaitUntilItAnswers(kRestartMs);
      if (revived && what(&last)) return true;
    }
    outcome_->stuck = true;
    return false;
  };
  if (volumes_.empty()) done([&](Said* last) { return Answers(last); });
  for (const Volume& volume : volumes_)
    if (!done([&](Said* last) { return CleanUp(volume, last); })) break;
  plugin_.CloseIdle();
}

// On a connection of its own: one that is kept may still take a request for a plugin that has ended.
bool Context::Answers(Said* last) {
  plugin_.CloseIdle();
  *last = plugin_.Post(MethodPath(Method::kActivate), "{}\n", Method::kActivate);
  return last->answered();
}

bool Context::CleanUp(const Volume& volume, Said* last) {
  auto ask = [&](Method method, const std::string& id = "") {
    *last = plugin_.Ask(method, volume.name, id);
    return last->reply.outcome != PluginReply::Outcome::kTimeout &&
           last->reply.outcome != PluginReply::Outcome::kUnreachable;
  };
  for (int round = 0; round < kCleanUpRounds; ++round) {
    if (!ask(Method::kGet)) return false;
    // One that Get denies may be there: refused half way, or taken out of a table that is not the only one.
    const bool gone = last->refused() && !Listed(volume.name);
    const std::vector<std::string> open(volume.open.begin(), volume.open.end());
    for (const std::string& id : gone ? open : volume.ids)
      if (!ask(Method::kUnmount, id)) return false;
    if (gone) {
      if (!open.empty()) TellMounted(volume);
      return true;
    }
    if (!ask(Method::kRemove)) return false;
    if (last->ok() && !Listed(volume.name)) return true;
    Scheduler::Real()->SleepUntil(Clock::Real()->MonotonicMs() + 50 * round);
  }
  Found("cannot be cleaned up: volume " + OneLine(volume.name, 100) +
        " is still there after Unmount and Remove (" + last->Text() + ")");
  return true;
}

void Context::TellMounted(const Volume& volume) {
  for (const std::string& folder : volume.mountpoints)
    if (StaysMounted(folder))
      Found("cannot be cleaned up: it no longer knows volume " + OneLine(volume.name, 100) +
            ", and leaves it mounted at " + OneLine(folder, 200) + ", for you to unmount");
}

void Context::Found(std::string what) { outcome_->found.push_back(OneLine(what, 600)); }

bool Context::Expect(bool holds, std::string what) {
  if (!holds) Found(std::move(what));
  return holds;
}

void Context::Skip(std::string why) { outcome_->skipped = OneLine(why, 600); }

std::string Context::Name(const std::string& word) {
  return setup_.prefix + "-" + word + std::to_string(++next_name);
}

std::string Context::NewId() { return Random::Real()->HexId(32); }

Json Context::CreateBody(const std::string& name) const {
  Json options = Json::object();
  for (const auto& [key, value] : setup_.create_options) options[key] = value;
  return {{"Name", name}, {"Opts", options}};
}

Context::Volume& Context::Of(const std::string& name) {
  auto it = std::find_if(volumes_.begin(), volumes_.end(), [&](const Volume& v) { return v.name == name; });
  if (it != volumes_.end()) return *it;
  volumes_.push_back({name, {}, {}, {}});
  return volumes_.back();
}

void Context::Remember(const std::string& name, const std::string& id) {
  Volume& volume = Of(name);
  if (id.empty()) return;
  if (std::find(volume.ids.begin(), volume.ids.end(), id) == volume.ids.end()) volume.ids.push_back(id);
  volume.open.insert(id);
}

Said Context::Create(const std::string& name) {
  Remember(name);
  return plugin_.Ask(Method::kCreate, CreateBody(name));
}

Said Context::Mount(const std::string& name, const std::string& id) {
  Remember(name, id);
  Said said = plugin_.Ask(Method::kMount, name, id);
  if (said.ok()) Of(name).mountpoints.insert(said.answer.mountpoint);
  return said;
}

Said Context::Unmount(const std::string& name, const std::string& id) {
  Said said = plugin_.Ask(Method::kUnmount, name, id);
  if (said.ok()) Of(name).open.erase(id);
  return said;
}

Said Context::Remove(const std::string& name) { return plugin_.Ask(Method::kRemove, name); }

std::optional<std::string> Context::Given() {
  std::string name = Name();
  Said said = Create(name);
  if (said.ok()) return name;
  Skip("it needs a volume, and Create was answered with " + said.Text());
  return std::nullopt;
}

std::optional<std::pair<std::string, std::string>> Context::GivenMounted(const std::string& id) {
  std::optional<std::string> name = Given();
  if (!name) return std::nullopt;
  Said said = Mount(*name, id);
  if (said.ok()) return std::make_pair(*name, said.answer.mountpoint);
  Skip("it needs a mounted volume, and Mount was answered with " + said.Text());
  return std::nullopt;
}

std::optional<Marked> Context::GivenMarked() {
  Marked m;
  m.id = NewId();
  auto given = GivenMounted(m.id);
  if (!given) return std::nullopt;
  m.name = given->first;
  m.folder = given->second;
  m.mark = Name("mark");
  if (WriteMark(m.folder, m.mark)) return m;
  Skip("the mounted volume cannot be written to (mount.mount tells more)");
  return std::nullopt;
}

bool Context::Exists(const std::string& name) {
  Said said = plugin_.Ask(Method::kGet, name);
  if (!said.ok() && !said.refused()) Found("Get says nothing that can be relied on: " + said.Text());
  return said.ok();
}

bool Context::Listed(const std::string& name) {
  Said said = plugin_.Ask(Method::kList, Json::object());
  if (!said.ok()) Found("List says nothing that can be relied on: " + said.Text());
  const auto& volumes = said.answer.volumes;
  return std::any_of(volumes.begin(), volumes.end(), [&](const ListedVolume& v) { return v.name == name; });
}

std::string Context::Mountpoint(const std::string& name) {
  return plugin_.Ask(Method::kGet, name).answer.mountpoint;
}

bool Context::IsFolder(const std::string& path) {
  if (!setup_.look_inside) return true;
  return InChild([&] { return FolderExists(path); }, kFilesMs);
}

bool Context::LooksInside() {
  if (!setup_.look_inside) Skip("its folders cannot be looked into from here");
  return setup_.look_inside;
}

bool Context::WriteMark(const std::string& folder, const std::string& mark) {
  if (!setup_.look_inside) return true;
  return InChild([&] { return WriteText(folder + "/" + mark, mark); }, kFilesMs);
}

bool Context::HasMark(const std::string& folder, const std::string& mark) {
  if (!LooksInside()) return true;
  return InChild([&] { return ReadText(folder + "/" + mark) == mark; }, kFilesMs);
}

bool Context::StaysMounted(const std::string& folder) {
  if (!setup_.look_inside) return false;
  for (int64_t until = Clock::Real()->MonotonicMs() + kUnmountedMs;;) {
    if (!InChild([&] { return IsMounted(folder); }, kFilesMs)) return false;
    int64_t now = Clock::Real()->MonotonicMs();
    if (now >= until) return true;
    Scheduler::Real()->SleepUntil(now + 100);
  }
}

bool Context::LacksMark(const std::string& folder, const std::string& mark) {
  return !LooksInside() || !HasMark(folder, mark);
}

bool Context::Restart() {
  if (setup_.restart.empty()) {
    Skip("no command was given that restarts the plugin");
    return false;
  }
  plugin_.CloseIdle();
  Status ran = RunCommand(setup_.restart, kRestartMs);
  if (!ran.ok()) {
    Skip(ran.message());
    return false;
  }
  return Expect(plugin_.WaitUntilItAnswers(kRestartMs), "it does not answer a minute after it was restarted");
}

}  // namespace dvdi::sanity
