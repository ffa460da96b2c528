// `npm run coverage [-- PART…]`: what the tests run of the code, by file, and the lines that they do not.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { PARTS, percent, ranges, sums } from "./lib/coverage.mjs";
import { ROOT } from "./lib/paths.mjs";
import { setup } from "./lib/setup.mjs";
import { bold, dim, fail, main, step, StepError } from "./lib/ui.mjs";

const WIDTH = 13;
const LINES = 60;

function row(name, counts, rest = "") {
  const cells = Object.values(counts).map((count) => `${percent(count)}`.padStart(WIDTH));
  return `  ${name.padEnd(44)}${cells.join("")}  ${dim(rest)}\n`;
}

const cut = (text) => (text.length > LINES ? `${text.slice(0, text.lastIndexOf(",", LINES))}, …` : text);

await main(async () => {
  const names = process.argv.slice(2);
  const unknown = names.filter((name) => !PARTS.some((part) => part.name === name));
  if (unknown.length > 0) {
    const hint = `parts: ${PARTS.map(({ name }) => name).join(", ")}`;
    throw new StepError(`there is no part ${unknown.join(", ")}`, { hint });
  }
  const parts = PARTS.filter(({ name }) => names.length === 0 || names.includes(name));
  await setup({
    groups: [...new Set(parts.flatMap(({ groups }) => groups))],
    policy: parts.some(({ policy }) => policy),
    house: parts.some(({ house }) => house),
    plugins: parts.some(({ plugins }) => plugins),
    native: false,
  });
  const report = {};
  const failures = [];
  for (const { name, measure } of parts) {
    await step(name, async (line) => {
      report[name] = await measure(line, (error) => failures.push(error));
      return `${report[name].length} files`;
    });
  }
  for (const { name, about } of parts) {
    const files = report[name];
    const total = sums(files);
    process.stdout.write(`\n${bold(name)}  ${dim(about)}\n`);
    process.stdout.write(
      `  ${"".padEnd(44)}${Object.keys(total)
        .map((kind) => kind.padStart(WIDTH))
        .join("")}  not run, by line\n`,
    );
    for (const { file, counts, missed } of files) {
      const none = Object.values(counts).every(({ all }) => all === 0);
      process.stdout.write(row(file, counts, none ? "in none of these tests" : cut(ranges(missed))));
    }
    process.stdout.write(bold(row("total", total)));
  }
  const file = join(ROOT, "build/coverage.json");
  mkdirSync(join(ROOT, "build"), { recursive: true });
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(dim(`\n${file}\n`));
  // The figures stand above, without what the failed tests would have run further on.
  failures.forEach(fail);
});
