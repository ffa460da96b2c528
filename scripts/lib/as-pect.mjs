// The policy's unit tests, compiled and run by as-pect.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./paths.mjs";
import { run } from "./proc.mjs";

/**
 * Runs all of them: as-pect's own filters do not work.
 * @param {{coverage?: boolean, config?: string, timeoutMs: number}} options
 *   coverage: whether points are counted; config: as-pect's configuration, where it is another one than the policy's
 * @returns {Promise<{code: number | null, log: string, results: string, points: string}>}
 *   results: one JSON line for each test file; points: one for each point; "" where nothing was written
 */
export async function runAsPect({ coverage, config, timeoutMs }) {
  mkdirSync(join(ROOT, "build"), { recursive: true });
  // Its own: another command may be at the same tests, and both add to their files.
  const folder = mkdtempSync(join(ROOT, "build/as-pect-"));
  const files = { results: join(folder, "results.jsonl"), points: join(folder, "points.jsonl") };
  const read = (file) => (existsSync(file) ? readFileSync(file, "utf8") : "");
  config ??= `scripts/lib/as-pect${coverage ? "-coverage" : ""}.config.mjs`;
  const args = ["node_modules/@as-pect/cli/bin/asp.js", "--no-logo", "--config", config];
  try {
    const { code, log } = await run(process.execPath, args, {
      env: {
        JSON_MODE: "NAIVE",
        JSON_CACHE: "1KB",
        DVDI_RESULTS: files.results,
        ...(coverage ? { DVDI_COVERAGE: files.points } : {}),
      },
      timeoutMs,
    });
    return { code, log, results: read(files.results), points: read(files.points) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
