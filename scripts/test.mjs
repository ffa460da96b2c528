// `npm test [-- --suite NAME] [--match REGEX] [--note TEXT]`: set-up, then every suite. The last line is the total.
import { flagsOf } from "./lib/flags.mjs";
import { runSuite, summary } from "./lib/outcome.mjs";
import { NATIVE } from "./lib/paths.mjs";
import { setup } from "./lib/setup.mjs";
import { SUITES } from "./lib/suites.mjs";
import { fail, StepError } from "./lib/ui.mjs";

const flags = flagsOf({
  suite: { type: "string", multiple: true },
  match: { type: "string" },
  // A failure from before, said again where it is seen (.ci/run).
  note: { type: "string" },
});

const lines = [];
let broken = false;
try {
  const names = SUITES.map((suite) => suite.name);
  const unknown = flags.suite?.filter((name) => !names.includes(name)) ?? [];
  if (unknown.length > 0) {
    throw new StepError(`there is no suite ${unknown.join(", ")}`, { hint: `suites: ${names.join(", ")}` });
  }
  await setup({ groups: ["build", "run", "test", "clang"], house: true, wild: true, plugins: true });
  for (const suite of SUITES.filter(({ name }) => !flags.suite || flags.suite.includes(name))) {
    lines.push(await runSuite(suite, { build: NATIVE, match: flags.match }));
  }
} catch (error) {
  broken = true;
  fail(error);
}
await summary({ lines, broken, note: flags.note });
