// `dvdi-policy replay`: what a policy would have decided of what was decided already.
import { resolve } from "node:path";

import type { Command } from "commander";

import { UserError } from "../errors.ts";
import { readStructured, writeWhole } from "../files.ts";
import { COUNT, numeric, SECONDS } from "../options.ts";
import { readSoundBlob } from "../signing.ts";
import { page } from "./page.ts";
import { replayLines } from "./pool.ts";
import { openRecords, readRecord, type JsonObject } from "./records.ts";
import { Summary, summaryText } from "./summary.ts";

interface Flags {
  policy: string;
  settings?: string;
  html?: string;
  json?: boolean;
  allow: number;
  patience: number;
}

/** Replays a file of records. @returns whether no more operations than allowed would have come out otherwise */
async function replay(file: string, flags: Flags, tool: string): Promise<boolean> {
  const { blob, inspection } = await readSoundBlob(flags.policy);
  const { manifest, sha256 } = inspection;
  const { settings: theirs, nodes, lines } = await openRecords(file, flags.settings !== undefined);
  const stated = flags.settings === undefined ? theirs : await readStructured(flags.settings);
  const settings = stated as JsonObject | undefined;
  const summary = new Summary({ name: manifest?.name ?? "", version: manifest?.version ?? "", sha256 }, nodes);
  const job = { file, blob, settings, tool: resolve(tool), patienceMs: flags.patience * 1000 };
  summary.end(
    await replayLines(lines, job, ({ index, result, trace }, line) => {
      summary.add(index, readRecord(line), result, trace);
    }),
  );
  if (flags.html !== undefined) await writeWhole(flags.html, page(summary));
  process.stdout.write(flags.json ? `${JSON.stringify(summary, null, 2)}\n` : summaryText(summary));
  if (summary.counts.same + summary.otherwise === 0) {
    throw new UserError(
      `${file === "-" ? "standard input" : file}: nothing could be decided again`,
      "export records of operations that a policy decided",
    );
  }
  return summary.otherwise <= flags.allow;
}

/** @param otherwise the exit code where operations would have come out otherwise @param tool the file of this tool */
export function addReplay(program: Command, otherwise: number, tool: string): void {
  program
    .command("replay")
    .description("let a blob decide again what was decided: which operations would have come out otherwise")
    .argument("<records>", "what `dvdi explain --export` wrote, or `explain --json`; - is standard input")
    .option("--policy <file>", "the blob", "build/policy.wasm")
    .option(
      "--settings <file>",
      "the policy member of the engine's settings (default: those that came with the records)",
    )
    .addOption(
      numeric(
        "--allow <number>",
        "of how many operations it is no failure that they come out otherwise",
        COUNT,
      ).default(0),
    )
    .option("--html <file>", "write a page, too: each group, and operations call by call")
    .addOption(numeric("--patience <seconds>", "how long one record may take", SECONDS).default(20))
    .option("--json", "as JSON")
    .action(async (file: string, flags: Flags) => {
      if (!(await replay(file, flags, tool))) process.exitCode = otherwise;
    });
}
