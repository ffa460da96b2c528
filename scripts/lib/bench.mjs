// Runs programs that measure, and reads what they write.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { must } from "./proc.mjs";
import { step, StepError } from "./ui.mjs";

/**
 * What each program measured, by its name. An error where there is nothing that has such a name.
 * @param {{name: string, command: string[]}[]} programs
 * @param {{folder: string, only?: string, env?: Record<string, string>}} how
 *   folder: for what they write; only: a regular expression that chooses benchmarks by name
 * @returns {Promise<Record<string, {benchmarks: object[]}>>}
 */
export async function measure(programs, { folder, only, env }) {
  if (only !== undefined) {
    try {
      new RegExp(only);
    } catch (error) {
      throw new StepError(`what chooses benchmarks is no regular expression: ${error.message}`);
    }
  }
  const filter = only === undefined ? [] : [`--benchmark_filter=${only}`];
  const reports = {};
  mkdirSync(folder, { recursive: true });
  for (const { name, command } of programs) {
    await step(name, async (onLine) => {
      const out = join(folder, `${name}.json`);
      rmSync(out, { force: true });
      const [program, ...args] = command;
      await must(program, [...args, `--benchmark_out=${out}`, "--benchmark_out_format=json", ...filter], {
        env,
        onLine,
      });
      // Google Benchmark writes nothing at all where no name matches.
      const written = existsSync(out) ? readFileSync(out, "utf8") : "";
      reports[name] = JSON.parse(written || '{"benchmarks":[]}');
      return `${reports[name].benchmarks.length} figures`;
    });
  }
  if (Object.values(reports).every(({ benchmarks }) => benchmarks.length === 0)) {
    const which = only === undefined ? "nothing was measured" : `no benchmark has a name like ${only}`;
    throw new StepError(which, { hint: "docs/performance.md names them; npm run bench measures all" });
  }
  return reports;
}
