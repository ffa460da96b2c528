// `npm run bench [-- ARGUMENT…]`: set-up, then the benchmark program, which prints a table and writes JSON.
import { spawn } from "node:child_process";
import { join } from "node:path";

import { NATIVE, POLICY, ROOT } from "./lib/paths.mjs";
import { environment } from "./lib/proc.mjs";
import { setup } from "./lib/setup.mjs";
import { main } from "./lib/ui.mjs";

const PROGRAM = join(NATIVE, "native/bench/dvdi-bench");

await main(async () => {
  await setup({ groups: ["build", "run"] });
  const args = ["--json", join(ROOT, "build/bench.json"), ...process.argv.slice(2)];
  const env = environment({ DVDI_NATIVE_BUILD: NATIVE, DVDI_POLICY: POLICY });
  const child = spawn(PROGRAM, args, { cwd: ROOT, env, stdio: ["ignore", "inherit", "inherit"] });
  process.exitCode = await new Promise((done, failed) => {
    child.once("error", failed);
    child.once("exit", (code, signal) => done(code ?? (signal ? 128 : 1)));
  });
});
