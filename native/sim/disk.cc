#include "sim/disk.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <set>

namespace dvdi::sim {
namespace {

// What a name costs of the disk's room.
constexpr uint64_t kNameBytes = 256;
constexpr uint64_t kLogBytes = 16384;  // no other file grows so large by what is appended to it

std::string_view NextName(std::string_view* rest) {
  while (!rest->empty() && rest->front() == '/') rest->remove_prefix(1);
  size_t end = rest->find('/');
  std::string_view name = rest->substr(0, end);
  rest->remove_prefix(name.size());
  return name;
}

}  // namespace

SimDisk::SimDisk() : root_(std::make_shared<Inode>()) {
  root_->number = next_++, root_->mode = S_IFDIR | 0755, root_->links = 1;
}

int SimDisk::Find(const std::string& path, Node* node) const {
  const Node* at = &root_;
  std::string_view rest = path;
  for (std::string_view name = NextName(&rest); !name.empty(); name = NextName(&rest)) {
    if (!(*at)->folder()) return -ENOTDIR;
    auto it = (*at)->children.find(name);
    if (it == (*at)->children.end()) return -ENOENT;
    at = &it->second;
  }
  *node = *at;
  return 0;
}

int SimDisk::FindParent(const std::string& path, Node* folder, std::string* name) const {
  size_t slash = path.rfind('/');
  *name = path.substr(slash + 1);
  if (name->empty()) return -EEXIST;  // the root
  int r = Find(path.substr(0, slash), folder);
  return r == 0 && !(*folder)->folder() ? -ENOTDIR : r;
}

void SimDisk::Set(const Node& folder, const std::string& name, Node to) {
  Node& slot = folder->children[name];
  journal_.push_back({folder, name, slot, to});
  if (slot != nullptr && --slot->links == 0) used_ -= std::min(used_, slot->size() + kNameBytes);
  if (to != nullptr) ++to->links;
  if (to == nullptr)
    folder->children.erase(name);
  else
    slot = std::move(to);
  folder->changed = next_++;
}

int SimDisk::Make(const std::string& path, mode_t mode, Node* made) {
  Node folder;
  std::string name;
  if (int r = FindParent(path, &folder, &name); r < 0) return r;
  if (folder->children.count(name) != 0) return -EEXIST;
  if (used_ + kNameBytes > capacity_) return -ENOSPC;
  used_ += kNameBytes;
  auto node = std::make_shared<Inode>();
  node->number = next_++, node->changed = next_, node->mode = mode;
  Set(folder, name, node);
  if (made != nullptr) *made = std::move(node);
  return 0;
}

int SimDisk::Link(const std::string& from, const std::string& to) {
  Node node, folder;
  std::string name;
  if (int r = Find(from, &node); r < 0) return r;
  if (int r = FindParent(to, &folder, &name); r < 0) return r;
  if (folder->children.count(name) != 0) return -EEXIST;
  Set(folder, name, node);
  return 0;
}

int SimDisk::Rename(const std::string& from, const std::string& to) {
  Node node, folder, source;
  std::string name, old;
  if (int r = Find(from, &node); r < 0) return r;
  if (int r = FindParent(to, &folder, &name); r < 0) return r;
  if (int r = FindParent(from, &source, &old); r < 0) return r;
  // One change for a journal: first the new name, so that the file is never without one.
  Set(folder, name, node);
  Set(source, old, nullptr);
  return 0;
}

int SimDisk::Unlink(const std::string& path, bool folder) {
  Node node, parent;
  std::string name;
  if (int r = FindParent(path, &parent, &name); r < 0) return r;
  if (int r = Find(path, &node); r < 0) return r;
  if (folder && !node->folder()) return -ENOTDIR;
  if (!folder && node->folder()) return -EISDIR;
  if (!node->children.empty()) return -ENOTEMPTY;
  Set(parent, name, nullptr);
  return 0;
}

int SimDisk::Write(Inode& node, uint64_t at, std::string_view bytes) {
  const uint64_t end = at + bytes.size(), size = node.size();
  if (end > size) {
    if (used_ + (end - size) > capacity_) return -ENOSPC;
    used_ += end - size;
  }
  node.unsynced.push_back({at, size, at < node.data.size() ? node.data.substr(at, bytes.size()) : ""});
  if (at == node.data.size()) {
    // Of a log each growth copies all that it holds.
    if (end > node.data.capacity() && end > kLogBytes) node.data.reserve(4 * end);
    node.data.append(bytes);
  } else {
    if (end > node.data.size()) node.data.resize(end);
    node.data.replace(at, bytes.size(), bytes);
  }
  node.changed = next_++;
  return static_cast<int>(bytes.size());
}

int SimDisk::Allocate(Inode& node, uint64_t bytes) {
  const uint64_t size = node.size();
  if (bytes <= size) return 0;
  if (used_ + (bytes - size) > capacity_) return -ENOSPC;
  used_ += bytes - size;
  node.unsynced.push_back({size, size, ""});
  node.allocated = bytes;
  node.changed = next_++;
  return 0;
}

void SimDisk::Truncate(Inode& node, uint64_t size) {
  const uint64_t before = node.size();
  if (size == before) return;
  node.unsynced.push_back({size, before, size < node.data.size() ? node.data.substr(size) : ""});
  if (size < before) used_ -= std::min(used_, before - size);
  node.data.resize(size);
  node.allocated = 0;
  node.changed = next_++;
}

void SimDisk::Sync(Inode& node) {
  node.unsynced.clear();
  journal_.clear();
}

bool SimDisk::Durable(const std::string& path) const {
  Node node;
  if (Find(path, &node) < 0 || !node->unsynced.empty()) return false;
  std::string at;
  std::string_view rest = path;
  for (std::string_view name = NextName(&rest); !name.empty(); name = NextName(&rest)) {
    Node folder;
    if (Find(at, &folder) < 0) return false;
    for (const Change& c : journal_)
      if (c.folder == folder && c.name == name) return false;
    at += "/" + std::string(name);
  }
  return true;
}

void SimDisk::PowerLoss(SimRandom& random) {
  // Of the names a part, in order.
  size_t kept = random.Below(journal_.size() + 1);
  // Both halves of a rename, or none.
  while (kept > 0 && kept < journal_.size() && journal_[kept - 1].after != nullptr &&
         journal_[kept].after == nullptr && journal_[kept].before == journal_[kept - 1].after)
    ++kept;
  std::set<Inode*> files;
  std::vector<Node> alive;
  for (size_t i = journal_.size(); i-- > kept;) {
    const Change& c = journal_[i];
    if (c.before == nullptr)
      c.folder->children.erase(c.name);
    else
      c.folder->children[c.name] = c.before;
  }
  journal_.clear();
  used_ = 0;
  Walk([&](const std::string&, const Inode& seen) {
    auto& node = const_cast<Inode&>(seen);
    node.links = 0;
    if (!files.insert(&node).second) return;
    if (node.fixed) {
      used_ += node.size() + kNameBytes;
      return;
    }
    bool lose = random.OneIn(2);  // the kernel may have written everything long ago
    for (size_t i = node.unsynced.size(); i-- > 0 && lose;) {
      const Undo& u = node.unsynced[i];
      if (random.OneIn(3) && i + 1 < node.unsynced.size()) continue;
      if (node.data.size() < u.at + u.old.size()) node.data.resize(u.at + u.old.size());
      node.data.replace(u.at, u.old.size(), u.old);
      if (i != 0 && !random.OneIn(2)) continue;
      node.data.resize(u.size);
      node.allocated = 0;
    }
    node.unsynced.clear();
    node.changed = next_++;
    used_ += node.size() + kNameBytes;
  });
  // Links are counted anew: names came back.
  std::function<void(Inode&)> count = [&](Inode& folder) {
    for (auto& [name, child] : folder.children) {
      ++child->links;
      if (child->folder()) count(*child);
    }
  };
  root_->links = 1;
  count(*root_);
}

void SimDisk::Reboot() {
  Walk([](const std::string&, const Inode& seen) {
    auto& node = const_cast<Inode&>(seen);
    node.locks.clear();
    node.shared = Shared();
  });
}

void SimDisk::Walk(const std::function<void(const std::string&, const Inode&)>& visit) const {
  std::function<void(const std::string&, const Inode&)> walk = [&](const std::string& path,
                                                                   const Inode& node) {
    visit(path, node);
    for (const auto& [name, child] : node.children) walk(path + "/" + name, *child);
  };
  walk("", *root_);
}

}  // namespace dvdi::sim
