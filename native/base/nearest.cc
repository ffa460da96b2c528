#include "base/nearest.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace dvdi {
namespace {

// Beyond this nobody types a word; its edits are not counted.
constexpr size_t kLongest = 60;

// Edits (insert, remove, replace) from one word to the other.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string Nearest(const std::string& word, const std::set<std::string>& known) {
  if (word.size() > kLongest) return "";
  std::string best;
  size_t least = std::min<size_t>(3, word.size() / 3 + 1) + 1;
  for (const std::string& one : known) {
    const size_t distance = Distance(word, one);
    if (distance >= least) continue;
    least = distance;
    best = one;
  }
  return best;
}

}  // namespace dvdi
