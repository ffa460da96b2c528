// Drivers that answer nonsense: an error of one line, nothing created, nothing mounted, nothing left.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { ScriptedPlugin, type Answer } from "./lib/plugin.ts";
import type { Result } from "./lib/process.ts";
import { skip, World } from "./lib/world.ts";

const IMPATIENT = `plugins:
  max_body: 64KiB
breaker: {failures: 0}
policy:
  call_timeout_ms: 300
  mount_timeout_ms: 300
  retry: {attempts: 2, base_ms: 10, max_ms: 20}
`;

/** No answers at all, or none that a plugin should give. */
const NONSENSE: Record<string, Answer> = {
  "an HTML page": { status: 200, text: "<html>\u001b[31m\u0007hello</html>" },
  "an HTML page as an error": { status: 502, text: "<html>Bad Gateway</html>" },
  "an empty body": "",
  "half of an answer": '{"Mountpoint": "/tm',
  "a text": '"yes"',
  "a lone surrogate": '{"Err": "\\ud800"}',
  "very deep JSON": `${'{"a":'.repeat(5000)}1${"}".repeat(5000)}`,
  "a huge body": { Err: "", Mountpoint: "/srv", padding: "x".repeat(1 << 20) },
  "a closed connection": (response) => void response.destroy(),
  "no answer": () => undefined,
};

const oneLine = (result: Result): void => {
  assert.match(result.err, /^dvdi: [^\n]*\n$/, "one line");
  // eslint-disable-next-line no-control-regex -- that none is there is what it looks for
  assert.doesNotMatch(result.err, /[\u0000-\u0009\u000b-\u001f\u007f]/, "no control characters");
  assert.match(result.err, /volume data, driver odd|driver odd/, "it says whose fault it is");
};

interface Odd {
  world: World;
  plugin: ScriptedPlugin;
  answers: { Get?: Answer; List?: Answer; Mount?: Answer; Create?: Answer };
  run: () => Promise<Result>;
  marker: string;
}

async function odd(t: Parameters<typeof World.make>[0], volumes: string[]): Promise<Odd> {
  const world = await World.make(t, { settings: IMPATIENT });
  const answers: Odd["answers"] = {};
  const plugin: ScriptedPlugin = await ScriptedPlugin.serve(world, "odd", {
    volumes,
    Get: (body) => answers.Get ?? plugin.usual("Get", body),
    List: (body) => answers.List ?? plugin.usual("List", body),
    Create: (body) => answers.Create ?? plugin.usual("Create", body),
    Mount: (body) => answers.Mount ?? plugin.usual("Mount", body),
  });
  const marker = join(world.home, "started");
  const run = (): Promise<Result> =>
    world.dvdi(["run", "-v", `data:${world.target("d")}`, "--volume-driver", "odd", "--", "touch", marker]);
  return { world, plugin, answers, run, marker };
}

test("nonsense for an answer to Get or List never leads to Create", { skip }, async (t) => {
  const { plugin, answers, run, marker } = await odd(t, []);
  for (const method of ["Get", "List"] as const) {
    for (const [what, answer] of Object.entries(NONSENSE)) {
      delete answers.Get;
      delete answers.List;
      answers[method] = answer;
      const done = await run();
      assert.equal(done.code, 125, `${what} for ${method}: ${done.all}`);
      oneLine(done);
    }
  }
  assert.equal(plugin.count("Create") + plugin.count("Mount"), 0);
  assert.ok(!existsSync(marker));
  delete answers.List;
  assert.equal((await run()).code, 0, "a clear no of both does");
  assert.equal(plugin.count("Create"), 1);
});

test(
  "nonsense for an answer to Mount: undone with the same ID, and the command does not start",
  { skip },
  async (t) => {
    const { world, plugin, answers, run, marker } = await odd(t, ["data"]);
    const said: Record<string, Answer> = {
      ...NONSENSE,
      "an error with status 200": { Err: "no\nway" },
      "an error with status 500": { status: 500, text: '{"Err": "no way"}' },
      "an empty mountpoint": { Mountpoint: "", Err: "" },
      "no mountpoint": { Err: "" },
      "a number for a mountpoint": { Mountpoint: 5 },
    };
    for (const [what, answer] of Object.entries(said)) {
      plugin.bodies.length = 0;
      answers.Mount = answer;
      const done = await run();
      assert.equal(done.code, 125, `${what}: ${done.all}`);
      oneLine(done);
      const ids = (method: string): string[] => [
        ...new Set(plugin.bodies.filter((call) => call.method === method).map(({ body }) => body.ID ?? "none")),
      ];
      assert.equal(ids("Mount").length, 1, `${what}: one ID, however often it is sent`);
      assert.deepEqual(ids("Unmount"), ids("Mount"), what);
    }
    assert.ok(!existsSync(marker));
    assert.equal(plugin.count("Create"), 0);
    await world.nothingLeft();
  },
);

test("a mountpoint that is no place for a volume is refused", { skip }, async (t) => {
  const { world, plugin, answers, run, marker } = await odd(t, ["data"]);
  const at = (name: string): string => join(world.home, name);
  writeFileSync(at("file"), "");
  symlinkSync("/etc", at("link"));
  mkdirSync(at("deep"));
  symlinkSync("../link", at("deep/link"));
  symlinkSync(world.state, at("own"));
  symlinkSync("../own/stage", at("deep/own"));
  const places = [
    ...["/", "/etc", "/etc/ssl", "/usr", "/usr/lib", "/proc/self", "/dev/shm", "/sys", "/var", "/var/lib"],
    ...["/root", "/usr/local/sbin", "/var/lib/dpkg/info", "/var/spool/cron/crontabs", "/home", "/run/systemd"],
    ...["/etc/../etc", "//etc//", "/srv/../etc"],
    ...["relative/path", ".", "~", "/no/such/folder", "/tmp/a\nb", "/tmp/a\u0000b", `/${"a/".repeat(4000)}`],
    ...[at("file"), at("link"), at("deep/link"), at("own"), at("deep/own")],
    ...[world.state, join(world.state, "stage"), world.home],
  ];
  for (const place of places) {
    answers.Mount = { Mountpoint: place, Err: "" };
    const done = await run();
    assert.equal(done.code, 125, `${place}: ${done.all}`);
    oneLine(done);
  }
  assert.ok(!existsSync(marker));
  assert.equal(plugin.count("Unmount"), places.length, "each is undone");
  answers.Mount = { Mountpoint: at("deep/own"), Err: "" };
  assert.match((await run()).err, new RegExp(`but the engine keeps its own in ${world.state}`));
  answers.Mount = { Mountpoint: "/srv/../etc", Err: "" };
  assert.match((await run()).err, /which is no absolute path without/);
  // A symbolic link to a proper place is a driver's own business.
  symlinkSync(join(plugin.folder, "data"), at("proper"));
  answers.Mount = { Mountpoint: at("proper"), Err: "" };
  const done = await run();
  assert.equal(done.code, 0, done.all);
});

test(
  "a Create that was not answered is not sent again, and a volume that is there after all is used",
  { skip },
  async (t) => {
    const { plugin, answers, run } = await odd(t, []);
    answers.Create = () => undefined;
    const failed = await run();
    assert.equal(failed.code, 125, failed.all);
    oneLine(failed);
    assert.equal(plugin.count("Create"), 1, "sent once, whatever becomes of it");
    answers.Create = (response) => {
      plugin.usual("Create", { Name: "data" });
      response.destroy();
    };
    const done = await run();
    assert.equal(done.code, 0, done.all);
    assert.equal(plugin.count("Create"), 2);
  },
);
