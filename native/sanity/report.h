// Outcomes as TAP 14 and as JUnit's XML.
#ifndef DVDI_SANITY_REPORT_H_
#define DVDI_SANITY_REPORT_H_

#include <string>
#include <vector>

#include "sanity/check.h"

namespace dvdi::sanity {

// "TAP version 14" and the plan.
std::string TapHead(size_t checks);
// Test point `number` (from 1). An expected finding is a TODO; a stale expectation is "not ok".
std::string TapPoint(size_t number, const Outcome& outcome);
// One document. What is expected or skipped is <skipped>.
std::string JunitXml(const std::vector<Outcome>& outcomes, const std::string& suite);
// "42 checks: 40 passed, 1 found, 1 skipped", for people.
std::string Summary(const std::vector<Outcome>& outcomes);
// Nothing found that was not expected, and nothing expected that was not found.
bool Clean(const std::vector<Outcome>& outcomes);

}  // namespace dvdi::sanity

#endif  // DVDI_SANITY_REPORT_H_
