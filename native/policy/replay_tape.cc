#include "policy/replay_tape.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dvdi {
namespace {

// The list that a host call is made of, and that of its answers; null for imports that have none.
struct Lists {
  const char* asked = nullptr;
  const char* answered = nullptr;
};

Lists ListsOf(std::string_view import) {
  if (import == "plugin_call") return {"calls", "answers"};
  if (import == "stage") return {"stages", "stages"};
  return {};
}

// The items of a request; null where it is one item as a whole.
const Json* ItemsOf(std::string_view import, const Json& request) {
  const Lists lists = ListsOf(import);
  if (lists.asked == nullptr) return nullptr;
  const Json& items = GetMember(request, lists.asked);
  const bool objects = items.is_array() && !items.empty() &&
                       std::all_of(items.begin(), items.end(), [](const Json& i) { return i.is_object(); });
  return objects ? &items : nullptr;
}

// Numbers are equal where their values are.
void Canonical(Json* value) {
  if (value->is_structured()) {
    for (Json& member : *value) Canonical(&member);
  } else if (value->is_number_float()) {
    const auto number = value->get<double>();
    if (std::abs(number) < 9e15 && std::trunc(number) == number) *value = static_cast<int64_t>(number);
  }
}

// An item as it is compared.
Json Compared(std::string_view import, Json item) {
  if (import == "plugin_call" && item.is_object()) item.erase("timeout_ms");
  if (import == "stage" && item.is_object()) {
    Json full = {
        {"read_only", false}, {"nosuid", true}, {"nodev", true}, {"subpath", ""}, {"ownership", "none"}};
    full.update(item);
    item = std::move(full);
  }
  Canonical(&item);
  return item;
}

std::string KeyOf(std::string_view import, const Json& item) {
  return std::string(import) + " " + Dump(item);
}

std::string WholeKey(std::string_view import, Json request) {
  Canonical(&request);
  return "whole " + KeyOf(import, request);
}

Json Shown(std::string_view import, const Json& item) {
  Json shown = {{"call", std::string(import)}};
  if (item.is_object())
    shown.update(item);
  else
    shown["request"] = item;
  return shown;
}

bool IsEffect(std::string_view import, const Json& item) {
  if (import == "stage") return true;
  const std::string method = GetString(item, "method");
  return import == "plugin_call" && (method == "Create" || method == "Mount");
}

}  // namespace

const char* AlwaysAnswered(std::string_view import) {
  return import == "log" || import == "sleep" ? "{\"ok\":{}}" : nullptr;
}

ReplayTape::ReplayTape(const Json& calls) {
  if (calls.is_array())
    for (const Json& call : calls)
      Record(GetString(call, "call"), GetMember(call, "request"), GetMember(call, "answer"));
  for (auto& [key, list] : unused_) std::reverse(list.begin(), list.end());
}

void ReplayTape::Record(const std::string& import, const Json& request, const Json& answer) {
  const Json& ok = GetMember(answer, "ok");
  if (!ok.is_null()) {
    const Json* items = ItemsOf(import, request);
    if (items == nullptr) {
      Json item = Compared(import, request);
      const std::string key = KeyOf(import, item);
      return Add(key, Shown(import, item), ok, IsEffect(import, item));
    }
    const Json& answers = GetMember(ok, ListsOf(import).answered);
    if (answers.is_array() && answers.size() == items->size()) {
      for (size_t i = 0; i < items->size(); ++i) {
        Json item = Compared(import, (*items)[i]);
        const std::string key = KeyOf(import, item);
        Add(key, Shown(import, item), answers[i], IsEffect(import, item));
      }
      return;
    }
  }
  Add(WholeKey(import, request), Shown(import, request), answer, false);
}

void ReplayTape::Add(const std::string& key, Json item, Json answer, bool effect) {
  unused_[key].push_back(recorded_.size());
  recorded_.push_back({std::move(item), std::move(answer), effect, false});
}

const Json* ReplayTape::Take(const std::string& key) {
  auto it = unused_.find(key);
  if (it == unused_.end() || it->second.empty()) return nullptr;
  Recorded& next = recorded_[it->second.back()];
  it->second.pop_back();
  next.used = true;
  return &next.answer;
}

std::optional<Json> ReplayTape::Answer(std::string_view import, std::string_view text) {
  if (const char* always = AlwaysAnswered(import)) return Json::parse(always);
  auto parsed = ParseJson(text, "a request");
  // As the recorder keeps what is no JSON.
  const Json request = parsed.ok() ? std::move(*parsed) : Json(std::string(text));
  if (const Json* whole = Take(WholeKey(import, request))) return *whole;
  const Json* items = ItemsOf(import, request);
  const Json one = items == nullptr ? Json::array({request}) : Json();
  Json answers = Json::array();
  for (const Json& raw : items == nullptr ? one : *items) {
    const Json item = Compared(import, raw);
    const Json* answer = Take(KeyOf(import, item));
    if (answer == nullptr) {
      ended_ = Shown(import, item);
      ended_by_effect_ = IsEffect(import, item);
      return std::nullopt;
    }
    answers.push_back(*answer);
  }
  if (items == nullptr) return Json{{"ok", std::move(answers[0])}};
  return Json{{"ok", {{ListsOf(import).answered, std::move(answers)}}}};
}

Json ReplayTape::FirstMissing() const {
  for (const Recorded& r : recorded_)
    if (r.effect && !r.used) return r.item;
  return Json();
}

}  // namespace dvdi
