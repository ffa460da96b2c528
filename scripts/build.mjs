// `npm run build [-- TARGET…]`: the tools, the blob, the library, the programs and their tests.
import { setup } from "./lib/setup.mjs";
import { main } from "./lib/ui.mjs";

await main(() => setup({ groups: ["build"], targets: process.argv.slice(2) }));
