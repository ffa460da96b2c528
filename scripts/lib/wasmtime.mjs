// wasmtime's C API as one static library: three minutes to build, so it is kept outside of the checkout, by what it
// was made from.
//
// Run as a program it makes the folder that it is given; `flock` in front of it keeps two of them apart.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { CACHE, WASMTIME } from "./paths.mjs";
import { capture, must } from "./proc.mjs";
import { StepError } from "./ui.mjs";

const LIBRARY = "libdvdi_wasmtime.a";
const MINIMUM_RUST = [1, 95];

const complete = (folder) =>
  [join("lib", LIBRARY), "include/wasmtime.h", "include/wasmtime/conf.h"].every((file) =>
    existsSync(join(folder, file)),
  );

/** The folder of the build for these sources and this compiler; it need not exist yet. */
export function wasmtimeFolder() {
  const version = capture("rustc", ["--version"], { cwd: WASMTIME });
  const found = version && /^rustc (\d+)\.(\d+)/.exec(version);
  if (!found || capture("cargo", ["--version"], { cwd: WASMTIME }) === null) {
    throw new StepError("rustc and cargo are not there", {
      hint: `install Rust ${MINIMUM_RUST.join(".")} (rustup does it)`,
    });
  }
  const [major, minor] = found.slice(1).map(Number);
  if (major < MINIMUM_RUST[0] || (major === MINIMUM_RUST[0] && minor < MINIMUM_RUST[1])) {
    throw new StepError(`Rust is ${major}.${minor}; wasmtime 48 needs ${MINIMUM_RUST.join(".")}`, {
      hint: "rustup update stable",
    });
  }
  const hash = createHash("sha256");
  for (const file of ["Cargo.lock", "Cargo.toml", "build.rs", "src/lib.rs"])
    hash.update(readFileSync(join(WASMTIME, file)));
  return join(CACHE, `wasmtime-${hash.update(version).digest("hex").slice(0, 16)}`);
}

/** Makes the library where it is missing. Returns its folder and what was done. */
export async function ensureWasmtime(report) {
  const folder = wasmtimeFolder();
  if (complete(folder)) return { folder, detail: `cached (${basename(folder)})` };
  mkdirSync(CACHE, { recursive: true });
  report("compiling wasmtime: about 3 minutes, once");
  const self = fileURLToPath(import.meta.url);
  await must("flock", [`${folder}.lock`, process.execPath, self, folder], { onLine: report });
  if (!complete(folder)) throw new StepError(`the build of wasmtime left no ${LIBRARY} in ${folder}`);
  return { folder, detail: "compiled" };
}

async function build(folder) {
  if (complete(folder)) return;
  // A build that was interrupted goes on from here the next time.
  const target = `${folder}.build`;
  const headers = join(target, "headers");
  await must("cargo", ["build", "--release", "--locked", "--manifest-path", join(WASMTIME, "Cargo.toml")], {
    cwd: WASMTIME,
    env: { CARGO_TARGET_DIR: target, DVDI_WASMTIME_HEADERS: headers, CARGO_TERM_COLOR: "never" },
    onLine: (line) => process.stdout.write(`${line}\n`),
  });
  const fresh = mkdtempSync(join(dirname(folder), ".wasmtime-"));
  mkdirSync(join(fresh, "lib"));
  cpSync(join(target, "release", LIBRARY), join(fresh, "lib", LIBRARY));
  cpSync(headers, join(fresh, "include"), { recursive: true });
  // Only a whole folder ever has the name; an older one is there only if it was incomplete.
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
  rmSync(target, { recursive: true, force: true });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await build(process.argv[2]);
  } catch (error) {
    process.stderr.write(`${error.log ?? ""}${error.message}\n`);
    process.exitCode = 1;
  }
}
