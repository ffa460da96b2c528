// Which word was meant.
#ifndef DVDI_BASE_NEAREST_H_
#define DVDI_BASE_NEAREST_H_

#include <set>
#include <string>

namespace dvdi {

// The word of `known` that is so few edits (insert, remove, replace) from `word` that it is likely what was
// to be typed; "" where none is.
std::string Nearest(const std::string& word, const std::set<std::string>& known);

}  // namespace dvdi

#endif  // DVDI_BASE_NEAREST_H_
