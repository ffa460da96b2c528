// What is locked, as a CycloneDX document: npm packages, crates, packages from PyPI. From the lock files alone.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./paths.mjs";

/** Licences of npm packages that go with Apache-2.0. */
export const ACCEPTED = [
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "CC0-1.0",
  "ISC",
  "MIT",
];

const read = (file) => readFileSync(join(ROOT, file), "utf8");

function component(type, name, version, more = {}) {
  const purl = `pkg:${type}/${name.replace(/^@/, "%40")}@${version}`;
  return { type: "library", "bom-ref": purl, name, version, purl, ...more };
}

/** "sha512-BASE64" as CycloneDX has it. */
function hashes(integrity) {
  const match = /^sha(256|384|512)-(.+)$/.exec(integrity ?? "");
  return match
    ? { hashes: [{ alg: `SHA-${match[1]}`, content: Buffer.from(match[2], "base64").toString("hex") }] }
    : {};
}

/** The packages of a package-lock.json, each version once; those of development are out of the scope of what ships. */
export function npmComponents(text) {
  const seen = new Map();
  for (const [path, entry] of Object.entries(JSON.parse(text).packages)) {
    if (path === "" || entry.link) continue;
    const name = entry.name ?? path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    const licenses = entry.license ? { licenses: [{ expression: entry.license }] } : {};
    const scope = entry.dev ? "excluded" : "required";
    const one = component("npm", name, entry.version, { scope, ...hashes(entry.integrity), ...licenses });
    seen.set(one.purl, one);
  }
  return [...seen.values()];
}

/** The crates of a Cargo.lock that come from a registry. */
export function cargoComponents(text) {
  return text.split("[[package]]").flatMap((part) => {
    const field = (name) => new RegExp(`^${name} = "([^"]*)"$`, "m").exec(part)?.[1];
    if (!field("source")) return [];
    const checksum = field("checksum");
    const hash = checksum ? { hashes: [{ alg: "SHA-256", content: checksum }] } : {};
    return [component("cargo", field("name"), field("version"), { scope: "required", ...hash })];
  });
}

/** The pinned packages of a requirements.txt: only tests use them. */
export function pypiComponents(text) {
  return text.split("\n").flatMap((line) => {
    const match = /^([A-Za-z0-9_.-]+)==(\S+)$/.exec(line.trim());
    return match ? [component("pypi", match[1].toLowerCase(), match[2], { scope: "excluded" })] : [];
  });
}

/** The whole document; the same lock files give the same bytes. */
export function sbom() {
  const files = ["package-lock.json", "native/wasmtime/Cargo.lock", "test/e2e/requirements.txt"];
  const [npm, cargo, pypi] = files.map(read);
  const digest = createHash("sha256").update(npm).update(cargo).update(pypi).digest("hex");
  const uuid = [8, 12, 16, 20, 32].map((end, n, all) => digest.slice(all[n - 1] ?? 0, end)).join("-");
  const { name, version, license } = JSON.parse(read("package.json"));
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: `urn:uuid:${uuid}`,
    version: 1,
    metadata: { component: { type: "application", name, version, licenses: [{ expression: license }] } },
    components: [...npmComponents(npm), ...cargoComponents(cargo), ...pypiComponents(pypi)].sort((a, b) =>
      a.purl < b.purl ? -1 : 1,
    ),
  };
}

/** Each identifier of an SPDX expression that is not accepted. */
export function unacceptable(expression) {
  const names = expression.split(/[\s()]+/).filter((word) => word && !["AND", "OR", "WITH"].includes(word));
  return names.filter((name) => !ACCEPTED.includes(name));
}
