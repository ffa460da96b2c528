// `dvdi-policy inspect`: what is in a blob, and whether an engine would take it.
import { createHash } from "node:crypto";

import { shapeProblems, typeText } from "./abi.ts";
import { boundProblems } from "./bounds.ts";
import { readManifest, type Manifest } from "./manifest.ts";
import { printable } from "./printable.ts";
import { readModule, WasmError, type Module } from "./wasm.ts";

export interface Inspection {
  sha256: string;
  size: number;
  manifest: Manifest | null;
  /** "module.name", with the type of functions. */
  imports: { name: string; kind: string; type: string | null }[];
  exports: { name: string; kind: string; type: string | null }[];
  memory: { min_pages: number; max_pages: number | null } | null;
  start_function: boolean;
  custom_sections: { name: string; size: number }[];
  /** Why the engine would refuse it; empty where it would not. */
  problems: string[];
}

/** Never throws: what cannot be read is a problem. */
export function inspectPolicy(blob: Uint8Array): Inspection {
  const result: Inspection = {
    sha256: createHash("sha256").update(blob).digest("hex"),
    size: blob.length,
    manifest: null,
    imports: [],
    exports: [],
    memory: null,
    start_function: false,
    custom_sections: [],
    problems: [],
  };
  let module: Module;
  try {
    module = readModule(blob);
  } catch (error) {
    if (!(error instanceof WasmError)) throw error;
    result.problems.push(error.message);
    return result;
  }
  if (WebAssembly.validate(blob)) result.problems.push(...boundProblems(module));
  else result.problems.push("it is not valid WebAssembly");
  const { manifest, problems } = readManifest(module);
  result.manifest = manifest;
  result.problems.push(...shapeProblems(module, blob.length), ...problems);
  result.imports = module.imports.map((entry) => ({
    name: `${entry.module}.${entry.name}`,
    kind: entry.kind,
    type: entry.type && typeText(entry.type),
  }));
  result.exports = module.exports.map((entry) => ({
    name: entry.name,
    kind: entry.kind,
    type: entry.type && typeText(entry.type),
  }));
  const memory = module.memories[0];
  result.memory = memory ? { min_pages: memory.min, max_pages: memory.max } : null;
  result.start_function = module.hasStart;
  result.custom_sections = module.sections
    .filter((section) => section.id === 0)
    .map((section) => ({ name: section.name, size: section.payload.length }));
  return result;
}

/** The signature that lies beside a blob, and whether a key that was named made it (null: none was named). */
export interface SignatureFound {
  file: string;
  key_id: string;
  trusted_comment: string;
  verified: boolean | null;
  problem: string | null;
}

/** An inspection as lines for a person. */
export function inspectionText(inspection: Inspection, signature: SignatureFound | null = null): string {
  const { manifest, memory } = inspection;
  const lines: [string, string][] = [];
  if (manifest !== null) {
    lines.push(["policy", printable(`${manifest.name} ${manifest.version} (ABI ${manifest.abi})`)]);
    if (manifest.description !== "") lines.push(["about", printable(manifest.description)]);
  }
  lines.push(["sha256", inspection.sha256], ["size", `${inspection.size} bytes`]);
  if (memory !== null) {
    const max = memory.max_pages === null ? "no maximum of its own" : `at most ${memory.max_pages}`;
    lines.push(["memory", `${memory.min_pages} pages of 64 KiB to begin with, ${max}`]);
  }
  for (const entry of inspection.imports)
    lines.push(["import", printable(`${entry.name} ${entry.type ?? entry.kind}`)]);
  for (const entry of inspection.exports)
    lines.push(["export", printable(`${entry.name} ${entry.type ?? entry.kind}`)]);
  lines.push(["start", inspection.start_function ? "yes" : "none"]);
  for (const section of inspection.custom_sections) {
    lines.push(["section", printable(`${section.name} (${section.size} bytes)`)]);
  }
  if (signature !== null) {
    const { key_id, verified, problem } = signature;
    const state = verified === null ? "not checked: name the key with --key" : verified ? "holds" : problem;
    lines.push(["signed", printable(`by the key ${key_id} (${state ?? ""})`)]);
    lines.push(["signed", printable(signature.trusted_comment.replaceAll("\t", "  "))]);
  }
  if (inspection.problems.length === 0) lines.push(["engine", "would take it"]);
  for (const problem of inspection.problems) lines.push(["engine", `would refuse it: ${printable(problem)}`]);
  return lines.map(([label, text]) => `${label.padEnd(8)} ${text}\n`).join("");
}
