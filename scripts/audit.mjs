// `npm run audit [-- --advisories DIR]`: sources, licences and known faults of all that is locked. What cannot be looked at here
// is skipped, with the reason.
import { resolve } from "node:path";

import { Command } from "commander";

import { audits } from "./lib/audit.mjs";
import { green, main, red, StepError, yellow } from "./lib/ui.mjs";

const command = new Command("audit")
  .option("--advisories <folder...>", "databases of advisories on this machine: RustSec's, or files in OSV's format")
  .parse();
const folders = (command.opts().advisories ?? []).map((folder) => resolve(folder));

await main(async () => {
  let wrong = 0;
  for (const { what, findings, skipped } of await audits(folders)) {
    const mark = skipped ? yellow("-") : findings.length > 0 ? red("✗") : green("✓");
    process.stdout.write(`  ${mark} ${what}${skipped ? `: skipped, ${skipped}` : ""}\n`);
    for (const finding of findings) process.stdout.write(`      ${finding}\n`);
    wrong += findings.length;
  }
  if (wrong > 0)
    throw new StepError(`${wrong} findings`, {
      hint: "update what is named, or say in scripts/advisories-accepted.json why it stays",
    });
});
