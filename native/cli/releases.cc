#include "cli/releases.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "cli/print.h"
#include "cli/progress.h"

namespace dvdi::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLongestPause{50};

// Why the volume is not released; "" where nothing has been answered yet, none where it is released, or used
// again.
std::optional<std::string> WhyNot(Engine* engine, const std::string& driver, const std::string& name) {
  auto answer = engine->Ask(dvdi_status, {{"what", "volumes"}, {"driver", driver}, {"name", name}});
  if (!answer.ok()) return ErrorLine(answer.status());
  for (const auto& volume : GetMember(*answer, "volumes"))
    if (GetString(volume, "state") == "releasing") return GetString(volume, "error");
  return std::nullopt;
}

}  // namespace

int AwaitReleases(Engine* engine, const Json& cleaned, int wait_ms) {
  const auto deadline = Clock::now() + milliseconds(wait_ms);
  auto left = [&] {
    return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(deadline - Clock::now()));
  };
  Progress progress("releasing volumes");
  milliseconds pause(1);
  for (const auto& pending : GetMember(cleaned, "pending")) {
    const std::string driver = GetString(pending, "driver"), name = GetString(pending, "name");
    std::string why = GetString(pending, "why");
    if (!name.empty()) {
      auto state = WhyNot(engine, driver, name);
      while (state.has_value() && state->empty() && left() > milliseconds(0)) {
        std::this_thread::sleep_for(std::min(pause, left()));
        pause = std::min(2 * pause, kLongestPause);
        progress.Tick();
        state = WhyNot(engine, driver, name);
      }
      if (!state.has_value()) continue;
      why = state->empty() ? "its driver has not answered yet" : *state;
    }
    progress.Clear();
    PrintNote("note: " +
              (name.empty() ? "not all is released" : name + " (driver " + driver + ") is not released") +
              " yet: " + why + ". `dvdi recover` tries again");
  }
  return static_cast<int>(left().count());
}

}  // namespace dvdi::cli
