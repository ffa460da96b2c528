// `npm run crash [-- --scenario REGEX] [--at REGEX] [--lanes N] [--times N] [--first]`: kills `dvdi` at every passage of every crash point in every
// scenario (docs/testing.md); `--at "acted 1 umount"` chooses deaths, and each is repeated alone by its whole name. `--times 3`
// dies each death three times; `--first` dies at each point's first passage in the first scenario that has it, as CI does.
import { flagsOf } from "./lib/flags.mjs";
import { runSuite, summary } from "./lib/outcome.mjs";
import { NATIVE } from "./lib/paths.mjs";
import { setup } from "./lib/setup.mjs";
import { CRASH_SUITE } from "./lib/suites.mjs";
import { fail, StepError } from "./lib/ui.mjs";

const flags = flagsOf({
  scenario: { type: "string" },
  at: { type: "string" },
  lanes: { type: "string" },
  times: { type: "string" },
  first: { type: "boolean" },
});

const lines = [];
let broken = false;
try {
  for (const name of ["lanes", "times"]) {
    const n = Number(flags[name] ?? 1);
    if (!Number.isSafeInteger(n) || n < 1)
      throw new StepError(`--${name} ${flags[name]}: a whole number from 1 on is accepted`);
  }
  await setup({ groups: ["build", "run", "test"], house: true, plugins: true });
  if (!flags.first) process.env.DVDI_CRASH_ALL = "1";
  if (flags.times) process.env.DVDI_CRASH_TIMES = flags.times;
  if (flags.at) process.env.DVDI_CRASH_ONLY = flags.at;
  if (flags.lanes) process.env.DVDI_CRASH_LANES = flags.lanes;
  // Of what is chosen by name something has to be there.
  const every = flags.at ? "|^a death is died" : flags.scenario ? "" : "|^every crash point";
  const match = `^killed at every point: .*(${flags.scenario ?? ""})${every}`;
  lines.push(await runSuite(CRASH_SUITE, { build: NATIVE, match }));
} catch (error) {
  broken = true;
  fail(error);
}
await summary({ lines, broken });
