// `npm run soak -- [--seeds N] [--from SEED] [--jobs N] [--fresh] [--wild]`: runs seeds of the simulation, several processes side
// by side, and goes on where the last run of the same program was ended. Prints each seed that breaks a promise with a short history.
// --wild: of nodes whose policy does what no sane one does (native/sim/wild).
// `npm run soak -- --kills N [--seed SEED]`: kills N real commands, and drivers among them, at random moments (test/crash/kills.test.ts).
import { cpus } from "node:os";
import { join } from "node:path";

import { Command, InvalidArgumentError } from "commander";

import { HOUSE_POLICY, NATIVE, WILD_POLICY } from "./lib/paths.mjs";
import { runSuite, summary } from "./lib/outcome.mjs";
import { setup } from "./lib/setup.mjs";
import { CRASH_SUITE } from "./lib/suites.mjs";
import { digestOf, soak, Progress } from "./lib/soak.mjs";
import { fail, green, main, red, seconds, StepError } from "./lib/ui.mjs";

/** A whole number from 1 on. */
function count(text) {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError("a whole number from 1 on is accepted");
  return n;
}

const options = new Command("soak")
  .option("--seeds <n>", "how many seeds", count, 10_000)
  .option("--from <seed>", "the first one", count, 1)
  .option("--jobs <n>", "processes side by side", count, cpus().length)
  .option("--fresh", "begin anew, not where the last run was ended")
  .option("--wild", "with a policy that does what no sane one does")
  .option("--kills <n>", "kill so many commands at random moments, in place of seeds", count)
  .option("--seed <seed>", "of the random moments", count)
  .parse()
  .opts();

async function kills() {
  await setup({ groups: ["build", "run", "test"] });
  process.env.DVDI_CRASH_KILLS = String(options.kills);
  if (options.seed) process.env.DVDI_CRASH_SEED = String(options.seed);
  await summary({ lines: [await runSuite(CRASH_SUITE, { build: NATIVE, match: "killed at random moments" })] });
}

async function seeds() {
  await setup({ groups: ["build"], house: true, wild: true, targets: ["dvdi-sim"] });
  const began = performance.now();
  const program = join(NATIVE, "native/sim/dvdi-sim");
  const second = options.wild ? WILD_POLICY : HOUSE_POLICY;
  const of = digestOf([program, second]);
  const progress = new Progress(join(NATIVE, options.wild ? "soak-wild.json" : "soak.json"), { ...options, of });
  const done = await soak({ ...options, program, second, progress }, (line) => process.stdout.write(`${line}\n`));
  const text = `${done.seeds} seeds, ${done.operations} operations, ${done.failed.length} failed`;
  process.stdout.write(`${done.failed.length ? red("✗") : green("✓")} ${text} in ${seconds(began)}\n`);
  if (done.failed.length > 0) fail(new StepError(`seeds that break a promise: ${done.failed.join(", ")}`));
}

await main(options.kills ? kills : seeds);
