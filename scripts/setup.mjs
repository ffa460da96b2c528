// `npm run setup`: everything that the other commands set up for themselves.
import { setup } from "./lib/setup.mjs";
import { main } from "./lib/ui.mjs";

await main(() => setup({ groups: ["build", "run", "test", "check"], plugins: true }));
