// `npm run test:asan`, `npm run test:tsan`: the native tests in a build with sanitizers, in a folder of its own.
import { join } from "node:path";

import { COMPILERS } from "./lib/clang.mjs";
import { runSuite, summary } from "./lib/outcome.mjs";
import { ROOT } from "./lib/paths.mjs";
import { setup } from "./lib/setup.mjs";
import { SUITES } from "./lib/suites.mjs";
import { fail } from "./lib/ui.mjs";

const SUPPRESSIONS = join(ROOT, "scripts/lib/tsan-suppressions.txt");
const FOLDERS = { "address,undefined": "asan", thread: "tsan" };
const sanitizer = process.argv[2] ?? "";

const lines = [];
let broken = false;
try {
  const name = FOLDERS[sanitizer];
  if (!name) throw new Error(`a sanitizer of ${Object.keys(FOLDERS).join(" or ")}, not ${JSON.stringify(sanitizer)}`);
  const build = join(ROOT, "build", name);
  const flags = "-O1 -g1";
  const options = {
    ...COMPILERS,
    DVDI_SANITIZE: sanitizer,
    CMAKE_BUILD_TYPE: "Sanitize",
    CMAKE_C_FLAGS_SANITIZE: flags,
    CMAKE_CXX_FLAGS_SANITIZE: flags,
  };
  await setup({ groups: ["build", "run", "test", "clang"], build, options });
  const ctest = SUITES.find((suite) => suite.name === "ctest");
  const env = {
    ASAN_OPTIONS: "detect_leaks=1:abort_on_error=1:strict_string_checks=1",
    UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1",
    // Tests fork too: a driver that breaks off begins threads in the child.
    TSAN_OPTIONS: `halt_on_error=1:die_after_fork=0:second_deadlock_stack=1:suppressions=${SUPPRESSIONS}`,
  };
  lines.push(await runSuite({ ...ctest, name }, { build, match: process.argv[3], env, slower: 4 }));
} catch (error) {
  broken = true;
  fail(error);
}
await summary({ lines, broken });
