import assert from "node:assert/strict";
import { isAbsolute, join } from "node:path";
import { test } from "node:test";

import { ROOT } from "./paths.mjs";
import { run } from "./proc.mjs";

const script = (name, ...args) => run(process.execPath, [join(ROOT, "scripts", `${name}.mjs`), ...args]);

test("an option that is not known is said in a line, with those that are", async () => {
  for (const [name, known] of [
    ["test", "--suite, --match, --note"],
    ["check", "--fix, --tidy"],
    ["crash", "--scenario, --at, --lanes, --times, --first"],
    ["mesos", "--mesos-root, --match, --figures"],
  ]) {
    const { code, log } = await script(name, "--nonsense");
    assert.equal(code, 1, log);
    assert.equal(log, `\nerror: Unknown option '--nonsense'\n  hint: options: ${known}\n`, name);
  }
});

test("a folder without Apache Mesos is said to be one before anything is built", async () => {
  const { code, log } = await script("mesos", "--mesos-root=/nowhere");
  assert.equal(code, 1);
  assert.match(log, /error: there is no Apache Mesos at \/nowhere/);
  assert.doesNotMatch(log, /set-up/);
});

test("the cache is the same folder for whatever runs elsewhere", async () => {
  const asked = `import(${JSON.stringify(join(ROOT, "scripts/lib/paths.mjs"))}).then((paths) => console.log(paths.CACHE))`;
  const { log } = await run(process.execPath, ["-e", asked], { env: { DVDI_CACHE: "some/cache" } });
  assert.ok(isAbsolute(log.trim()), log);
});

test("numbers of deaths and lanes that are none are said before anything is built", async () => {
  for (const [option, value] of [
    ["times", "0"],
    ["times", "three"],
    ["lanes", "1.5"],
  ]) {
    const { code, log } = await script("crash", `--${option}=${value}`);
    assert.equal(code, 1, log);
    assert.match(log, new RegExp(`^\\nerror: --${option} ${value}: a whole number from 1 on is accepted\n`));
    assert.doesNotMatch(log, /set-up/);
  }
});
