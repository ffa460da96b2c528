#include "sanity/model.h"

#include <algorithm>
#include <filesystem>

#include "base/text.h"

namespace dvdi::sanity {

std::string Model::File(const std::string& name) const {
  if (!Has("joins-folders")) return Sha256Hex(name);
  return std::filesystem::path("/" + name).lexically_normal().string().substr(1);
}

void Model::Release(const std::string& name) { std::filesystem::remove(Place(name)); }

void Model::Restarted() {
  if (Has("restart-forgets")) volumes_.clear();
  for (auto& [name, volume] : volumes_) {
    if (Has("restart-unmounts")) Release(name);
    if (Has("restart-forgets-users")) volume.ids.clear();
    if (Has("restart-keeps-one") && !volume.ids.empty())
      volume.ids = {"one"};  // that it is mounted, not how often
    if (Has("restart-new-ids") && !volume.ids.empty()) volume.ids = {"another"};
  }
}

::dvdi::Json Model::ListEntry(const std::string& name) const {
  if (Has("list-names")) return name;
  ::dvdi::Json entry = {{"Name", name}};
  if (Has("list-odd-time")) entry["CreatedAt"] = "yesterday";
  return entry;
}

Turn Model::Handle(const SeenRequest& request) {
  std::lock_guard<std::mutex> lock(mu_);
  if (stuck_) return ++held_, Turn::Hold();
  if (std::filesystem::remove(dir_ / "restart")) Restarted();
  if (request.path == "/Plugin.Activate") {
    if (Has("not-a-volume-driver")) return Ok({{"Implements", {"NetworkDriver"}}});
    if (Has("text-plain")) return Turn::Typed("{\"Implements\":[\"VolumeDriver\"]}", "text/plain");
    return Ok({{"Implements", {"VolumeDriver"}}});
  }
  constexpr std::string_view kPrefix = "/VolumeDriver.";
  std::string method = request.path.substr(std::min(kPrefix.size(), request.path.size()));
  if (method == "NoSuchMethod" && Has("yes-to-all")) return Ok(::dvdi::Json::object());
  if (method == "Capabilities")
    return Ok({{"Capabilities", {{"Scope", Has("odd-scope") ? "galaxy" : "local"}}}});
  if (method == "List") {
    ::dvdi::Json list = ::dvdi::Json::array();
    for (const auto& [name, volume] : volumes_)
      if (!Has("list-nothing")) list.push_back(ListEntry(name));
    return Ok({{"Volumes", list}});
  }
  auto body = ParseJson(request.body, "request");
  if (Has("believes-anything") && method == "Get" && (!body.ok() || GetString(*body, "Name").empty()))
    return Ok({{"Volume", {{"Name", ""}}}});
  if (!body.ok() || !body->is_object()) return Error("no JSON");
  if (Has("strict") && body->contains("Tomorrow")) return Error("unknown member");
  if (GetString(*body, "Name").empty()) return Error("no Name");
  return Volumes(method, GetString(*body, "Name"), GetString(*body, "ID"));
}

Turn Model::Volumes(const std::string& method, const std::string& name, const std::string& id) {
  if (method == "Create") return Create(name);
  std::string key = name;
  if (Has("path-joins") && !volumes_.contains(name))
    key = std::filesystem::path("/" + name).lexically_normal().string().substr(1);
  if (!volumes_.contains(key)) {
    if (Has("forgets-mounted") && method == "Unmount") return Release(key), Ok({{"Err", ""}});
    if (Has("html-errors")) return Turn::Typed("<h1>Error</h1>", "text/html", 500);
    if (Has("get-finds-all") && method == "Get") return Ok({{"Volume", {{"Name", key}}}});
    if (Has("empty-mountpoint") && method == "Mount") return Ok({{"Mountpoint", ""}, {"Err", ""}});
    if (!(Has("mount-creates") && method == "Mount")) return Error("no such volume: " + key);
    Create(key);
  }
  if (method == "Get" && Has("denies")) return Error("no such volume");
  if (method == "Get") {
    ::dvdi::Json volume = {{"Name", key}};
    if (!Mountpoint(key).empty() && !Has("no-tell")) volume["Mountpoint"] = Mountpoint(key);
    if (Has("still-tells") && volumes_[key].was_mounted) volume["Mountpoint"] = Place(key);
    volume["CreatedAt"] = Has("odd-time")        ? "yesterday"
                          : Has("empty-time")    ? ""
                          : Has("no-such-month") ? "2024-13-02T03:04:05Z"
                                                 : "2024-01-02T03:04:05.6+01:00";
    if (Has("odd-status-mounted") && !Mountpoint(key).empty()) volume["Status"] = "mounted";
    return Ok({{"Volume", volume}});
  }
  if (method == "Path") return Ok({{"Mountpoint", Mountpoint(key)}});
  if (method == "Mount") return Mount(key, id);
  if (method == "Unmount") return Unmount(key, id);
  if (method != "Remove") return Turn::Json("{\"Err\": \"no such method\"}", 404);
  Volume& volume = volumes_[key];
  if (!volume.ids.empty() && !Has("removes-mounted") && !Has("forgets-mounted"))
    return Error("it is mounted");
  if (!volume.ids.empty() && !Has("forgets-mounted")) Release(key);
  if (Has("remove-fails")) return Error("cannot");
  if (!Has("shared") && !Has("keeps-data")) std::filesystem::remove_all(Store(key));
  volumes_.erase(key);
  return Ok({{"Err", ""}});
}

Turn Model::Create(const std::string& name) {
  // Docker's own rule, more or less.
  bool plain = name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               std::string::npos;
  if (!plain && Has("half-done")) return Ok({{"Err", ""}});
  if ((!plain || name.size() > 200) && !Has("any-name") && !Has("joins-folders"))
    return Error("a name of letters and digits only");
  if (Has("create-wipes")) std::filesystem::remove_all(Store(name));
  if (Has("create-resets") && volumes_.contains(name)) volumes_[name].ids.clear();
  volumes_[name];
  std::filesystem::create_directories(Store(name));
  std::filesystem::create_directories(dir_ / "mnt");
  if (Has("refuses-half-way")) return Error("cannot be formatted");
  return Ok({{"Err", ""}});
}

Turn Model::Mount(const std::string& name, const std::string& id) {
  Volume& volume = volumes_[name];
  if (id.empty() && Has("no-id-no-mount")) return Ok({{"Mountpoint", ""}, {"Err", ""}});
  if (Has("one-user") && !volume.ids.empty() && !volume.ids.contains(id)) return Error("in use");
  if (Has("sticks")) stuck_ = true;
  volume.was_mounted = true;
  if (Has("stays-mounted")) return volume.ids.insert(id), Ok({{"Mountpoint", "/proc"}});
  if (Has("elsewhere")) return volume.ids.insert(id), Ok({{"Mountpoint", "/no/such/folder"}});
  if (volume.ids.empty()) {
    std::filesystem::remove(Place(name));
    std::filesystem::create_directory_symlink(Store(name), Place(name));
  }
  if (Has("moves") && !volume.ids.empty()) {
    const std::string moved = Place(name) + "-" + id;
    std::filesystem::rename(Place(name), moved);
    return volume.ids.insert(id), Ok({{"Mountpoint", moved}});
  }
  // As where calls at once read one count, and each writes what it read plus one.
  if (Has("loses-count") && volume.ids.size() == 2) return Ok({{"Mountpoint", Place(name)}});
  if (Has("counts") || !volume.ids.contains(id)) volume.ids.insert(id);
  return Ok({{"Mountpoint", Place(name)}});
}

Turn Model::Unmount(const std::string& name, const std::string& id) {
  Volume& volume = volumes_[name];
  auto mine = volume.ids.find(id);
  if ((Has("any-id") || Has("loses-count") || Has("restart-keeps-one")) && mine == volume.ids.end())
    mine = volume.ids.begin();
  if (mine != volume.ids.end()) volume.ids.erase(mine);
  if (Has("one-unmount")) volume.ids.clear();
  if (Has("forgets-data") && volume.ids.empty()) {
    std::filesystem::remove_all(Store(name));
    std::filesystem::create_directories(Store(name));
  }
  if (volume.ids.empty()) Release(name);
  return Ok({{"Err", ""}});
}

}  // namespace dvdi::sanity
