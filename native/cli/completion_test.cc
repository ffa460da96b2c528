#include "cli/completion.h"

#include "cli/man.h"
#include "cli/options.h"
#include "cli/testing/harness.h"

namespace dvdi::cli {
namespace {

std::string Script(const std::string& shell) {
  std::string out;
  WithCommandTree([&](const CLI::App& app) { out = CompletionScript(app, shell); });
  return out;
}

// Bash's answer to a Tab behind these words, with a `dvdi` that knows three volumes and two drivers.
class BashCompletion : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    if (::access("/bin/bash", X_OK) != 0) GTEST_SKIP() << "there is no bash";
    MakeFolder("bin");
    WriteFile("bin/dvdi",
              "#!/bin/sh\n"
              "case \"$2\" in\n"
              "volumes) printf '%s\\n' data database 'odd $(touch " +
                  Path("evaluated") +
                  ")' ;;\n"
                  "drivers) printf '%s\\n' nfs rexray ;;\n"
                  "esac\n");
    ASSERT_EQ(::chmod(Path("bin/dvdi").c_str(), 0755), 0);
    WriteFile("completion", Script("bash"));
  }
  std::string Tab(const std::vector<std::string>& words) {
    std::string line = "COMP_WORDS=(";
    for (const auto& word : words) line += "'" + word + "' ";
    WriteFile("ask", "PATH=" + Path("bin") + ":$PATH; source " + Path("completion") + "; " + line +
                         "); COMP_CWORD=" + std::to_string(words.size() - 1) +
                         "; _dvdi; printf '%s|' \"${COMPREPLY[@]}\"\n");
    return Output("/bin/bash --norc " + Path("ask"));
  }
  static std::string Output(const std::string& command) {
    FILE* pipe = ::popen(command.c_str(), "re");
    std::string out;
    char buffer[4096];
    for (size_t n; pipe != nullptr && (n = ::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
      out.append(buffer, n);
    EXPECT_EQ(pipe == nullptr ? -1 : ::pclose(pipe), 0) << command;
    return out;
  }
};

TEST_F(BashCompletion, Verbs) {
  EXPECT_EQ(Tab({"dvdi", "ins"}), "inspect |");
  EXPECT_NE(Tab({"dvdi", ""}).find("prune |"), std::string::npos);
  EXPECT_EQ(Tab({"dvdi", "policy", ""}),
            "install |activate |shadow |rollback |ls |inspect |history |bar |unbar |");
  EXPECT_EQ(Tab({"dvdi", "oci", ""}), "hook |bundle |");
  EXPECT_EQ(Tab({"dvdi", "oci", "bundle", "/usr/lib/dpk"}), "/usr/lib/dpkg|");
}

TEST_F(BashCompletion, VolumesAndDrivers) {
  EXPECT_EQ(Tab({"dvdi", "rm", "da"}), "data |database |");
  EXPECT_EQ(Tab({"dvdi", "rm", "data", "datab"}), "database |");
  EXPECT_EQ(Tab({"dvdi", "inspect", "--driver", ""}), "nfs |rexray |");
  EXPECT_EQ(Tab({"dvdi", "inspect", "--driver", "=", "r"}), "rexray |");
  EXPECT_EQ(Tab({"dvdi", "run", "-v", "dat"}), "data:|database:|");
  EXPECT_EQ(Tab({"dvdi", "run", "-v", "data:/x"}), "|");
  EXPECT_EQ(Tab({"dvdi", "--json", "completion", "z"}), "zsh |");
}

TEST_F(BashCompletion, ANameIsNeverEvaluated) {
  std::string offered = Tab({"dvdi", "rm", "odd"});
  EXPECT_NE(offered.find("\\$\\(touch"), std::string::npos) << offered;
  EXPECT_NE(::access(Path("evaluated").c_str(), F_OK), 0);
}

TEST_F(BashCompletion, Options) {
  EXPECT_EQ(Tab({"dvdi", "fence", "data", "--node-"}), "--node-is-dead |");
  EXPECT_EQ(Tab({"dvdi", "ls", "--q"}), "--quiet |");
  EXPECT_EQ(Tab({"dvdi", "ls", "--filter", "x"}), "|");
  EXPECT_NE(Tab({"dvdi", "ls", "-"}).find("--json |"), std::string::npos);
}

TEST(CompletionScripts, KnowEveryVerb) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    std::string script = Script(shell);
    for (const char* word :
         {"prune", "inspect", "fence", "node-is-dead", "dvdi names volumes", "dvdi names drivers"})
      EXPECT_NE(script.find(word), std::string::npos) << shell << " " << word;
    // What is hidden is not offered.
    EXPECT_EQ(script.find("-a names -d"), std::string::npos);
  }
}

TEST_F(BashCompletion, ZshReadsItsScript) {
  if (::access("/usr/bin/zsh", X_OK) != 0) GTEST_SKIP() << "there is no zsh";
  WriteFile("zsh", Script("zsh"));
  EXPECT_EQ(::system(("/usr/bin/zsh -f -n " + Path("zsh")).c_str()), 0);
}

TEST_F(BashCompletion, FishOffersTheSame) {
  if (::access("/usr/bin/fish", X_OK) != 0) GTEST_SKIP() << "there is no fish";
  WriteFile("fish", Script("fish"));
  auto offered = [&](const std::string& line) {
    return Output("HOME=" + Path("home") + " PATH=" + Path("bin") +
                  ":$PATH /usr/bin/fish --no-config -c 'source " + Path("fish") + "; complete -C \"" + line +
                  "\"'");
  };
  EXPECT_EQ(offered("dvdi rm da"), "data\ndatabase\n");
  EXPECT_EQ(offered("dvdi insp").substr(0, 8), "inspect\t");
  EXPECT_NE(offered("dvdi inspect --driver n").find("nfs"), std::string::npos);
  EXPECT_NE(::access(Path("evaluated").c_str(), F_OK), 0);
}

TEST(ManPages, AreMadeOfTheHelp) {
  std::string page;
  WithCommandTree([&](const CLI::App& app) { page = DvdiManPage(app, "1.2.3"); });
  for (const char* part :
       {".TH DVDI 1", ".SS prune\n", ".SS policy install\n", "\\fB\\-\\-node\\-is\\-dead\\fR",
        "Take a volume away from another node", ".SH EXIT STATUS"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  EXPECT_EQ(page.find(".SS names"), std::string::npos);
  page = DvdcliManPage("1.2.3");
  EXPECT_NE(page.find("\\-\\-volumeopts=KEY=VALUE"), std::string::npos);
}

TEST(ManPages, TextIsNoRequest) {
  EXPECT_EQ(TroffText(".so /etc/passwd"), "\\&.so /etc/passwd");
  EXPECT_EQ(TroffText("a\\fB-b"), "a\\efB\\-b");
  EXPECT_EQ(TroffText("x\n'y"), "x\n\\&\\(aqy");
}

}  // namespace
}  // namespace dvdi::cli
