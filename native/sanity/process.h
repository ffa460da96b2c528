// Child processes: one that may hang in a plugin's filesystem instead of us, and the command that restarts a
// plugin.
#ifndef DVDI_SANITY_PROCESS_H_
#define DVDI_SANITY_PROCESS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace dvdi::sanity {

// Runs `work` in a child process and says whether it returned true. One that has not ended after `ms` is
// killed and left to itself: false. To be called while there is one thread only.
bool InChild(const std::function<bool()>& work, int64_t ms);

// For use in a child. A file that was written is on the disk.
bool FolderExists(const std::string& path);
bool IsMounted(const std::string& path);  // it is where something is mounted
bool WriteText(const std::string& path, const std::string& text);
std::string ReadText(const std::string& path);  // "" where it cannot be read

// Runs a program to its end; what it writes goes to our standard error. Not through a shell.
Status RunCommand(const std::vector<std::string>& command, int64_t ms);

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_PROCESS_H_
