// Man pages, made at build time from what --help is made from.
#ifndef DVDI_CLI_MAN_H_
#define DVDI_CLI_MAN_H_

#include <CLI/CLI.hpp>
#include <string>

namespace dvdi::cli {

// dvdi(1) in man(7)'s macros.
std::string DvdiManPage(const CLI::App& app, const std::string& version);
// dvdcli(1).
std::string DvdcliManPage(const std::string& version);
// For the man page of another program: its first line, and the options of `app` as a list.
std::string ManHeading(const std::string& name, const std::string& section, const std::string& version);
std::string ManOptions(const CLI::App& app);
// Text of ours as troff shows it: nothing in it is a request or an escape.
std::string TroffText(const std::string& text);

}  // namespace dvdi::cli

#endif  // DVDI_CLI_MAN_H_
