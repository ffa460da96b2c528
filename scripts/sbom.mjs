// `npm run sbom`: what is locked, as CycloneDX.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { ROOT } from "./lib/paths.mjs";
import { sbom } from "./lib/sbom.mjs";
import { main } from "./lib/ui.mjs";

await main(async () => {
  const document = sbom();
  const file = join(ROOT, "build/sbom.cdx.json");
  mkdirSync(join(ROOT, "build"), { recursive: true });
  writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`);
  process.stdout.write(`${document.components.length} components\n${file}\n`);
});
