// The checks against a plugin that can be told to be wrong: a good one has no finding, and each fault is
// found.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "sanity/context.h"
#include "sanity/model.h"

namespace dvdi::sanity {
namespace {

// The ids of the checks that found something.
std::set<std::string> Found(const std::string& fault, const std::string& only = "") {
  Model model(fault);
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  setup.restart = model.restart();
  std::set<std::string> out;
  for (const Check& check : AllChecks()) {
    if (!only.empty() && check.id != only) continue;
    Outcome outcome;
    outcome.check = &check;
    {
      Context context(setup, plugin, &outcome);
      check.run(context);
    }
    if (outcome.found.empty()) continue;
    out.insert(check.id);
  }
  return out;
}

class GoodTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GoodTest, HasNoFinding) {
  // The server of these tests does not read chunked requests; that this is found is the test of that check.
  Model model(GetParam());
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  for (const Check& check : AllChecks()) {
    Outcome outcome;
    outcome.check = &check;
    {
      Context context(setup, plugin, &outcome);
      check.run(context);
    }
    bool chunked = check.id == "transport.chunked";
    EXPECT_EQ(outcome.found.empty(), !chunked)
        << check.id << ": " << (outcome.found.empty() ? "nothing" : outcome.found[0]);
    EXPECT_EQ(!outcome.skipped.empty(), check.id.starts_with("restart."))
        << check.id << ": " << outcome.skipped;
  }
}

// One that refuses odd names, and one to which every name is a name.
INSTANTIATE_TEST_SUITE_P(Sanity, GoodTest, ::testing::Values("", "any-name"));

// What each check comes to where no folder can be looked into.
std::map<std::string, Outcome::Kind> WithoutFiles(const std::string& fault) {
  Model model(fault);
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  setup.look_inside = false;
  std::map<std::string, Outcome::Kind> out;
  for (const Check& check : AllChecks()) {
    if (!check.id.starts_with("mount.") && !check.id.starts_with("volume.") && !check.id.starts_with("load."))
      continue;
    Outcome outcome;
    outcome.check = &check;
    {
      Context context(setup, plugin, &outcome);
      check.run(context);
    }
    out[check.id] = outcome.kind();
  }
  return out;
}

TEST(SanityChecksTest, WhereNoFileIsLookedIntoNoCheckSaysThatItHas) {
  using Kind = Outcome::Kind;
  auto good = WithoutFiles("");
  for (const char* looks :
       {"volume.create-keeps-data", "volume.remove-data", "mount.mount", "mount.two-volumes",
        "load.mounts-of-one", "load.mounts-of-many", "mount.data", "mount.one-id-twice", "mount.two-ids",
        "mount.unknown-id", "mount.unmount-twice", "mount.remove-mounted", "mount.create-mounted"})
    EXPECT_EQ(good[looks], Kind::kSkipped) << looks;
  for (const char* asks : {"volume.create", "volume.remove", "mount.tell", "mount.no-id",
                           "mount.never-mounted", "load.creates", "load.one-name"})
    EXPECT_EQ(good[asks], Kind::kPassed) << asks;
  EXPECT_EQ(WithoutFiles("counts")["mount.one-id-twice"], Kind::kFound) << "answers tell it";
}

TEST(SanityChecksTest, APluginThatKnowsAllAfterARestartHasNoFinding) {
  Model model;
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  setup.restart = model.restart();
  for (const Check& check : RestartChecks()) {
    Outcome outcome;
    outcome.check = &check;
    {
      Context context(setup, plugin, &outcome);
      check.run(context);
    }
    EXPECT_EQ(outcome.kind(), Outcome::Kind::kPassed)
        << check.id << ": " << outcome.skipped << (outcome.found.empty() ? "" : outcome.found[0]);
  }
}

struct Fault {
  const char* fault;
  const char* check;
};

class FaultTest : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultTest, IsFound) {
  EXPECT_TRUE(Found(GetParam().fault, GetParam().check).contains(GetParam().check));
}

INSTANTIATE_TEST_SUITE_P(
    Sanity, FaultTest,
    ::testing::Values(
        Fault{"not-a-volume-driver", "protocol.activate"}, Fault{"text-plain", "protocol.content-type"},
        Fault{"odd-scope", "protocol.capabilities"}, Fault{"yes-to-all", "protocol.unknown-method"},
        Fault{"believes-anything", "protocol.not-json"}, Fault{"believes-anything", "protocol.wrong-types"},
        Fault{"believes-anything", "protocol.empty-name"}, Fault{"strict", "protocol.unknown-field"},
        Fault{"html-errors", "protocol.err-in-json"}, Fault{"odd-time", "protocol.field-types"},
        Fault{"empty-time", "protocol.field-types"}, Fault{"no-such-month", "protocol.field-types"},
        Fault{"list-names", "protocol.field-types"}, Fault{"list-odd-time", "protocol.field-types"},
        Fault{"odd-status-mounted", "protocol.field-types"}, Fault{"get-finds-all", "unknown.get"},
        Fault{"empty-mountpoint", "unknown.mount"}, Fault{"mount-creates", "unknown.mount"},
        Fault{"html-errors", "unknown.unmount"}, Fault{"html-errors", "unknown.remove"},
        Fault{"list-nothing", "volume.create"}, Fault{"create-wipes", "volume.create-keeps-data"},
        Fault{"remove-fails", "volume.remove"}, Fault{"keeps-data", "volume.remove-data"},
        Fault{"shared", "mount.two-volumes"}, Fault{"shared", "load.mounts-of-many"},
        Fault{"loses-count", "load.mounts-of-one"}, Fault{"elsewhere", "mount.mount"},
        Fault{"no-tell", "mount.tell"}, Fault{"forgets-data", "mount.data"},
        Fault{"counts", "mount.one-id-twice"}, Fault{"one-user", "mount.two-ids"},
        Fault{"one-unmount", "mount.two-ids"}, Fault{"moves", "mount.two-ids"},
        Fault{"still-tells", "mount.released"}, Fault{"stays-mounted", "mount.released"},
        Fault{"any-id", "mount.unknown-id"}, Fault{"no-id-no-mount", "mount.no-id"},
        Fault{"removes-mounted", "mount.remove-mounted"}, Fault{"create-resets", "mount.create-mounted"},
        Fault{"path-joins", "name.dot-dot"}, Fault{"joins-folders", "name.dot-dot"},
        Fault{"half-done", "name.slash"}, Fault{"half-done", "name.newline"},
        Fault{"one-user", "load.mounts-of-one"}, Fault{"list-nothing", "load.creates"},
        Fault{"list-nothing", "load.one-name"}, Fault{"restart-forgets", "restart.knows"},
        Fault{"restart-unmounts", "restart.in-use"}, Fault{"restart-forgets-users", "restart.tell"},
        Fault{"restart-new-ids", "restart.unmount"}, Fault{"restart-forgets-users", "restart.users"},
        Fault{"restart-keeps-one", "restart.two-ids"},
        Fault{"restart-forgets-users", "restart.remove-mounted"}, Fault{"elsewhere", "load.mounts-of-many"}),
    [](const auto& info) {
      std::string name = std::string(info.param.fault) + "_" + info.param.check;
      for (char& c : name)
        if (c == '-' || c == '.') c = '_';
      return name;
    });

TEST(SanityChecksTest, IdsAreUniqueAndEachSaysWhatItIsAbout) {
  std::set<std::string> ids;
  for (const Check& check : AllChecks()) {
    EXPECT_TRUE(ids.insert(check.id).second) << check.id;
    EXPECT_NE(check.id.find('.'), std::string::npos) << check.id;
    EXPECT_FALSE(check.title.empty() || check.protocol.empty() || check.clients.empty()) << check.id;
  }
}

}  // namespace
}  // namespace dvdi::sanity
