// What tests of the release of volumes share.
#ifndef DVDI_ENGINE_TESTING_RELEASE_H_
#define DVDI_ENGINE_TESTING_RELEASE_H_

#include <string>

#include "engine/testing/sim_engine.h"

namespace dvdi {

class ReleaseTest : public SimEngineTest {
 protected:
  Json Pending() { return Ask("summary")["pending"]; }
  std::string IdOf(const std::string& driver, const std::string& name) {
    return GetString(Known(driver, name), "id");
  }
  // Drivers answer this to Unmount.
  void AnswerUnmount(PluginReply reply) {
    transport_.hook = [reply](const std::string& method, const PluginRequest&, PluginReply* out) {
      *out = reply;
      return method == "Unmount";
    };
  }
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_TESTING_RELEASE_H_
