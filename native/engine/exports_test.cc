// What the shipped files show and need, read from their bytes: the C ABI and nothing else, the C and C++
// libraries and nothing else, and no way to a shell (promise 5).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

#include "base/testing/elf.h"

namespace {

namespace fs = std::filesystem;
using dvdi::testing::Elf;
using dvdi::testing::Names;
using dvdi::testing::ReadFile;

// Functions that run a shell, or may.
const Names kShells = {"system", "popen", "wordexp", "execlp", "execvp", "execvpe", "posix_spawnp"};

Names ShellsOf(const Elf& elf) {
  Names found;
  for (const auto& name : elf.imported)
    if (kShells.count(name) != 0) found.insert(name);
  return found;
}

TEST(ExportsTest, TheLibraryShowsTheCAbiAndNothingElse) {
  // A sanitizer's runtime puts symbols of its own into what it is built into.
  if (DVDI_TEST_SANITIZED) GTEST_SKIP() << "built with a sanitizer, whose runtime shows symbols";
  std::string map = ReadFile(DVDI_TEST_SOURCE "/native/engine/exports.map");
  Names wanted;
  const std::regex name("dvdi_[a-z_]+");
  for (auto it = std::sregex_iterator(map.begin(), map.end(), name); it != std::sregex_iterator(); ++it)
    wanted.insert(it->str());
  EXPECT_EQ(wanted.size(), 15u);
  EXPECT_EQ(Elf(DVDI_TEST_LIBRARY).exported, wanted);
}

TEST(ExportsTest, EveryFunctionOfTheHeaderIsThere) {
  std::string header = ReadFile(DVDI_TEST_SOURCE "/native/include/dvdi/dvdi.h");
  Names declared;
  const std::regex function("DVDI_API [a-z_ *]*?(dvdi_[a-z_]+)\\(");
  for (auto it = std::sregex_iterator(header.begin(), header.end(), function); it != std::sregex_iterator();
       ++it)
    declared.insert((*it)[1].str());
  EXPECT_EQ(declared.size(), 15u);
  Elf library(DVDI_TEST_LIBRARY);
  for (const auto& name : declared) EXPECT_EQ(library.exported.count(name), 1u) << name;
}

TEST(ExportsTest, TheLibraryNeedsNothingThatANodeMayLack) {
  if (DVDI_TEST_SANITIZED) GTEST_SKIP() << "built with a sanitizer, which needs its runtime";
  for (const auto& name : Elf(DVDI_TEST_LIBRARY).needed) {
    bool base = false;
    for (const char* allowed : {"libstdc++.so.", "libm.so.", "libgcc_s.so.", "libc.so.", "ld-linux"})
      base |= name.starts_with(allowed);
    EXPECT_TRUE(base) << name;
  }
}

TEST(NoShellTest, NoProgramImportsAWayToOne) {
  EXPECT_EQ(ShellsOf(Elf(DVDI_TEST_LIBRARY)), Names());
  EXPECT_EQ(ShellsOf(Elf(DVDI_TEST_DRIVER)), Names());
  Names fork = {"fork", "vfork", "_Fork"};
  for (const auto& name : Elf(DVDI_TEST_LIBRARY).imported)
    EXPECT_EQ(fork.count(name), 0u) << "no fork in an agent: " << name;
}

// What runs other programs, in the sources: each place is known, and gets its arguments as a list.
TEST(NoShellTest, NoSourceCallsOne) {
  const std::regex call("\\b(system|popen|wordexp|execlp|execvp|execvpe|posix_spawnp)\\s*\\(");
  // "bash" alone is a name of completions; nothing here searches a path for a program.
  const std::regex shell("\"(/usr)?/bin/(ba|da)?sh\"|\"sh\"|\"-c\"");
  size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(DVDI_TEST_SOURCE "/native")) {
    std::string path = entry.path().string();
    bool code = path.ends_with(".cc") || path.ends_with(".h");
    bool test = path.ends_with("_test.cc") || path.find("/testing/") != std::string::npos ||
                path.find("test_world") != std::string::npos || path.find("/bench/") != std::string::npos;
    if (!code || test) continue;
    ++files;
    std::ifstream in(path);
    std::string line;
    for (int n = 1; std::getline(in, line); ++n) {
      size_t comment = line.find("//");
      std::string text = line.substr(0, comment);
      // The one that a guard puts in place of what keeps the promise, in a build that does not ship.
      if (path.ends_with("cli/child.cc") && text.find("::execvp(argv[0], argv)") != std::string::npos)
        continue;
      // The names of the shells that there are completions for.
      if (path.ends_with("cli/completion.h") && text.find("constexpr const char* k") != std::string::npos)
        continue;
      EXPECT_FALSE(std::regex_search(text, call) || std::regex_search(text, shell))
          << path << ":" << n << ": " << line;
    }
  }
  EXPECT_GT(files, 80u);
}

}  // namespace
