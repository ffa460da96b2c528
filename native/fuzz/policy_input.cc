// The policy's exports and the answers to its host calls as bytes, through the shipped blob: what an engine
// of another version, a record that is replayed, or a plugin may put before it.
//
// Input: a choice of export, its input, then the answers to its host calls, separated. Where there are no
// more, a host call is answered with an error.
#include "base/text.h"
#include "fuzz/fuzz.h"
#include "fuzz/policy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dvdi;
  using namespace dvdi::fuzz;
  static constexpr const char* kExports[] = {"configure", "parse", "prepare", "cleanup", "recover", "canary"};
  Input input(data, size);
  const std::string name = kExports[input.Choice(std::size(kExports))];
  // What is not UTF-8 does not get as far as the policy.
  if (!IsValidUtf8(input.left())) return 0;
  const std::string text(input.Part());
  auto host = [&](std::string_view called, std::string_view request) -> Result<std::string> {
    FUZZ_EXPECT(ParseJson(request, "request").ok(), "a request to " + std::string(called) + " is no JSON");
    Saw("call " + std::string(called));
    if (input.empty()) return std::string(R"({"error":{"code":"timeout","message":"the end"}})");
    return std::string(input.Part());
  };
  (void)Decide(name, text, host);
  return 0;
}
