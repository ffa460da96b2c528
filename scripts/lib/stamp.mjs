// Whether something that was made is still what its inputs would give: a hash of the inputs, kept beside it.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { ROOT } from "./paths.mjs";

/** The files at or beneath a path of the checkout, sorted; nothing where it does not exist. */
export function filesAt(path) {
  const absolute = join(ROOT, path);
  if (!existsSync(absolute)) return [];
  if (!statSync(absolute).isDirectory()) return [path];
  const entries = readdirSync(absolute, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) return filesAt(inner);
    return entry.isFile() ? [inner] : [];
  });
}

/** A hash of the names and contents of the files at these paths, tests apart. */
export function hashOf(paths) {
  const hash = createHash("sha256");
  for (const file of paths.flatMap(filesAt).filter((one) => !one.includes("/__tests__/"))) {
    const bytes = readFileSync(join(ROOT, file));
    hash.update(`${file}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("hex");
}

const stampFile = (name) => join(ROOT, "build/stamps", name);

/** Whether `outputs` exist and were made from inputs of this hash. */
export function isFresh(name, hash, outputs) {
  if (!outputs.every((file) => existsSync(file)) || !existsSync(stampFile(name))) return false;
  return readFileSync(stampFile(name), "utf8") === hash;
}

/** Remembers that the outputs are made from inputs of this hash. */
export function remember(name, hash) {
  mkdirSync(dirname(stampFile(name)), { recursive: true });
  writeFileSync(stampFile(name), hash);
}
