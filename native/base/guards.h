// Promise guards: the places where the engine keeps its promises, each with a name, so that a build can leave
// one out and show that a test notices. Never switched off in a build that ships: the switch is a constant at
// compile time.
//
//   if (DVDI_GUARD(volume_in_use) && in_use) return Refused(…);
//
// The names are in base/guards.list; a name that is not in there does not compile.
#ifndef DVDI_BASE_GUARDS_H_
#define DVDI_BASE_GUARDS_H_

// Made by CMake from guards.list: DVDI_GUARD_OFF_<name> is 0 for each name, or 1 for the sources of a guard
// that -DDVDI_GUARDS_OFF names.
#include "dvdi_guards_config.h"

// 1 where the guard `name` is in force, else 0: a constant expression.
#define DVDI_GUARD(name) (!DVDI_GUARD_OFF_##name)

#endif  // DVDI_BASE_GUARDS_H_
