// What a check leaves behind, and a plugin that answers no more.
#include "sanity/context.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "sanity/model.h"

namespace dvdi::sanity {
namespace {

TEST(SanityContextTest, NothingIsLeftOfAVolumeThatIsStillMounted) {
  Model model;
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  Check check;
  Outcome outcome;
  outcome.check = &check;
  std::string name;
  {
    Context context(setup, plugin, &outcome);
    auto given = context.GivenMounted(context.NewId());
    ASSERT_TRUE(given);
    name = given->first;
  }
  EXPECT_TRUE(outcome.found.empty());
  EXPECT_TRUE(plugin.Ask(Method::kGet, name).refused());
}

// After all checks, whatever they found; none of these is what a client would take for an end.
TEST(SanityContextTest, NothingIsLeftOfWhatThePluginRefusesOrDeniesOrForgets) {
  for (const char* fault : {"", "refuses-half-way", "denies", "forgets-mounted", "removes-mounted"}) {
    Model model(fault);
    Plugin plugin(model.address(), 30'000);
    RunSetup setup;
    setup.prefix = "check";
    for (const Check& check : AllChecks()) {
      if (check.id.starts_with("transport.")) continue;
      Outcome outcome;
      outcome.check = &check;
      {
        Context context(setup, plugin, &outcome);
        check.run(context);
      }
      ASSERT_EQ(model.volumes(), 0) << fault << ": " << check.id;
      ASSERT_EQ(model.mounted(), 0) << fault << ": " << check.id;
    }
  }
}

TEST(SanityContextTest, APluginThatAnswersNoMoreIsWaitedForOnceOrRestarted) {
  Model model("sticks");
  Plugin plugin(model.address(), 200);
  RunSetup setup;
  setup.prefix = "check";
  Check check;
  for (bool restart : {false, true}) {
    if (restart) setup.restart = {"/bin/false"};
    Outcome outcome;
    outcome.check = &check;
    const int before = model.held();
    {
      Context context(setup, plugin, &outcome);
      context.Remember(context.Name());
      context.Remember(context.Name());
      if (!restart) {
        std::string name = context.Given().value_or("");
        EXPECT_TRUE(context.Mount(name, context.NewId()).ok());
      }
    }
    EXPECT_TRUE(outcome.stuck) << "there is nothing that restarts it";
    ASSERT_EQ(model.held() - before, 1) << "one call has shown it";
    ASSERT_EQ(outcome.found.size(), 1u);
    EXPECT_NE(outcome.found[0].find("answers no more"), std::string::npos) << outcome.found[0];
  }
}

// What a check that `made` volumes and then ended the plugin comes to, with a command that restarts it or
// none.
Outcome AfterItEnded(int made, const std::vector<std::string>& restart) {
  Model model;
  Plugin plugin(model.address(), 30'000);
  RunSetup setup;
  setup.prefix = "check";
  setup.restart = restart;
  Outcome outcome;
  {
    Context context(setup, plugin, &outcome);
    for (int n = 0; n < made; ++n) EXPECT_TRUE(context.Given());
    EXPECT_TRUE(plugin.Post("/Plugin.Activate", "{}", Method::kActivate).ok());
    model.End();
  }
  return outcome;
}

TEST(SanityContextTest, APluginThatHasEndedAnswersNoMoreWhateverTheCheckMade) {
  for (int made : {0, 1, 2})
    for (const std::vector<std::string>& restart : {std::vector<std::string>{}, {"/bin/false"}}) {
      Outcome outcome = AfterItEnded(made, restart);
      EXPECT_TRUE(outcome.stuck) << made;
      ASSERT_EQ(outcome.found.size(), 1u) << made;
      EXPECT_NE(outcome.found[0].find("answers no more"), std::string::npos) << outcome.found[0];
    }
}

TEST(SanityContextTest, APluginThatHasEndedIsRestartedAndTheNextCheckGoesOn) {
  Model model, again;
  // What stands in for a plugin that is started anew: its socket comes to where the first one's was.
  const std::string from = again.address().path, to = model.address().path;
  for (bool made : {false, true}) {
    Plugin plugin(model.address(), 30'000);
    RunSetup setup;
    setup.prefix = "check";
    setup.restart = {"/bin/ln", "-sf", from, to};
    Outcome outcome;
    {
      Context context(setup, plugin, &outcome);
      if (made) context.Remember(context.Name());
      model.End();
      std::filesystem::remove(to);
    }
    EXPECT_FALSE(outcome.stuck) << made;
    ASSERT_EQ(outcome.found.size(), 1u) << made;
    EXPECT_NE(outcome.found[0].find("answers no more"), std::string::npos) << outcome.found[0];
    Said said = plugin.Post("/Plugin.Activate", "{}", Method::kActivate);
    EXPECT_TRUE(said.ok()) << said.Text();
  }
}

}  // namespace
}  // namespace dvdi::sanity
