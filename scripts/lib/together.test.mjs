// Two commands at once: in one checkout, and with one cache.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

import { runAsPect } from "./as-pect.mjs";
import { locked } from "./lock.mjs";
import { ROOT } from "./paths.mjs";
import { run } from "./proc.mjs";
import { readAsPect } from "./results.mjs";
import { SUITES } from "./suites.mjs";

const folderOf = (t) => {
  const folder = mkdtempSync(join(tmpdir(), "dvdi-together-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};
/** A script that has `names` of a module of scripts/lib. */
const script = (module, names, code) => [
  "--input-type=module",
  "--eval",
  `import { ${names} } from ${JSON.stringify(pathToFileURL(join(ROOT, "scripts/lib", module)).href)};\n${code}`,
];

test("what one holds the other waits for, until it is done or dead", async (t) => {
  const folder = folderOf(t);
  const [lock, log] = [join(folder, "lock"), join(folder, "log")];
  const one = (name) =>
    locked(
      lock,
      () => {},
      async () => {
        appendFileSync(log, `${name} begins\n`);
        await sleep(50);
        appendFileSync(log, `${name} ends\n`);
      },
    );
  await Promise.all(["a", "b", "c"].map(one));
  assert.match(readFileSync(log, "utf8"), /^(?:(\w) begins\n\1 ends\n){3}$/);
  await assert.rejects(
    locked(
      lock,
      () => {},
      () => Promise.reject(new Error("it failed")),
    ),
    /it failed/,
  );

  const holds = `await locked(${JSON.stringify(lock)}, () => {}, () => (console.log("held"), new Promise((done) => setTimeout(done, 60_000))));`;
  const killed = spawn(process.execPath, script("lock.mjs", "locked", holds), { stdio: ["ignore", "pipe", "inherit"] });
  await once(killed.stdout, "data");
  const told = [];
  const waits = locked(
    lock,
    (line) => told.push(line),
    () => "had",
  );
  while (told.length === 0) await sleep(20);
  assert.match(told[0], /another command .* waiting/);
  killed.kill("SIGKILL");
  assert.equal(await waits, "had");
});

test("each of two runs of the policy's units counts its own tests", async (t) => {
  mkdirSync(join(ROOT, "build"), { recursive: true });
  const folder = mkdtempSync(join(ROOT, "build/together-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, "as-pect.mjs");
  writeFileSync(
    config,
    `import config from "../../scripts/lib/as-pect.config.mjs";\nexport default { ...config, entries: ["examples/house-rule/**/*.spec.ts"] };\n`,
  );
  const tests = async () => {
    const { code, log, results } = await runAsPect({ config: relative(ROOT, config), timeoutMs: 120_000 });
    assert.equal(code, 0, log);
    return readAsPect(results).map(({ name }) => name);
  };
  const [a, b] = await Promise.all([tests(), tests()]);
  assert.ok(a.length > 0);
  assert.equal(new Set(a).size, a.length, "each once");
  assert.deepEqual(a, b);
});

// As CMake finds the tests of a program that was built.
const finding = (list) => `if(NOT EXISTS "${list}")
  file(WRITE "${list}" "add_test(Units.One true)\\n")
  execute_process(COMMAND sleep 1)
  file(APPEND "${list}" "add_test(Units.Two true)\\n")
endif()
include("${list}")
`;

test("each of two runs of the native units behind a build has all of them", async (t) => {
  const build = folderOf(t);
  writeFileSync(join(build, "CTestTestfile.cmake"), finding(join(build, "list.cmake")));
  const ctest = SUITES.find(({ name }) => name === "ctest");
  const tests = async (laterMs) => {
    await sleep(laterMs);
    const { tests: all, problem, log } = await ctest.run({ build, onTest: () => {} });
    assert.equal(problem, undefined, log);
    return all.map(({ name }) => name);
  };
  const [a, b] = await Promise.all([tests(0), tests(400)]);
  assert.deepEqual(a, ["Units.One", "Units.Two"]);
  assert.deepEqual(b, a);
  assert.deepEqual(
    readdirSync(build).filter((name) => name.startsWith("ctest")),
    [],
  );
});

// As Python and pip, which do not bear it that somebody takes their folder away.
const PYTHON = `#!/bin/sh
set -e
test "$1" != --version || { echo Python 3.0; exit; }
echo made >> "$LOG"
mkdir "$3" "$3/bin"
printf '#!/bin/sh\\nsleep 0.5\\necho there > "%s/pip-was-here"\\n' "$3" > "$3/bin/pip"
chmod +x "$3/bin/pip"
`;

test("two first set-ups at once make one environment of plugins", async (t) => {
  const folder = folderOf(t);
  mkdirSync(join(folder, "bin"));
  writeFileSync(join(folder, "bin/python3"), PYTHON, { mode: 0o755 });
  const log = join(folder, "log");
  const env = {
    CI: "true",
    DVDI_CACHE: join(folder, "cache"),
    LOG: log,
    PATH: `${join(folder, "bin")}:${process.env.PATH}`,
  };
  const code = "console.log(await ensureTestPlugins(() => {}), process.env.DVDI_TEST_PLUGINS);";
  const setUp = () => run(process.execPath, script("plugins.mjs", "ensureTestPlugins", code), { env });
  const both = await Promise.all([setUp(), setUp()]);
  for (const { code: status, log: said } of both) assert.equal(status, 0, said);
  const [place, ...others] = new Set(both.map((one) => one.log.trim().split(" ")[1]));
  assert.deepEqual(others, []);
  assert.ok(existsSync(join(place, "pip-was-here")));
  assert.equal(readFileSync(log, "utf8"), "made\n");
  assert.deepEqual(both.map((one) => one.log.split(" ")[0]).sort(), ["cached", "installed"]);
});
