// What users write, in every form that `parse` takes, through the shipped blob.
//
// Input: a choice of configuration, then the sources, separated: each a choice of form, with or without an
// origin, and its text, of which the first line is the origin. Of `env` the text has a variable in each line.
#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "base/text.h"
#include "fuzz/fuzz.h"
#include "fuzz/policy.h"

namespace dvdi::fuzz {
namespace {

constexpr size_t kMaxSources = 4;
constexpr const char* kForms[] = {"volume", "mount", "statement", "marathon", "mesos", "env"};

// As `configure` normalizes settings.
constexpr const char* kSettings[] = {
    R"({})",
    R"({"default_driver":"red","defaults":{"access":"multi-writer","create":"never","ownership":"root-dir"}})",
    R"({"pools":[{"name":"fast","driver":"red","options":{"tier":"ssd"},"attributes":{"media":"ssd","iops":9000}},
                 {"name":"slow","driver":"blue","options":{},"attributes":{"media":"hdd","size":"1TiB"}}]})",
};

const Json& Config(size_t choice) {
  static const auto* configs = [] {
    auto* made = new std::array<Json, std::size(kSettings)>;
    auto host = [](std::string_view, std::string_view) { return Result<std::string>(R"({"ok":{}})"); };
    for (size_t i = 0; i < made->size(); ++i) {
      const std::string input =
          std::string(R"({"engine":{"version":"0","abi":1},"settings":)") + kSettings[i] + "}";
      (*made)[i] = Decide("configure", input, host);
      FUZZ_EXPECT(!(*made)[i].is_null(), "the policy takes these settings");
    }
    return made;
  }();
  return (*configs)[choice];
}

Json Source(Input whole) {
  const size_t choice = whole.Choice(2 * std::size(kForms));
  Json source = {{"form", kForms[choice % std::size(kForms)]}};
  std::string_view text = whole.Rest();
  if (choice >= std::size(kForms)) {
    const std::string_view line = text.substr(0, text.find('\n'));
    source["origin"] = line;
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  if (source["form"] != "env") {
    source["text"] = text;
    return source;
  }
  Json& env = source["env"] = Json::object();
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    env[std::string(line.substr(0, equals))] = line.substr(equals + 1);
  }
  return source;
}

void ExpectOneOf(const Json& volume, const char* key, std::initializer_list<const char*> words) {
  const std::string word = GetString(volume, key, "not there");
  FUZZ_EXPECT(std::find(words.begin(), words.end(), word) != words.end(), std::string(key) + " is " + word);
}

// docs/abi.md, VolumeRequest.
void ExpectVolume(const Json& volume) {
  for (const char* key : {"driver", "name", "from"}) {
    FUZZ_EXPECT(!GetString(volume, key).empty(), std::string("no ") + key + ": " + Dump(volume));
    ExpectLine(GetString(volume, key), key);
  }
  for (const char* key : {"container_path", "subpath"}) {
    FUZZ_EXPECT(GetMember(volume, key).is_string(), std::string("no ") + key + ": " + Dump(volume));
    const std::string path = GetString(volume, key);
    ExpectLine(path, key);
    // What leads out of a folder, in the middle of what is joined to one.
    FUZZ_EXPECT(("/" + path + "/").find("/../") == std::string::npos,
                std::string(key) + " leads out: " + path);
  }
  FUZZ_EXPECT(GetString(volume, "subpath").substr(0, 1) != "/", "a subpath is below its volume");
  ExpectOneOf(volume, "mode", {"rw", "ro"});
  ExpectOneOf(volume, "access", {"single-writer", "multi-reader", "multi-writer"});
  ExpectOneOf(volume, "create", {"never", "if-missing"});
  ExpectOneOf(volume, "ownership", {"none", "root-dir", "idmap", "recursive"});
  const Json& options = GetMember(volume, "options");
  FUZZ_EXPECT(options.is_object(), "options: " + Dump(volume));
  std::set<std::string> names;
  for (const auto& [key, value] : options.items()) {
    FUZZ_EXPECT(value.is_string() || !GetString(value, "secret").empty(),
                "option " + key + ": " + Dump(value));
    std::string name = key;
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    FUZZ_EXPECT(names.insert(name).second, "an option in two spellings: " + Dump(options));
  }
}

}  // namespace
}  // namespace dvdi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dvdi;
  using namespace dvdi::fuzz;
  Input input(data, size);
  Json asked = {{"config", Config(input.Choice(std::size(kSettings)))}, {"sources", Json::array()}};
  while (!input.empty() && asked["sources"].size() < kMaxSources) {
    const std::string_view part = input.Part();
    asked["sources"].push_back(Source(Input(reinterpret_cast<const uint8_t*>(part.data()), part.size())));
  }
  auto host = [](std::string_view name, std::string_view) {
    FUZZ_EXPECT(name == "log" || name == "now", "parse calls " + std::string(name));
    return Result<std::string>(R"({"ok":{"unix_ms":1700000000000,"left_ms":60000}})");
  };
  const Json answer = Decide("parse", Dump(asked), host);
  if (answer.is_null()) return 0;
  FUZZ_EXPECT(GetMember(answer, "volumes").is_array() && GetMember(answer, "notes").is_array(), Dump(answer));
  for (const Json& volume : answer["volumes"]) ExpectVolume(volume);
  for (const Json& note : answer["notes"]) {
    FUZZ_EXPECT(note.is_string(), "a note is text");
    ExpectLine(note.get_ref<const std::string&>(), "a note");
  }
  return 0;
}
