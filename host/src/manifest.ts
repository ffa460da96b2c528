// The manifest of a policy: JSON in the custom section dvdi.manifest.
import { ABI, IMPORT_MODULE, IMPORTS, MANIFEST_SECTION } from "./abi.ts";
import { customSections, readModule, withCustomSection, type Module } from "./wasm.ts";

export interface Manifest {
  name: string;
  version: string;
  abi: number;
  description: string;
  /** The functions of module "dvdi" that the blob needs, sorted. */
  imports: string[];
}

/** What an author says of a policy; the rest of a manifest is read off the module. */
export type ManifestText = Pick<Manifest, "name" | "version" | "description">;

const NAME = /^[A-Za-z0-9._-]{1,64}$/;
// The engine compares versions (its watermark): three numbers and nothing behind them.
const VERSION = /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/;
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u001f\u007f]/;
const MAX_DESCRIPTION = 1000;
const MAX_BYTES = 64 << 10;
const MAX_DEPTH = 8;

/** Why these texts cannot stand in a manifest, or null. */
export function textProblem(text: ManifestText): string | null {
  if (!NAME.test(text.name)) {
    return `name ${JSON.stringify(text.name)} must be 1 to 64 letters, digits, '.', '_' or '-'`;
  }
  if (!VERSION.test(text.version)) {
    return `version ${JSON.stringify(text.version)} must be three numbers like 1.2.3`;
  }
  if (text.description.length > MAX_DESCRIPTION || CONTROL.test(text.description)) {
    return `description must be one line of at most ${MAX_DESCRIPTION} characters`;
  }
  return null;
}

/** The functions of module "dvdi" that a module imports, sorted. */
export function neededImports(module: Module): string[] {
  const names = module.imports.filter((entry) => entry.module === IMPORT_MODULE).map((entry) => entry.name);
  return [...new Set(names)].sort();
}

/** The blob with a manifest of these texts. The same input gives the same bytes. */
export function withManifest(blob: Uint8Array, text: ManifestText): Uint8Array {
  const manifest: Manifest = {
    name: text.name,
    version: text.version,
    abi: ABI,
    description: text.description,
    imports: neededImports(readModule(blob)),
  };
  return withCustomSection(blob, MANIFEST_SECTION, new TextEncoder().encode(JSON.stringify(manifest)));
}

/** The manifest of a module, and what is wrong with it; a null manifest where there is nothing to show. */
export function readManifest(module: Module): { manifest: Manifest | null; problems: string[] } {
  const payloads = customSections(module, MANIFEST_SECTION);
  const payload = payloads[0];
  if (payload === undefined || payloads.length > 1) {
    return {
      manifest: null,
      problems: [`it has ${payloads.length} custom sections ${MANIFEST_SECTION}; it must have one`],
    };
  }
  if (payload.length > MAX_BYTES)
    return {
      manifest: null,
      problems: [`its manifest has ${payload.length} bytes; at most ${MAX_BYTES} are accepted`],
    };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch (error) {
    return { manifest: null, problems: [`its manifest is not JSON: ${(error as Error).message}`] };
  }
  if (depthOf(value) > MAX_DEPTH)
    return { manifest: null, problems: [`its manifest is nested deeper than ${MAX_DEPTH} levels`] };
  // An engine does not insist on a description.
  if (typeof value === "object" && value !== null) value = { description: "", ...value };
  if (!isManifest(value))
    return { manifest: null, problems: ["its manifest has not the members name, version, abi, imports"] };
  const problems: string[] = [];
  const wrongText = textProblem(value);
  if (wrongText !== null) problems.push(`its manifest's ${wrongText}`);
  if (value.abi !== ABI) problems.push(`its manifest says ABI ${value.abi}; this tool knows ABI ${ABI}`);
  const needed = neededImports(module);
  for (const name of needed.filter((one) => !value.imports.includes(one))) {
    problems.push(`it imports dvdi.${name}, which its manifest does not name`);
  }
  for (const name of value.imports.filter((one) => !needed.includes(one))) {
    const why = IMPORTS.includes(name) ? "its code does not import" : "is not offered";
    problems.push(`its manifest names the import ${JSON.stringify(name)}, which ${why}`);
  }
  const twice = value.imports.find((one, at) => value.imports.indexOf(one) !== at);
  if (twice !== undefined) problems.push(`its manifest names the import ${JSON.stringify(twice)} twice`);
  return { manifest: value, problems };
}

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Object.values(value).reduce((most: number, one) => Math.max(most, depthOf(one)), 0);
}

function isManifest(value: unknown): value is Manifest {
  if (typeof value !== "object" || value === null) return false;
  const { name, version, abi, description, imports } = value as Record<keyof Manifest, unknown>;
  const texts = [name, version, description].every((member) => typeof member === "string");
  return texts && typeof abi === "number" && Array.isArray(imports) && imports.every((one) => typeof one === "string");
}
