#include "mount/mountinfo.h"

#include <algorithm>
#include <charconv>

#include "base/path.h"

namespace dvdi {
namespace {

bool IsOctal(char c) { return c >= '0' && c <= '7'; }

// The kernel writes blanks, newlines, backslashes and '#' in names as \ooo.
std::string Unescape(std::string_view text) {
  size_t at = text.find('\\');
  if (at == std::string_view::npos) return std::string(text);
  std::string out;
  out.reserve(text.size());
  size_t from = 0;
  while (at != std::string_view::npos) {
    out.append(text, from, at - from);
    if (at + 3 < text.size() && IsOctal(text[at + 1]) && IsOctal(text[at + 2]) && IsOctal(text[at + 3])) {
      out += static_cast<char>((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 + (text[at + 3] - '0'));
      from = at + 4;
    } else {
      out += '\\';
      from = at + 1;
    }
    at = text.find('\\', from);
  }
  out.append(text, from);
  return out;
}

// The next field of a line. Fields are parted by exactly one blank: a source may be empty.
std::string_view NextField(std::string_view* line) {
  size_t end = line->find(' ');
  std::string_view field = line->substr(0, end);
  line->remove_prefix(end == std::string_view::npos ? line->size() : end + 1);
  return field;
}

bool ParseInt(std::string_view text, int* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

bool Contains(std::string_view mountpoint, std::string_view path) {
  if (mountpoint == "/") return true;
  return path.starts_with(mountpoint) && (path.size() == mountpoint.size() || path[mountpoint.size()] == '/');
}

// `wanted`: null for all.
bool ParseLine(std::string_view line, const std::vector<std::string>* wanted, MountEntry* entry) {
  if (!ParseInt(NextField(&line), &entry->id) || !ParseInt(NextField(&line), &entry->parent)) return false;
  std::string_view device = NextField(&line), root = NextField(&line);
  if (device.find(':') == std::string_view::npos) return false;
  entry->mountpoint = Unescape(NextField(&line));
  if (entry->mountpoint.empty() || entry->mountpoint[0] != '/') return false;
  auto below = [&](const std::string& path) { return Contains(entry->mountpoint, path); };
  if (wanted != nullptr && std::none_of(wanted->begin(), wanted->end(), below)) return false;
  entry->device = device;
  entry->root = Unescape(root);
  entry->options = NextField(&line);
  for (;;) {
    if (line.empty()) return false;  // no "-": cut off
    std::string_view field = NextField(&line);
    if (field == "-") break;
    if (!entry->propagation.empty()) entry->propagation += ' ';
    entry->propagation += field;
  }
  entry->type = Unescape(NextField(&line));
  entry->source = Unescape(NextField(&line));
  entry->super_options = Unescape(line);
  return !entry->type.empty();
}

std::vector<MountEntry> Parse(std::string_view text, const std::vector<std::string>* wanted) {
  std::vector<MountEntry> mounts;
  while (!text.empty()) {
    size_t end = text.find('\n');
    MountEntry entry;
    if (ParseLine(text.substr(0, end), wanted, &entry)) mounts.push_back(std::move(entry));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return mounts;
}

}  // namespace

std::vector<MountEntry> ParseMountinfo(std::string_view text) { return Parse(text, nullptr); }

std::vector<MountEntry> ParseMountinfo(std::string_view text, const std::vector<std::string>& paths) {
  return Parse(text, &paths);
}

const MountEntry* FindMount(const std::vector<MountEntry>& mounts, std::string_view mountpoint) {
  // Of mounts stacked at one path, the upper one has the lower one as its parent. The order of the list
  // is that of their ids, which a mount gets when it is made, not when it is put there.
  const MountEntry* top = nullptr;
  for (const MountEntry& entry : mounts) {
    if (entry.mountpoint != mountpoint) continue;
    if (top == nullptr || top->parent != entry.id) top = &entry;
  }
  for (bool moved = top != nullptr; moved;) {
    moved = false;
    for (const MountEntry& entry : mounts) {
      if (&entry != top && entry.parent == top->id && entry.mountpoint == mountpoint) {
        moved = entry.id != entry.parent;
        top = &entry;
        break;
      }
    }
  }
  return top;
}

std::vector<const MountEntry*> MountsOnTheWay(const std::vector<MountEntry>& mounts, std::string_view path) {
  std::vector<const MountEntry*> candidates, way;
  for (const MountEntry& entry : mounts)
    if (Contains(entry.mountpoint, path)) candidates.push_back(&entry);
  auto has_parent = [&](const MountEntry* entry) {
    for (const MountEntry* other : candidates)
      if (other != entry && other->id == entry->parent) return true;
    return false;
  };
  const MountEntry* current = nullptr;
  for (const MountEntry* entry : candidates) {
    if (has_parent(entry)) continue;
    if (current == nullptr || entry->mountpoint.size() <= current->mountpoint.size()) current = entry;
  }
  // A walk meets the mount nearest to where it stands first; what lies deeper on the same parent is
  // hidden below that one. `way` cannot be longer than the candidates: a loop in the text ends there.
  while (current != nullptr && way.size() < candidates.size()) {
    way.push_back(current);
    const MountEntry* next = nullptr;
    for (const MountEntry* entry : candidates) {
      if (entry == current || entry->parent != current->id) continue;
      if (next == nullptr || entry->mountpoint.size() <= next->mountpoint.size()) next = entry;
    }
    current = next;
  }
  return way;
}

const MountEntry* ContainingMount(const std::vector<MountEntry>& mounts, std::string_view path) {
  auto way = MountsOnTheWay(mounts, path);
  return way.empty() ? nullptr : way.back();
}

std::string PathInFilesystem(const MountEntry& mount, std::string_view path) {
  std::string_view rest = mount.mountpoint == "/" ? path : path.substr(mount.mountpoint.size());
  std::string out = mount.root == "/" ? "" : mount.root;
  if (!rest.empty() && rest != "/") out += rest;
  return out.empty() ? "/" : out;
}

std::vector<std::string> MountpointsOf(std::string_view text, const std::vector<MountEntry>& mounts,
                                       std::string_view path, const std::string& folder) {
  std::vector<std::string> found;
  const MountEntry* mount = ContainingMount(mounts, path);
  if (mount == nullptr) return found;
  const std::string place = PathInFilesystem(*mount, path);
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    NextField(&line), NextField(&line);
    if (NextField(&line) != mount->device) continue;
    const std::string_view root = NextField(&line);
    std::string mountpoint = Unescape(NextField(&line));
    if (IsStrictlyBelow(folder, mountpoint) && Contains(place, Unescape(root)))
      found.push_back(std::move(mountpoint));
  }
  return found;
}

bool HasOption(std::string_view options, std::string_view word) {
  while (!options.empty()) {
    size_t end = options.find(',');
    if (options.substr(0, end) == word) return true;
    options.remove_prefix(end == std::string_view::npos ? options.size() : end + 1);
  }
  return false;
}

}  // namespace dvdi
