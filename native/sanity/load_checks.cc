// Several clients at once.
#include <algorithm>

#include "sanity/context.h"

namespace dvdi::sanity {
namespace {

constexpr int kAtOnce = 8;

struct Counted {
  int ok = 0;
  std::string other;  // of those that are not, one
};

Counted Count(const std::vector<Said>& all) {
  Counted out;
  for (const Said& said : all)
    if (said.ok())
      ++out.ok;
    else
      out.other = said.Text();
  return out;
}

std::string Of(const Counted& counted, int all) {
  return std::to_string(counted.ok) + " of " + std::to_string(all) + " succeeded" +
         (counted.other.empty() ? "" : "; another: " + counted.other);
}

std::vector<std::string> CreateAtOnce(Context& c, Counted* counted) {
  std::vector<Request> requests;
  std::vector<std::string> names;
  for (int n = 0; n < kAtOnce; ++n) {
    names.push_back(c.Name());
    requests.push_back({Method::kCreate, c.CreateBody(names.back())});
    c.Remember(names.back());
  }
  *counted = Count(c.plugin().AskAll(requests));
  return names;
}

void Creates(Context& c) {
  Counted counted;
  std::vector<std::string> names = CreateAtOnce(c, &counted);
  c.Expect(counted.ok == kAtOnce, "of 8 calls of Create at once, " + Of(counted, kAtOnce));
  int listed = 0;
  for (const std::string& name : names) listed += c.Listed(name) ? 1 : 0;
  c.Expect(listed >= counted.ok, "List names " + std::to_string(listed) + " of " +
                                     std::to_string(counted.ok) + " volumes that were created at once");
}

void OneName(Context& c) {
  std::string name = c.Name();
  c.Remember(name);
  std::vector<Said> all =
      c.plugin().AskAll(std::vector<Request>(kAtOnce, {Method::kCreate, c.CreateBody(name)}));
  Counted counted = Count(all);
  c.Expect(counted.ok >= 1, "of 8 calls of Create for one name, " + Of(counted, kAtOnce));
  bool said = std::all_of(all.begin(), all.end(), [](const Said& s) { return s.ok() || s.refused(); });
  c.Expect(said, "a Create for a name that others create: " + counted.other);
  Said list = c.plugin().Ask(Method::kList, Json::object());
  auto times = std::count_if(list.answer.volumes.begin(), list.answer.volumes.end(),
                             [&](const ListedVolume& v) { return v.name == name; });
  c.Expect(times == 1, "List names it " + std::to_string(times) + " times");
  Said mounted = c.Mount(name, c.NewId());
  c.Expect(mounted.ok(), "after 8 calls of Create for one name, Mount: " + mounted.Text());
}

void MountsOfOne(Context& c) {
  std::optional<std::string> name = c.Given();
  if (!name) return;
  std::vector<Request> mounts, unmounts;
  for (int n = 0; n < kAtOnce; ++n) {
    std::string id = c.NewId();
    c.Remember(*name, id);
    mounts.push_back({Method::kMount, Plugin::Body(*name, id)});
    unmounts.push_back({Method::kUnmount, Plugin::Body(*name, id)});
  }
  std::vector<Said> all = c.plugin().AskAll(mounts);
  Counted counted = Count(all);
  c.Expect(counted.ok == kAtOnce,
           "of 8 calls of Mount for one volume, each with its ID, " + Of(counted, kAtOnce));
  // One user stays: a count that lost one of the calls lets go of the volume before the last has ended.
  auto stays = std::find_if(all.begin(), all.end(), [](const Said& s) { return s.ok(); }) - all.begin();
  if (stays == kAtOnce) stays = 0;
  const std::string folder = all[static_cast<size_t>(stays)].answer.mountpoint, mark = c.Name("mark");
  bool marked = counted.ok > 0 && c.Expect(c.WriteMark(folder, mark), "it cannot be written to: " + folder);
  std::rotate(unmounts.begin() + stays, unmounts.begin() + stays + 1, unmounts.end());
  Request last = unmounts.back();
  unmounts.pop_back();
  std::vector<Said> ended = c.plugin().AskAll(unmounts);
  if (marked)
    c.Expect(c.HasMark(folder, mark),
             "after Unmount of 7 of 8 IDs at once, the volume is no longer at " + folder);
  ended.push_back(c.plugin().Ask(last.method, last.body));
  Counted undone = Count(ended);
  c.Expect(undone.ok >= counted.ok, "of 8 calls of Unmount for one volume, " + Of(undone, kAtOnce));
  Said removed = c.Remove(*name);
  c.Expect(removed.ok(),
           "after as many calls of Unmount as of Mount it cannot be removed: " + removed.Text());
}

void MountsOfMany(Context& c) {
  Counted counted;
  std::vector<std::string> names = CreateAtOnce(c, &counted);
  if (counted.ok != kAtOnce) return c.Skip("8 volumes could not be created at once (load.creates)");
  std::vector<Request> mounts, unmounts;
  for (const std::string& name : names) {
    std::string id = c.NewId();
    c.Remember(name, id);
    mounts.push_back({Method::kMount, Plugin::Body(name, id)});
    unmounts.push_back({Method::kUnmount, Plugin::Body(name, id)});
  }
  std::vector<Said> all = c.plugin().AskAll(mounts);
  Counted mounted = Count(all);
  c.Expect(mounted.ok == kAtOnce, "of 8 calls of Mount for 8 volumes, " + Of(mounted, kAtOnce));
  // Each is written to when it has nothing of those before it.
  std::vector<Marked> marked;
  for (size_t n = 0; n < all.size(); ++n) {
    if (!all[n].ok()) continue;
    Marked m{names[n], all[n].answer.mountpoint, "", c.Name("mark")};
    if (!c.Expect(c.IsFolder(m.folder), "a Mountpoint that is no folder: " + all[n].Text())) continue;
    for (const Marked& other : marked)
      if (!c.Expect(c.LacksMark(m.folder, other.mark),
                    "what is written to " + other.name + " is in " + m.name + ", mounted at the same time"))
        break;
    if (c.Expect(c.WriteMark(m.folder, m.mark), "a mounted volume cannot be written to: " + m.folder))
      marked.push_back(m);
  }
  for (const Marked& m : marked)
    c.Expect(c.HasMark(m.folder, m.mark), "what was written is no longer in " + m.folder);
  Counted undone = Count(c.plugin().AskAll(unmounts));
  c.Expect(undone.ok == kAtOnce, "of 8 calls of Unmount for 8 volumes, " + Of(undone, kAtOnce));
}

}  // namespace

std::vector<Check> LoadChecks() {
  constexpr char kNothing[] = "Nothing; HTTP servers serve several clients.";
  return {
      {"load.creates", "8 volumes are created at once", kNothing,
       "A node that starts creates volumes for all its workloads at once.", Severity::kError, Creates},
      {"load.one-name", "of 8 calls of Create for one name one volume comes", kNothing,
       "Several workloads name one new volume. Either answer is taken, but there is one volume, and it "
       "works.",
       Severity::kError, OneName},
      {"load.mounts-of-one", "one volume is mounted and unmounted with 8 IDs at once, and stays for the last",
       kNothing, "Docker sends a Mount for each container. A count that loses one unmounts under a user.",
       Severity::kError, MountsOfOne},
      {"load.mounts-of-many", "8 volumes are mounted and unmounted at once, each with its own data", kNothing,
       "A node that starts mounts volumes for all its workloads at once.", Severity::kError, MountsOfMany},
  };
}

}  // namespace dvdi::sanity
