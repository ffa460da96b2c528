// `dvdi-policy`: for people who write and ship policies, on a workstation or in CI.
import { open } from "node:fs/promises";
import { resolve } from "node:path";

import { Command, CommanderError } from "commander";

import { LIMITS } from "./abi.ts";
import { buildPolicy, packageRoot, packageVersion, writeWhole } from "./build.ts";
import { UserError } from "./errors.ts";
import { inspectionText, inspectPolicy } from "./inspect.ts";

// 64 is sysexits' EX_USAGE; the CLI `dvdi` uses the same.
const EXIT = { ok: 0, failed: 1, refused: 3, usage: 64 } as const;

/** Reads a file of at most `limit` bytes; a larger one is an error before it is in memory. */
async function readBounded(file: string, limit: number): Promise<Uint8Array> {
  const handle = await open(file, "r").catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${file} cannot be read: ${error.code ?? error.message}`, "name a policy blob (.wasm)");
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new UserError(`${file} is not a file`, "name a policy blob (.wasm)");
    if (stat.size > limit) {
      throw new UserError(
        `${file} has ${stat.size} bytes; a policy has at most ${limit}`,
        "name a policy blob (.wasm)",
      );
    }
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

interface BuildFlags {
  entry: string;
  out: string;
  name: string;
  version?: string;
  description: string;
}

async function build(flags: BuildFlags): Promise<void> {
  const root = await packageRoot(process.cwd());
  const text = {
    name: flags.name,
    version: flags.version ?? (await packageVersion(root)),
    description: flags.description,
  };
  const blob = await buildPolicy({ root, entry: resolve(flags.entry), text });
  await writeWhole(flags.out, blob);
  const { sha256 } = inspectPolicy(blob);
  process.stdout.write(`${flags.out}: ${text.name} ${text.version}, ${blob.length} bytes, sha256 ${sha256}\n`);
}

async function inspect(file: string, flags: { json?: boolean }): Promise<void> {
  const inspection = inspectPolicy(await readBounded(file, LIMITS.blobBytes * 4));
  process.stdout.write(flags.json ? `${JSON.stringify(inspection, null, 2)}\n` : inspectionText(inspection));
  if (inspection.problems.length > 0) process.exitCode = EXIT.refused;
}

function program(): Command {
  const command = new Command("dvdi-policy")
    .description("Builds and inspects policies: the WebAssembly blobs that decide a volume's lifecycle.")
    .exitOverride()
    .addHelpText(
      "after",
      `\nExit codes: 0 done, 1 failed, ${EXIT.refused} the engine would refuse the blob, ${EXIT.usage} usage.`,
    );
  command
    .command("build")
    .description("compile a policy and put its manifest in")
    .option("--entry <file>", "the policy's entry file", "assembly/main.ts")
    .option("--out <file>", "where the blob goes", "build/policy.wasm")
    .option("--name <name>", "the policy's name", "stock")
    .option("--version <version>", "MAJOR.MINOR.PATCH (default: package.json's version)")
    .option("--description <text>", "one line", "The stock policy")
    .action(build);
  command
    .command("inspect")
    .description("show what is in a blob, and whether the engine would take it")
    .argument("<file>", "the blob")
    .option("--json", "as JSON")
    .action(inspect);
  return command;
}

try {
  await program().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // It has written its own message; asking for help is no error.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else if (error instanceof UserError) {
    process.stderr.write(`dvdi-policy: ${error.message}\n${error.hint === null ? "" : `  hint: ${error.hint}\n`}`);
    process.exitCode = EXIT.failed;
  } else {
    process.stderr.write(`dvdi-policy: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = EXIT.failed;
  }
}
