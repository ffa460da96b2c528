import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT } from "./paths.mjs";
import { cargoComponents, npmComponents, pypiComponents, sbom, unacceptable } from "./sbom.mjs";

test("the document has everything that is locked, each version once, and is the same each time", () => {
  const document = sbom();
  const refs = document.components.map((one) => one["bom-ref"]);
  assert.equal(new Set(refs).size, refs.length);
  assert.ok(refs.some((ref) => ref.startsWith("pkg:npm/assemblyscript@")));
  assert.ok(refs.some((ref) => ref.startsWith("pkg:cargo/wasmtime@")));
  assert.ok(refs.some((ref) => ref.startsWith("pkg:pypi/buttervolume@")));
  assert.match(document.serialNumber, /^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.deepEqual(sbom(), document);
  for (const { hashes = [] } of document.components) {
    for (const { alg, content } of hashes) assert.equal(content.length * 4, Number(alg.slice(4)));
  }
});

test("lock files: names, versions, hashes", () => {
  const integrity = `sha512-${Buffer.alloc(64, 1).toString("base64")}`;
  const npm = {
    packages: {
      "": {},
      "node_modules/a/node_modules/@s/b": { version: "1.0.0", integrity, license: "MIT", dev: true },
    },
  };
  const [one] = npmComponents(JSON.stringify(npm));
  assert.equal(one.purl, "pkg:npm/%40s/b@1.0.0");
  assert.deepEqual(one.hashes, [{ alg: "SHA-512", content: "01".repeat(64) }]);
  const cargo =
    '[[package]]\nname = "own"\nversion = "0.1.0"\n\n[[package]]\nname = "a"\nversion = "2.0.0"\nsource = "registry+x"\nchecksum = "ab"\n';
  assert.deepEqual(
    cargoComponents(cargo).map(({ purl }) => purl),
    ["pkg:cargo/a@2.0.0"],
  );
  assert.deepEqual(
    pypiComponents("# no\nFlask==3.1\n").map(({ purl }) => purl),
    ["pkg:pypi/flask@3.1"],
  );
});

test("every npm package and crate is locked with a hash", () => {
  for (const { purl, hashes } of sbom().components) {
    if (!purl.startsWith("pkg:pypi/")) assert.ok(hashes?.length === 1, `${purl} has no hash`);
  }
});

test("every npm package has a licence that goes with ours", () => {
  for (const { purl, licenses } of npmComponents(readFileSync(join(ROOT, "package-lock.json"), "utf8"))) {
    assert.deepEqual(unacceptable(licenses?.[0].expression ?? "none stated"), [], purl);
  }
  assert.deepEqual(unacceptable("(MIT OR GPL-3.0-only)"), ["GPL-3.0-only"]);
});
