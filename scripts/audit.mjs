// `npm run audit`: sources, licences and known faults of all that is locked. What cannot be looked at here is skipped, with the reason.
import { audits } from "./lib/audit.mjs";
import { green, main, red, StepError, yellow } from "./lib/ui.mjs";

await main(async () => {
  let wrong = 0;
  for (const { what, findings, skipped } of await audits()) {
    const mark = skipped ? yellow("-") : findings.length > 0 ? red("✗") : green("✓");
    process.stdout.write(`  ${mark} ${what}${skipped ? `: skipped, ${skipped}` : ""}\n`);
    for (const finding of findings) process.stdout.write(`      ${finding}\n`);
    wrong += findings.length;
  }
  if (wrong > 0)
    throw new StepError(`${wrong} findings`, { hint: "update what is named, or say in docs/security.md why it stays" });
});
