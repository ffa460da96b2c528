// `dvdi-policy build`: AssemblyScript in, a policy blob with its manifest out.
import { readFile } from "node:fs/promises";
import module from "node:module";
import { basename, dirname, isAbsolute, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { shapeProblems } from "./abi.ts";
import { UserError } from "./errors.ts";
import { textProblem, withManifest, type ManifestText } from "./manifest.ts";
import { readModule } from "./wasm.ts";

const CONFIG = "asconfig.json";

// json-as takes these from the environment. Its faster modes write broken JSON for ordinary non-ASCII text, and its default
// cache would cost every instance a megabyte to zero.
export const JSON_AS = { JSON_MODE: "NAIVE", JSON_CACHE: "1KB" } as const;

export interface BuildOptions {
  /** The package's folder: asconfig.json, package.json and node_modules are looked for here. */
  root: string;
  /** The entry file, absolute or from the current folder; beneath `root`. */
  entry: string;
  text: ManifestText;
}

/** The nearest folder at or above `from` that has a package.json, or `from` itself. */
export async function packageRoot(from: string): Promise<string> {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    if ((await readOrNull(resolve(folder, "package.json"))) !== null) return folder;
    if (folder === dirname(folder)) return resolve(from);
  }
}

/** The version that a folder's package.json gives, or 0.0.0. */
export async function packageVersion(root: string): Promise<string> {
  const text = await readOrNull(resolve(root, "package.json"));
  if (text === null) return "0.0.0";
  const { version } = parseJson(text, "package.json");
  return typeof version === "string" ? version : "0.0.0";
}

/**
 * Compiles a policy and puts its manifest in. The same sources give the same bytes, in whatever folder they lie.
 * @throws UserError with the compiler's own words where it does not compile, or where the engine would refuse it.
 */
export async function buildPolicy(options: BuildOptions): Promise<Uint8Array> {
  const wrong = textProblem(options.text);
  if (wrong !== null) throw new UserError(`${wrong}`, "give it with --name, --version or --description");
  const compiled = await compile(options.root, options.entry);
  const problems = shapeProblems(readModule(compiled), compiled.length);
  if (problems.length > 0) {
    throw new UserError(
      `${options.entry} compiles, but the engine would refuse it:\n  ${problems.join("\n  ")}`,
      "docs/abi.md says what a policy exports and imports; assembly/main.ts is one",
    );
  }
  return withManifest(compiled, options.text);
}

async function compile(root: string, entry: string): Promise<Uint8Array> {
  const file = relative(root, resolve(entry));
  if (file.startsWith("..") || isAbsolute(file)) {
    throw new UserError(`${entry} is outside of ${root}`, "run dvdi-policy in the folder of the policy's package.json");
  }
  if ((await readOrNull(resolve(root, file))) === null) {
    throw new UserError(`${entry} cannot be read`, "name the policy's entry file with --entry");
  }
  if (file === "assembly/index.ts") {
    // json-as's transform takes this path for a file of its own; the module comes out empty and nothing says so.
    throw new UserError("assembly/index.ts cannot be an entry file", "call it assembly/main.ts");
  }
  const stated = await readOrNull(resolve(root, CONFIG));
  if (stated === null)
    throw new UserError(`${root} has no ${CONFIG}`, "copy the one of this project: a policy needs its options");

  Object.assign(process.env, JSON_AS);
  const asc = await compiler(root);
  // The compiler adds a configuration's entries to those of its command line: only `options` counts here.
  const config = JSON.stringify({ options: parseJson(stated, CONFIG)["options"] ?? {} });
  let output: Uint8Array | null = null;
  const stderr = asc.createMemoryStream();
  const { error } = await asc.main([file, "--config", CONFIG, "--baseDir", root, "--outFile", "policy.wasm"], {
    stdout: asc.createMemoryStream(),
    stderr,
    readFile: (name, base) => (basename(name) === CONFIG ? Promise.resolve(config) : readOrNull(resolve(base, name))),
    writeFile: (name, contents) => {
      if (basename(name) === "policy.wasm" && typeof contents !== "string") output = contents;
      return Promise.resolve();
    },
  });
  if (error !== null || output === null) {
    throw new UserError(`${entry} does not compile\n${Buffer.from(stderr.toBuffer()).toString().trimEnd()}`, null);
  }
  return output;
}

/** The project's own compiler: this tool may be installed elsewhere. */
async function compiler(root: string): Promise<typeof import("assemblyscript/asc")> {
  let file: string;
  try {
    // The file itself: "assemblyscript/asc" is there for import alone, which looks beside this tool.
    file = module.createRequire(resolve(root, "package.json")).resolve("assemblyscript/dist/asc.js");
  } catch {
    throw new UserError(`assemblyscript is not installed in ${root}`, "npm install");
  }
  return (await import(pathToFileURL(file).href)) as typeof import("assemblyscript/asc");
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return null;
    throw error;
  }
}

function parseJson(text: string, name: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    throw new UserError(`${name} is not JSON: ${(error as Error).message}`, null);
  }
  throw new UserError(`${name} does not hold an object`, null);
}
