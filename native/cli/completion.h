// Completion scripts for shells, made from the command's tree.
#ifndef DVDI_CLI_COMPLETION_H_
#define DVDI_CLI_COMPLETION_H_

#include <CLI/CLI.hpp>
#include <string>

namespace dvdi::cli {

// The shells that there is a completion for. No other source names one: none is ever run (NoShellTest).
inline constexpr const char* kBash = "bash";
inline constexpr const char* kZsh = "zsh";
inline constexpr const char* kFish = "fish";

// The script for one of them; "" for others. It completes verbs, options, files, folders, and,
// with `dvdi names`, the names of volumes and drivers; no name is ever evaluated by the shell.
std::string CompletionScript(const CLI::App& app, const std::string& shell);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_COMPLETION_H_
