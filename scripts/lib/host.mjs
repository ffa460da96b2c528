// TypeScript bundled by esbuild: the tools of host/, and the tests that Node runs.
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { HOST_TOOL, ROOT } from "./paths.mjs";
import { filesAt, hashOf, isFresh, remember } from "./stamp.mjs";
import { StepError } from "./ui.mjs";

// Some packages are CommonJS and ask for Node's modules with require, which an ES module does not have.
const REQUIRE = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

const COMMON = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  // The compiler, and json-as's transform, load files of their own from the disk.
  external: ["assemblyscript", "json-as"],
  sourcemap: "linked",
  logLevel: "silent",
};

/** Whoever runs a bundle meanwhile sees the old one or the new one, never a part, and nothing at all of one that is the same. */
function put({ path, contents }, mode) {
  if (existsSync(path) && readFileSync(path).equals(contents)) return;
  mkdirSync(dirname(path), { recursive: true });
  const part = `${path}.${process.pid}`;
  writeFileSync(part, contents);
  chmodSync(part, mode); // also where a umask would not have it
  renameSync(part, path);
}

async function bundle(options, mode = 0o644) {
  // Not at the top: this file is read before the packages are installed.
  const { build, formatMessages } = await import("esbuild");
  try {
    const { outputFiles } = await build({ ...COMMON, ...options, write: false });
    for (const file of outputFiles) put(file, mode);
  } catch (error) {
    if (!error.errors) throw error;
    const log = (await formatMessages(error.errors, { kind: "error" })).join("");
    throw new StepError("esbuild cannot bundle the TypeScript", { log });
  }
}

/** Bundles dvdi-policy where its sources have changed. */
export async function ensureHostTool() {
  const hash = hashOf(["host/src", "assembly/testing", "package-lock.json", "scripts/lib/host.mjs"]);
  if (isFresh("host", hash, [HOST_TOOL])) return "up to date";
  await bundle(
    {
      entryPoints: ["host/src/dvdi-policy.ts"],
      outfile: HOST_TOOL,
      banner: { js: `#!/usr/bin/env node\n${REQUIRE}` },
    },
    0o755,
  );
  remember("host", hash);
  return "bundled";
}

/**
 * Bundles the test files (*.test.ts) beneath a folder into build/test/, and returns the bundles.
 * @param {string} folder a path of the checkout
 * @param {string} [ending] of other files that are run as tests are
 */
export async function bundleTests(folder, ending = ".test.ts") {
  const files = filesAt(folder).filter((file) => file.endsWith(ending));
  if (files.length === 0) return [];
  await bundle({
    entryPoints: files,
    outdir: "build/test",
    outbase: ".",
    outExtension: { ".js": ".mjs" },
    banner: { js: REQUIRE },
  });
  return files.map((file) => join("build/test", file.replace(/\.ts$/, ".mjs")));
}
