// dvdi_man FOLDER: writes the man pages and the completion scripts, at build time.
#include <cstdio>
#include <fstream>
#include <string>

#include "cli/command.h"
#include "cli/completion.h"
#include "cli/man.h"

namespace {

bool Write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file.fail()) return true;
  std::fprintf(stderr, "dvdi_man: cannot write %s\n", path.c_str());
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: dvdi_man FOLDER\n");
    return 2;
  }
  std::string folder = argv[1];
  bool ok = Write(folder + "/dvdcli.1", dvdi::cli::DvdcliManPage(DVDI_VERSION));
  dvdi::cli::WithCommandTree([&](const CLI::App& app) {
    ok &= Write(folder + "/dvdi.1", dvdi::cli::DvdiManPage(app, DVDI_VERSION));
    ok &= Write(folder + "/dvdi.bash", dvdi::cli::CompletionScript(app, dvdi::cli::kBash));
    ok &= Write(folder + "/_dvdi", dvdi::cli::CompletionScript(app, dvdi::cli::kZsh));
    ok &= Write(folder + "/dvdi.fish", dvdi::cli::CompletionScript(app, dvdi::cli::kFish));
  });
  return ok ? 0 : 1;
}
