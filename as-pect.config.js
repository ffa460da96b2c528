// Set-up of the policy's unit tests: `npx asp --config as-pect.config.js`.
import { createWorld } from "./assembly/__tests__/world.mjs";

// json-as reads these when its transform is loaded, which is after this file.
process.env.JSON_MODE ??= "NAIVE";
process.env.JSON_CACHE ??= "1KB";

export default {
  entries: ["assembly/__tests__/**/*.spec.ts", "examples/**/*.spec.ts"],
  include: ["assembly/__tests__/**/*.include.ts"],
  disclude: [/node_modules/],
  outputBinary: false,
  async instantiate(memory, createImports, instantiate, binary) {
    const world = createWorld();
    const result = instantiate(binary, createImports({ env: { memory }, ...world.imports }));
    world.attach(await result);
    return result;
  },
};
