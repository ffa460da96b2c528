// sanity_man FILE: writes the man page of dvdi-sanity, at build time.
#include <cstdio>
#include <fstream>

#include "cli/man.h"
#include "sanity/check.h"
#include "sanity/options.h"

namespace dvdi::sanity {
namespace {

std::string ManPage() {
  using cli::TroffText;
  Options options;
  CLI::App app(kDescription, "dvdi-sanity");
  Declare(app, &options);
  std::string out = cli::ManHeading("DVDI\\-SANITY", "1", DVDI_VERSION);
  out += ".SH NAME\ndvdi\\-sanity \\- conformance checks for Docker volume plugins\n";
  out +=
      ".SH SYNOPSIS\n\\fBdvdi\\-sanity\\fR \\fB\\-\\-socket\\fR \\fISOCKET\\fR [\\fIOPTIONS\\fR] "
      "[\\fB\\-\\-\\fR \\fICOMMAND\\fR...]\n";
  out += std::string(".SH DESCRIPTION\n") + kDescription +
         ". It makes volumes whose names begin with dvdi\\-sanity, mounts them, writes small files to them, "
         "and removes "
         "them. Do not point it at a plugin whose volumes you cannot lose. The outcome is written to "
         "standard output as "
         "TAP; each finding says what the protocol says and what clients do.\n";
  out += ".SH OPTIONS\n" + cli::ManOptions(app);
  out += ".SH CHECKS\n";
  for (const Check& check : AllChecks())
    out += ".TP\n\\fB" + TroffText(check.id) + "\\fR\n" + TroffText(check.title) + ".\n";
  out +=
      ".SH EXIT STATUS\n0: nothing was found that was not expected. 1: something was. 2: the command line is "
      "wrong. 3: "
      "the plugin cannot be reached.\n"
      ".SH EXAMPLES\n.nf\ndvdi\\-sanity \\-\\-socket /run/docker/plugins/dvdi.sock \\-\\-create\\-opt "
      "size=64m \\-\\- "
      "/usr/bin/systemctl restart dvdi\\-driver\n.fi\n"
      ".SH SEE ALSO\n\\fBdvdi\\fR(1)\n";
  return out;
}

}  // namespace
}  // namespace dvdi::sanity

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: sanity_man FILE\n");
    return 2;
  }
  std::ofstream file(argv[1], std::ios::binary | std::ios::trunc);
  file << dvdi::sanity::ManPage();
  file.close();
  if (!file.fail()) return 0;
  std::fprintf(stderr, "sanity_man: cannot write %s\n", argv[1]);
  return 1;
}
