// What is locked, looked at as `npm audit` and `cargo deny` do: where it comes from, under which licences, and what is known against it.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { compare, readAccepted, readDatabase } from "./advisories.mjs";
import { ROOT } from "./paths.mjs";
import { capture, run } from "./proc.mjs";
import { ACCEPTED, cargoComponents, npmComponents } from "./sbom.mjs";

const CRATES = "registry+https://github.com/rust-lang/crates.io-index";
const NPM = "https://registry.npmjs.org/";
const LOCK = "native/wasmtime/Cargo.lock";
const MANIFEST = "native/wasmtime/Cargo.toml";
/** Advisories that apply and stay, each with its reason. */
const ACCEPTED_ADVISORIES = "scripts/advisories-accepted.json";
/** Those of crates beside the ones of npm packages; all go with Apache-2.0. */
const OF_CRATES = new Set([...ACCEPTED, "Unicode-3.0", "Zlib"]);

/** @typedef {{what: string, findings: string[], skipped?: string}} Audit  skipped: why it could not be looked at */

/** Packages of a package-lock.json that come from elsewhere, or whose content is not fixed by a hash. */
export function npmSources(text) {
  return Object.entries(JSON.parse(text).packages).flatMap(([path, { resolved, integrity, link }]) => {
    if (path === "" || link) return [];
    // Where nothing is said it comes from whichever registry npm is set to, and the hash says what it must be.
    if (resolved && !resolved.startsWith(NPM)) return [`${path} comes from ${resolved}, not from the registry`];
    return integrity?.startsWith("sha512-") ? [] : [`${path} has no SHA-512 in package-lock.json`];
  });
}

/** The same of a Cargo.lock. What has no source is the project's own. */
export function cargoSources(text) {
  return text.split("[[package]]").flatMap((part) => {
    const field = (name) => new RegExp(`^${name} = "([^"]*)"$`, "m").exec(part)?.[1];
    const [name, source] = [field("name"), field("source")];
    if (!source) return [];
    if (source !== CRATES) return [`crate ${name} comes from ${source}, not from crates.io`];
    return /^[0-9a-f]{64}$/.test(field("checksum") ?? "") ? [] : [`crate ${name} has no checksum in Cargo.lock`];
  });
}

/** Whether an SPDX expression leaves a choice that is accepted: every part of AND has an alternative that is. */
export function acceptable(expression) {
  return expression.split(" AND ").every((part) =>
    part
      .replace(/[()]/g, "")
      .split(/ OR |\//)
      .some((one) => OF_CRATES.has(one.trim().replace(/ WITH LLVM-exception$/, ""))),
  );
}

/** What `cargo metadata` says of the licences. */
export function cargoLicences(metadata) {
  return JSON.parse(metadata)
    .packages.filter(({ license, source }) => source && !acceptable(license ?? ""))
    .map(({ name, version, license }) => `crate ${name} ${version} is under ${license ?? "no licence that it names"}`);
}

/** What `npm audit --json` writes: a finding for each package, or why it has none. */
export function readNpmAudit(log) {
  const start = log.indexOf("{");
  const from = start < 0 ? "" : log.slice(start, log.lastIndexOf("}") + 1);
  let answer;
  try {
    answer = JSON.parse(from);
  } catch {
    return { findings: [], skipped: log.trim().split("\n")[0] || "npm audit said nothing" };
  }
  if (!answer.vulnerabilities) return { findings: [], skipped: answer.message ?? "npm audit gave no list" };
  const findings = Object.values(answer.vulnerabilities).map(
    ({ name, severity, range }) => `${name} ${range}: ${severity}`,
  );
  return { findings };
}

/** What databases on this machine know against all that is locked. @returns {Audit[]} */
export function localAdvisories(folders, locks, accepted) {
  const packages = [
    ...npmComponents(locks.npm).map(({ name, version }) => ({ type: "npm", name, version })),
    ...cargoComponents(locks.cargo).map(({ name, version }) => ({ type: "cargo", name, version })),
  ];
  return folders.map((folder) => {
    const database = readDatabase(folder);
    const { findings, accepted: stay, asked } = compare(database, packages, accepted);
    const size = `${database.layout}, ${database.advisories.length} advisories up to ${database.newest}`;
    return { what: `advisories of ${folder} (${size}), against ${asked} packages; ${stay} accepted`, findings };
  });
}

/**
 * All of it.
 * @param {string[]} advisories folders of databases of advisories (advisories.mjs)
 * @returns {Promise<Audit[]>}
 */
export async function audits(advisories = []) {
  const read = (file) => readFileSync(join(ROOT, file), "utf8");
  // First: what cannot be read of these is an error.
  const locks = { npm: read("package-lock.json"), cargo: read(LOCK) };
  const local = localAdvisories(advisories, locks, readAccepted(read(ACCEPTED_ADVISORIES)));
  const npm = await run("npm", ["audit", "--json"], { timeoutMs: 120_000 });
  const licences = (await run("cargo", ["metadata", "--locked", "--format-version", "1", "--manifest-path", MANIFEST], {
    timeoutMs: 120_000,
  }).catch((error) => ({ code: 1, log: error.message }))) ?? { code: 1, log: "" };
  return [
    { what: "npm packages: from the registry, with hashes", findings: npmSources(locks.npm) },
    { what: "crates: from crates.io, with checksums", findings: cargoSources(locks.cargo) },
    { what: "crates: licences", ...licencesOf(licences) },
    { what: "npm packages: advisories (npm audit)", ...readNpmAudit(npm.log) },
    { what: "crates: advisories (cargo audit)", ...(await cargoAdvisories()) },
    ...local,
  ];
}

function licencesOf({ code, log }) {
  const line = log.split("\n").find((one) => one.startsWith('{"packages"'));
  if (code !== 0 || !line)
    return { findings: [], skipped: log.trim().split("\n").at(-1) || "cargo metadata said nothing" };
  return { findings: cargoLicences(line) };
}

async function cargoAdvisories() {
  if (!capture("cargo-audit", ["--version"]) && !existsSync(join(process.env.HOME ?? "", ".cargo/bin/cargo-audit")))
    return { findings: [], skipped: "cargo-audit is not installed: cargo install cargo-audit" };
  const { code, log } = await run("cargo", ["audit", "--json", "--file", LOCK], { timeoutMs: 300_000 });
  const line = log.split("\n").find((one) => one.startsWith("{"));
  if (!line) return { findings: [], skipped: log.trim().split("\n").at(-1) || `cargo audit ended with ${code}` };
  const { list } = JSON.parse(line).vulnerabilities;
  return {
    findings: list.map(
      ({ advisory, package: { name, version } }) => `crate ${name} ${version}: ${advisory.id} ${advisory.title}`,
    ),
  };
}
