// `npm run test:mesos -- --mesos-root=DIR [--match REGEX] [--figures]`: builds the module for the installation of Apache Mesos at DIR, and
// runs it in real agents (docs/mesos.md). DIR has include/, lib/, sbin/ and libexec/.
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { flagsOf } from "./lib/flags.mjs";
import { runSuite, summary } from "./lib/outcome.mjs";
import { ROOT } from "./lib/paths.mjs";
import { setup } from "./lib/setup.mjs";
import { MESOS_SUITE, SUITES } from "./lib/suites.mjs";
import { fail, StepError } from "./lib/ui.mjs";

const flags = flagsOf({
  "mesos-root": { type: "string" },
  match: { type: "string" },
  figures: { type: "boolean" },
});

const lines = [];
let broken = false;
try {
  const root = flags["mesos-root"] ?? process.env.MESOS_ROOT;
  if (!root)
    throw new StepError("no installation of Apache Mesos is named", { hint: "npm run test:mesos -- --mesos-root=DIR" });
  // CMake leaves the module out where it has no headers, and ninja then knows no such target.
  if (!existsSync(join(root, "include/mesos/slave/isolator.hpp"))) {
    throw new StepError(`there is no Apache Mesos at ${resolve(root)}: it has no include/mesos/slave/isolator.hpp`, {
      hint: "name the folder that it was installed into, with include/, lib/, sbin/ and libexec/: --mesos-root=DIR",
    });
  }
  // A folder of its own: what is built elsewhere stays without the module.
  const build = join(ROOT, "build/mesos");
  const targets = ["dvdi_mesos", "dvdi_mesos_test", "dvdi", "dvdi-driver", "dvdi-helper"];
  const options = { MESOS_ROOT: resolve(root) };
  await setup({ groups: ["build", "run", "test"], build, options, targets });
  process.env.DVDI_MESOS_ROOT = resolve(root);
  if (flags.figures) {
    process.env.DVDI_MESOS_FIGURES = "1";
    flags.match = "^figures$";
  }
  const ctest = SUITES.find((suite) => suite.name === "ctest");
  const units = "^(ModuleTest|OptionsTest|PrepareTest|AnswerTest|EndTest|SamplesTest|ScopesTest)\\.";
  if (!flags.match) lines.push(await runSuite({ ...ctest, name: "module" }, { build, match: units }));
  lines.push(await runSuite(MESOS_SUITE, { build, match: flags.match }));
  if (flags.figures) process.stdout.write(readFileSync(join(build, "mesos-figures.json"), "utf8"));
} catch (error) {
  broken = true;
  fail(error);
}
await summary({ lines, broken });
