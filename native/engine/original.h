// What the original Mesos module has left on a node: dvdimounts.pb, its list of mounts.
#ifndef DVDI_ENGINE_ORIGINAL_H_
#define DVDI_ENGINE_ORIGINAL_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace dvdi {

struct OriginalMount {
  std::string container, driver, name, mountpoint, options, container_path;
};

// Reads the list (a protobuf message: docs/mesos.md). kInvalid for bytes that are none.
Result<std::vector<OriginalMount>> ReadOriginalMounts(std::string_view bytes);

}  // namespace dvdi

#endif  // DVDI_ENGINE_ORIGINAL_H_
