// The policy's unit tests, compiled and run by as-pect.
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

import { ROOT } from "./paths.mjs";
import { run } from "./proc.mjs";

/**
 * Runs all of them: as-pect's own filters do not work.
 * @param {{results: string, coverage?: string, timeoutMs: number}} options
 *   results: the file for one JSON line of each test file; coverage: the file for one JSON line of each point
 * @returns {Promise<{code: number | null, log: string, results: string}>} results: what was written, "" where nothing was
 */
export async function runAsPect({ results, coverage, timeoutMs }) {
  mkdirSync(dirname(join(ROOT, results)), { recursive: true });
  rmSync(join(ROOT, results), { force: true });
  const config = `scripts/lib/as-pect${coverage ? "-coverage" : ""}.config.mjs`;
  const args = ["node_modules/@as-pect/cli/bin/asp.js", "--no-logo", "--config", config];
  const { code, log } = await run(process.execPath, args, {
    env: {
      JSON_MODE: "NAIVE",
      JSON_CACHE: "1KB",
      DVDI_RESULTS: join(ROOT, results),
      ...(coverage ? { DVDI_COVERAGE: join(ROOT, coverage) } : {}),
    },
    timeoutMs,
  });
  const file = join(ROOT, results);
  return { code, log, results: existsSync(file) ? readFileSync(file, "utf8") : "" };
}
