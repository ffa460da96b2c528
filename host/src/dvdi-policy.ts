// `dvdi-policy`: for people who write and ship policies, on a workstation or in CI.
import { access, mkdir } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread } from "node:worker_threads";

import { Command, CommanderError, Option } from "commander";

import { buildPolicy, packageRoot, packageVersion } from "./build.ts";
import { elsewhere } from "./elsewhere.ts";
import { UserError, whyFailed } from "./errors.ts";
import { readStructured, writeWhole } from "./files.ts";
import { inspectionText, inspectPolicy } from "./inspect.ts";
import { lintPolicy } from "./lint.ts";
import { keyIdText } from "./minisign.ts";
import { addReplay } from "./replay/command.ts";
import { serveReplay } from "./replay/worker.ts";
import { numeric, repeated, SECONDS, SHARE, WHOLE } from "./options.ts";
import { newProject, testProject } from "./project.ts";
import {
  keygen,
  problemWithKeys,
  readBlob,
  readKeys,
  readSignatureFile,
  readSoundBlob,
  sign,
  verify,
  type KeygenFlags,
  type SignFlags,
} from "./signing.ts";
import { FORMS, simulate, simulationText } from "./simulate.ts";

// 64 is sysexits' EX_USAGE (the CLI `dvdi` ends with 2 there).
const EXIT = { ok: 0, failed: 1, refused: 3, otherwise: 4, usage: 64 } as const;
/** A policy that has not answered by then does not come to an end. */
const LINT_MS = 60_000;

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
  await mkdir(dirname(resolve(flags.out)), { recursive: true }); // build/, as compilers make it
  await writeWhole(flags.out, blob);
  const { sha256 } = inspectPolicy(blob);
  process.stdout.write(`${flags.out}: ${text.name} ${text.version}, ${blob.length} bytes, sha256 ${sha256}\n`);
}

/** The signature beside a blob, where there is one. `verified` is null where no key was named. */
async function signatureBeside(file: string, blob: Uint8Array, keys: string[]) {
  const beside = `${file}.minisig`;
  if (
    keys.length === 0 &&
    !(await access(beside).then(
      () => true,
      () => false,
    ))
  )
    return null;
  const signature = await readSignatureFile(beside, "sign the blob first (`dvdi-policy sign`), or leave --key out");
  const problem = keys.length === 0 ? null : problemWithKeys(blob, signature, await readKeys(keys));
  return {
    file: beside,
    key_id: keyIdText(signature.keyId),
    trusted_comment: signature.trustedComment,
    verified: keys.length === 0 ? null : problem === null,
    problem,
  };
}

async function inspect(file: string, flags: { json?: boolean; key?: string[] }): Promise<void> {
  const blob = await readBlob(file);
  const inspection = inspectPolicy(blob);
  const signature = await signatureBeside(file, blob, flags.key ?? []);
  process.stdout.write(
    flags.json ? `${JSON.stringify({ ...inspection, signature }, null, 2)}\n` : inspectionText(inspection, signature),
  );
  if (inspection.problems.length > 0 || signature?.verified === false) process.exitCode = EXIT.refused;
}

async function lint(file: string, flags: { here?: boolean }): Promise<void> {
  if (flags.here) {
    const problems = lintPolicy(await readBlob(file));
    for (const problem of problems) process.stdout.write(`${file}: ${problem}\n`);
    if (problems.length > 0) process.exitCode = EXIT.refused;
    else process.stdout.write(`${file}: an engine would take it\n`);
    return;
  }
  const status = await elsewhere("lint", [file], LINT_MS, EXIT.failed);
  if (status === null) process.stdout.write(`${file}: it does not come to an end\n`);
  process.exitCode = status ?? EXIT.refused;
}

interface SimulateFlags {
  policy: string;
  form?: (typeof FORMS)[number];
  settings?: string;
  missing?: string[];
  used?: string[];
  global?: string[];
  seed: number;
  faults: number;
  json?: boolean;
  patience: number;
  here?: boolean;
}

/** A text that is a file's, or what was given itself: mounts and volumes are short. As lint, in a process of its own. */
async function runSimulation(given: string, flags: SimulateFlags): Promise<void> {
  if (!flags.here) {
    const status = await elsewhere("simulate", process.argv.slice(3), flags.patience * 1000, EXIT.failed);
    if (status !== null) return void (process.exitCode = status);
    throw new UserError(
      `${flags.policy}: it does not come to an end within ${flags.patience} s (--patience)`,
      "an engine would end the operation when it has used up its fuel or memory, and undo it: look for a loop in the hooks",
    );
  }
  const isLine = flags.form === "mount" || flags.form === "volume";
  const { blob } = await readSoundBlob(flags.policy);
  const settings = flags.settings === undefined ? {} : await readStructured(flags.settings);
  const told = simulate(blob, {
    form: flags.form ?? "statement",
    text: isLine ? given : JSON.stringify(await readStructured(given)),
    ...(isLine ? {} : { origin: given }),
    settings: settings as Record<string, unknown>,
    missing: flags.missing ?? [],
    used: flags.used ?? [],
    global: flags.global ?? [],
    seed: flags.seed,
    faults: flags.faults,
  });
  process.stdout.write(flags.json ? `${JSON.stringify(told, null, 2)}\n` : simulationText(told));
  if (told.ok === null) process.exitCode = EXIT.failed;
}

const told =
  <Arguments extends unknown[]>(work: (...given: Arguments) => Promise<string>) =>
  async (...given: Arguments): Promise<void> => {
    process.stdout.write(await work(...given));
  };

function program(version: string): Command {
  const command = new Command("dvdi-policy")
    .version(version)
    // `build` has a --version of its own.
    .enablePositionalOptions()
    .description("Builds, checks and signs policies: the WebAssembly blobs that decide a volume's lifecycle.")
    .exitOverride()
    // As every other error of this program is written.
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "dvdi-policy: ")) })
    .showHelpAfterError("  hint: `dvdi-policy help COMMAND` says what it takes")
    .addHelpText(
      "after",
      `\nExit codes: 0 done, 1 failed, ${EXIT.refused} the engine would refuse the blob, ${EXIT.otherwise} it would have decided otherwise, ${EXIT.usage} usage.`,
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
    .command("new")
    .description("make a policy of your own to start from: a rule, its tests, a workflow")
    .argument("<folder>", "its folder, which gives it its name")
    .option("--library <spec>", "what package.json says of the library (default: where this tool is)")
    .action(told((folder: string, flags: { library?: string }) => newProject(folder, flags, process.argv[1] ?? "")));
  command
    .command("test")
    .description("run the tests of the policy in this folder (as-pect)")
    .action(async () => {
      if (!(await testProject(await packageRoot(process.cwd())))) process.exitCode = EXIT.failed;
    });
  command
    .command("inspect")
    .description("show what is in a blob, and whether the engine would take it")
    .argument("<file>", "the blob")
    .option("--json", "as JSON")
    .addOption(repeated("--key <key>", "a public key; one of those must have signed it"))
    .action(inspect);
  command
    .command("lint")
    .description("say why an engine would refuse the blob: its shape, and its tests of itself")
    .argument("<file>", "the blob")
    .addOption(new Option("--here", "in this process").hideHelp())
    .action(lint);
  command
    .command("simulate")
    .description("let a blob decide about a statement in a made-up world, and tell what it asked for")
    .argument("<statement>", "a file of YAML or JSON; with --form mount or volume, the text itself")
    .option("--policy <file>", "the blob", "build/policy.wasm")
    .addOption(new Option("--form <form>", "what the statement is written as (default: statement)").choices(FORMS))
    .option("--settings <file>", "the policy member of the engine's settings, YAML or JSON")
    .addOption(repeated("--missing <volume>", "a volume that its plugin does not know"))
    .addOption(repeated("--used <volume>", "a volume that another workload uses on this node, single-writer"))
    .addOption(repeated("--global <driver>", "a driver whose volumes are to be had on every node"))
    .addOption(numeric("--seed <number>", "which faults happen: the same seed, the same faults", WHOLE).default(1))
    .addOption(numeric("--faults <share>", "of how many plugin calls something goes wrong, 0 to 1", SHARE).default(0))
    .addOption(numeric("--patience <seconds>", "how long it may take", SECONDS).default(20))
    .option("--json", "as JSON")
    .addOption(new Option("--here", "in this process").hideHelp())
    .action(runSimulation);
  addReplay(command, EXIT.otherwise, fileURLToPath(import.meta.url));
  command
    .command("keygen")
    .description("make a pair of keys for signing (minisign's format)")
    .option("--secret-key <file>", "where the secret key goes; it must not be there", "policy.key")
    .option("--public-key <file>", "where the public key goes; it must not be there", "policy.pub")
    .option("--no-password", "do not encrypt the secret key")
    .option("--password-file <file>", "whose first line is the password (else it is asked for, or read from stdin)")
    .action(told((flags: KeygenFlags) => keygen(flags)));
  command
    .command("sign")
    .description("sign a blob, for engines whose settings name the public key")
    .argument("<file>", "the blob")
    .option("--key <file>", "the secret key", "policy.key")
    .option("--out <file>", "where the signature goes (default: the blob's name and .minisig)")
    .option("--comment <text>", "the trusted comment: one line that is signed too")
    .option("--password-file <file>", "whose first line is the key's password")
    .action(told((file: string, flags: SignFlags) => sign(file, flags)));
  command
    .command("verify")
    .description("check a blob's signature")
    .argument("<file>", "the blob")
    .addOption(
      repeated(
        "--key <key>",
        "a public key (its file, or its base64 line); one of those must have signed it",
      ).makeOptionMandatory(),
    )
    .option("--signature <file>", "the signature (default: the blob's name and .minisig)")
    .action(told((file: string, flags: { key: string[]; signature?: string }) => verify(file, flags)));
  return command;
}

/** A reader that has gone (`… | head`) wanted no more; what else cannot be written is a failure. */
function tellWhatIsNotWritten(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") return;
    process.stderr.write(`dvdi-policy: standard output cannot be written: ${whyFailed(error)}\n`);
    process.exitCode = EXIT.failed;
  });
  process.stderr.on("error", () => undefined); // there is nobody left to tell
}

try {
  if (isMainThread) tellWhatIsNotWritten();
  const own = dirname(fileURLToPath(import.meta.url));
  if (isMainThread) await program(await packageVersion(await packageRoot(own))).parseAsync();
  else serveReplay();
} catch (error) {
  if (!isMainThread) throw error;
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
