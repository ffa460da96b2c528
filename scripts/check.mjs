// `npm run check`: formatters, linters and type checkers of every language; `npm run format` is the formatters alone, writing.
// `-- --tidy` adds clang-tidy, which takes minutes and needs a build.
import { availableParallelism } from "node:os";
import { join } from "node:path";

import { flagsOf } from "./lib/flags.mjs";
import { NATIVE, ROOT } from "./lib/paths.mjs";
import { capture, run } from "./lib/proc.mjs";
import { setup } from "./lib/setup.mjs";
import { filesAt } from "./lib/stamp.mjs";
import { bold, dim, green, main, red, seconds, StepError, yellow } from "./lib/ui.mjs";

const flags = flagsOf({ fix: { type: "boolean" }, tidy: { type: "boolean" } });

// Lines of a checker's complaints.
const SHOWN = 60;

const cpp = filesAt("native").filter((file) => /\.(cc|h|c)$/.test(file) && !file.startsWith("native/wasmtime/"));
const shell = [".ci/run", ...["scripts", "test"].flatMap(filesAt).filter((file) => file.endsWith(".sh"))];
const node = (script, ...args) => [process.execPath, [join("node_modules", script), ...args]];
const JSON_AS = { JSON_MODE: "NAIVE", JSON_CACHE: "1KB" };

const FORMATTERS = [
  {
    name: "prettier",
    covers: "TypeScript, AssemblyScript, JavaScript, JSON",
    // Both configurations in one: assembly/ is formatted by a plugin that only it needs.
    command: node("prettier/bin/prettier.cjs", flags.fix ? "--write" : "--check", "--log-level", "warn", "."),
  },
  {
    name: "clang-format",
    covers: "C++",
    command: ["clang-format-14", flags.fix ? ["-i", ...cpp] : ["--dry-run", "-Werror", ...cpp]],
  },
];

const LINTERS = [
  { name: "eslint", covers: "host, test, scripts", command: node("eslint/bin/eslint.js", "--max-warnings", "0", ".") },
  { name: "tsc host", covers: "types of host/", command: node("typescript/bin/tsc", "-p", "host/tsconfig.json") },
  {
    name: "tsc test",
    covers: "types of test/",
    unless: () => !filesAt("test").some((file) => file.endsWith(".ts")),
    command: node("typescript/bin/tsc", "-p", "test/tsconfig.json"),
  },
  {
    name: "asc",
    covers: "types of assembly/",
    // An absolute base: a relative one loses the "./" of the transform's path, which then is looked for as a package.
    command: node(
      "assemblyscript/bin/asc.js",
      "--config",
      "asconfig.json",
      "--baseDir",
      ROOT,
      "--noEmit",
      "--disableWarning",
      "201",
    ),
    env: JSON_AS,
  },
  { name: "shellcheck", covers: shell.join(", "), command: ["shellcheck", shell] },
  {
    name: "rustfmt",
    covers: "native/wasmtime",
    unless: () => capture("cargo", ["fmt", "--version"]) === null,
    command: ["cargo", ["fmt", "--manifest-path", "native/wasmtime/Cargo.toml", ...(flags.fix ? [] : ["--check"])]],
  },
];

/** clang-tidy over every C++ source, a few side by side. */
async function tidy() {
  const queue = cpp.filter((file) => file.endsWith(".cc"));
  const complaints = [];
  const worker = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const { code, log } = await run("clang-tidy-14", ["-p", NATIVE, "--quiet", file]);
      if (code !== 0) complaints.push(log);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return { code: complaints.length > 0 ? 1 : 0, log: complaints.join("\n") };
}

await main(async () => {
  await setup({ groups: flags.tidy ? ["build", "check"] : ["check"], policy: false, native: flags.tidy === true });
  const checks = flags.fix ? FORMATTERS : [...FORMATTERS, ...LINTERS];
  if (flags.tidy) checks.push({ name: "clang-tidy", covers: "C++", work: tidy });
  process.stdout.write(`${bold(flags.fix ? "format" : "check")}\n`);
  const failed = [];
  for (const { name, covers, command, env, unless, work } of checks) {
    if (unless?.()) {
      process.stdout.write(`  ${yellow("-")} ${name.padEnd(20)} ${dim("not here")}\n`);
      continue;
    }
    const began = performance.now();
    const { code, log } = work ? await work() : await run(command[0], command[1], { env });
    const mark = code === 0 ? green("✓") : red("✗");
    process.stdout.write(`  ${mark} ${name.padEnd(20)} ${covers.padEnd(48)} ${dim(seconds(began).padStart(8))}\n`);
    if (code === 0) continue;
    failed.push(name);
    const lines = log.trimEnd().split("\n");
    process.stdout.write(`${lines.slice(0, SHOWN).join("\n").replace(/^/gm, "      ")}\n`);
    if (lines.length > SHOWN) process.stdout.write(`      … and ${lines.length - SHOWN} lines more\n`);
  }
  if (failed.length > 0) {
    throw new StepError(`${failed.join(", ")} failed`, { hint: "npm run format puts the formatting right" });
  }
});
