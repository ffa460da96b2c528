// Whether a stage is mounted anywhere on this node. That it is missing in our own mountinfo says nothing: a
// process of another mount namespace may have it, and be at work in it.
#ifndef DVDI_CLI_ELSEWHERE_H_
#define DVDI_CLI_ELSEWHERE_H_

#include <string>

namespace dvdi::cli {

// True where it is proved that the stage (a folder of the engine's, STATE/stage/ID/NAME) is mounted in no
// mount namespace. `made_here`: it was mounted in ours, so that whoever has it got it from here. False also
// where that cannot be told: where there are processes that we do not see, or namespaces without one.
bool MountedNowhere(const std::string& stage, bool made_here);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_ELSEWHERE_H_
