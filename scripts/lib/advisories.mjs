// What is known against packages, from folders on this machine: RustSec's advisory database, or files in OSV's format.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import semver from "semver";
import { parse as parseToml } from "smol-toml";

import { StepError } from "./ui.mjs";

/**
 * @typedef {{type: "cargo" | "npm", name: string, version: string}} Package
 * @typedef {{id: string, title: string, type: Package["type"], name: string, kind: string, date: string,
 *            affects: (version: string) => boolean}} Advisory  of one package; kind: what it is, where it is no vulnerability
 * @typedef {{folder: string, layout: string, newest: string, advisories: Advisory[]}} Database  newest: day of its last advisory
 * @typedef {{id: string, package: string, reason: string}} Accepted
 */

const ECOSYSTEMS = { "crates.io": "cargo", npm: "npm" };
/** A version is compared as it stands: one before a release is older than it. */
const PLAIN = { includePrerelease: true };

/**
 * Reads all advisories below a folder, those that were withdrawn left out. A folder that is no database, and a file in it
 * that cannot be read, is an error: nothing may pass because nothing was known.
 * @param {string} folder
 * @returns {Database}
 */
export function readDatabase(folder) {
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    throw new StepError(`there is no folder of advisories at ${folder}`, { hint: HINT });
  const rustsec = existsSync(join(folder, "crates"));
  const [top, ending, read] = rustsec ? [join(folder, "crates"), ".md", rustSec] : [folder, ".json", osv];
  const files = readdirSync(top, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(ending) && !file.split("/").some((part) => part.startsWith(".")),
  );
  const advisories = files.flatMap((file) => {
    try {
      return read(readFileSync(join(top, file), "utf8"));
    } catch (error) {
      throw new StepError(`the advisory ${join(top, file)} cannot be read: ${error.message.split("\n")[0]}`);
    }
  });
  if (advisories.length === 0)
    throw new StepError(`${folder} has no advisory of a crate or an npm package`, { hint: HINT });
  const newest = advisories.map(({ date }) => date).reduce((a, b) => (a > b ? a : b));
  return { folder, layout: rustsec ? "RustSec" : "OSV", newest, advisories };
}

const HINT = "a folder with crates/NAME/RUSTSEC-….md (github.com/RustSec/advisory-db) or with OSV's JSON files";

/** @returns {Advisory[]} */
function rustSec(text) {
  const front = /^```toml\n(.*?)^```$(.*)/ms.exec(text);
  if (!front) throw new Error("it does not begin with TOML");
  const { advisory, versions, affected } = parseToml(front[1]);
  for (const field of ["id", "package", "date"])
    if (typeof advisory?.[field] !== "string") throw new Error(`it has no advisory.${field}`);
  if (!Array.isArray(versions?.patched)) throw new Error("it has no versions.patched");
  if (advisory.withdrawn) return [];
  // The project runs on Linux alone.
  if (affected?.os && !affected.os.includes("linux")) return [];
  const good = [...versions.patched, ...(versions.unaffected ?? [])].map(cargoRange);
  return [
    {
      id: advisory.id,
      title: /^# +(.+)$/m.exec(front[2])?.[1].trim() ?? "",
      type: "cargo",
      name: advisory.package,
      kind: advisory.informational ?? "",
      date: advisory.date,
      affects: (version) => !good.some((range) => range.test(version)),
    },
  ];
}

/** A version requirement as Cargo writes it: comparators with commas between them; one without an operator has a caret. */
function cargoRange(text) {
  const parts = text.split(",").map((part) => part.trim());
  return new semver.Range(parts.map((part) => (/^\d/.test(part) ? `^${part}` : part)).join(" "), PLAIN);
}

/** @returns {Advisory[]} */
function osv(text) {
  const { id, summary = "", withdrawn, modified, affected } = JSON.parse(text);
  if (typeof id !== "string" || typeof modified !== "string")
    throw new Error("it is not in OSV's format: no id, or no time");
  if (withdrawn) return [];
  return (affected ?? []).flatMap(({ package: of, ranges = [], versions = [] }) => {
    const type = ECOSYSTEMS[of?.ecosystem];
    if (!type) return [];
    const spans = ranges.filter((range) => range.type !== "GIT").map((range) => range.events.map(event));
    if (spans.length === 0 && versions.length === 0) throw new Error(`it does not say which versions of ${of.name}`);
    const affects = (version) => versions.includes(version) || spans.some((events) => within(version, events));
    return [{ id, title: summary, type, name: of.name, kind: "", date: modified.slice(0, 10), affects }];
  });
}

function event(entry) {
  const [[what, at], ...more] = Object.entries(entry);
  const version = at === "0" ? "0.0.0-0" : at;
  if (more.length > 0 || !["introduced", "fixed", "last_affected", "limit"].includes(what) || !semver.valid(version))
    throw new Error(`an event is not as OSV has it: ${JSON.stringify(entry)}`);
  return { what, version };
}

/** OSV's rule: of the events up to a version, the last one says whether it is affected. */
function within(version, events) {
  let affected = false;
  for (const { what, version: at } of [...events].sort((a, b) => semver.compare(a.version, b.version))) {
    const order = semver.compare(version, at);
    if (what === "introduced" && order >= 0) affected = true;
    if (what === "fixed" && order >= 0) affected = false;
    if (what === "last_affected" && order > 0) affected = false;
  }
  return affected;
}

/** The list of findings that stay: each with the reason. */
export function readAccepted(text) {
  const list = JSON.parse(text);
  for (const one of list)
    if (![one.id, one.package, one.reason].every((field) => typeof field === "string" && field.trim() !== ""))
      throw new StepError(`an accepted advisory needs an id, a package and a reason: ${JSON.stringify(one)}`);
  return list;
}

/**
 * What a database knows against packages. What is accepted is none; what is accepted and does not occur any more is one.
 * @param {Database} database
 * @param {Package[]} packages
 * @param {Accepted[]} accepted
 * @returns {{findings: string[], accepted: number, asked: number}}  asked: packages of a kind that it knows
 */
export function compare({ advisories }, packages, accepted) {
  const kinds = new Set(advisories.map(({ type }) => type));
  const asked = packages.filter(({ type }) => kinds.has(type));
  const found = advisories.flatMap((advisory) =>
    asked
      .filter(
        ({ type, name, version }) => type === advisory.type && name === advisory.name && advisory.affects(version),
      )
      .map(({ name, version }) => ({ advisory, name, version })),
  );
  const isOf = (one) => (finding) => finding.advisory.id === one.id && finding.name === one.package;
  const open = found.filter((finding) => !accepted.some((one) => isOf(one)(finding)));
  const stale = accepted.filter((one) => advisories.some(({ id }) => id === one.id) && !found.some(isOf(one)));
  return {
    findings: [
      ...open.map(({ advisory: { id, title, kind, type }, name, version }) => {
        const of = type === "cargo" ? "crate" : "npm package";
        return `${of} ${name} ${version}: ${id}${kind ? ` (${kind})` : ""} ${title}`;
      }),
      ...stale.map(
        ({ id, package: name }) => `${id} is accepted for ${name}, and does not apply any more: take it out`,
      ),
    ],
    accepted: found.length - open.length,
    asked: asked.length,
  };
}
