// Policies of real Wasm in the simulated world: scripted blobs, installed as an operator does it.
#ifndef DVDI_ENGINE_TESTING_POLICY_BLOBS_H_
#define DVDI_ENGINE_TESTING_POLICY_BLOBS_H_

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/text.h"
#include "engine/testing/sim_engine.h"
#include "policy/test_blobs.h"

namespace dvdi {

class PolicyBlobsTest : public SimEngineTest {
 protected:
  PolicyBlobsTest() { stock_ = true; }

  // Steps of a sound policy for the volumes red/a, red/b, …, which are there.
  static ScriptSteps ParseSteps(int volumes = 1) {
    Json list = Json::array();
    for (int i = 0; i < volumes; ++i)
      list.push_back(Volume("red", std::string(1, static_cast<char>('a' + i))));
    return {{'a', Dump({{"ok", {{"volumes", list}, {"notes", Json::array()}}}})}};
  }
  static ScriptSteps PrepareSteps(int volumes = 1, bool read_only = false) {
    ScriptSteps steps;
    Json list = Json::array();
    for (int i = 0; i < volumes; ++i) {
      steps.push_back({'c', Dump({{"calls", {{{"method", "Mount"}, {"volume", i}}}}})});
      steps.push_back({'s', Dump({{"stages", {{{"volume", i}, {"read_only", read_only}}}}})});
      list.push_back({{"index", i}, {"what", "re-attached"}, {"message", "here"}});
    }
    steps.push_back({'a', Dump({{"ok", {{"volumes", list}, {"notes", Json::array()}}}})});
    return steps;
  }
  static std::string Sound(const std::string& version) {
    return ScriptBlob(ParseSteps(), PrepareSteps(), version);
  }
  // One that fails where the workload's text has `word` in it; everywhere where that is "".
  static std::string Trapping(const std::string& version, const std::string& word, char how = 't') {
    ScriptSteps parse = ParseSteps();
    parse.insert(parse.begin(), {{'?', word}, {how, ""}});
    return ScriptBlob(parse, PrepareSteps(), version);
  }

  std::string File(const std::string& bytes) {
    const std::string path = root_ + "/" + Sha256Hex(bytes).substr(0, 8) + ".wasm";
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  // {"ok": …} or {"error": …}
  Json Verb(const std::string& verb, Json request = Json::object()) {
    request["verb"] = verb;
    auto answer = engine().Policy(request);
    if (answer.ok()) return {{"ok", *answer}};
    return {{"error", Json::parse(answer.status().ToJson())}};
  }
  Json Install(const std::string& blob, Json more = Json::object()) {
    more["path"] = File(blob);
    return Verb("install", more);
  }
  // A workload that says `text`, as scope `scope`; it is cleaned up where it began.
  Json Workload(const std::string& scope, const std::string& text = "") {
    Json answer = Prepare(scope, {}, {{"sources", {{{"form", "statement"}, {"text", text}}}}});
    if (answer.contains("ok")) Cleanup(scope);
    return answer;
  }
  std::string Active() {
    auto revision = engine().core().policy->Current();
    return revision.ok() ? (*revision)->module->manifest().version : revision.status().message();
  }
  std::string Audit() const {
    std::ifstream in(settings_.state_dir + "/audit.log");
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
};

}  // namespace dvdi

#endif  // DVDI_ENGINE_TESTING_POLICY_BLOBS_H_
