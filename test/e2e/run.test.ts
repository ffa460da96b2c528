// `dvdi run` as its user sees it: what the command gets, how it ends, and what is said.
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { until } from "./lib/process.ts";
import { ScriptedPlugin } from "./lib/plugin.ts";
import { skip, World } from "./lib/world.ts";

const PLAIN = ["--volume-driver", "plain"];

/** A node with a driver whose volumes are plain folders; `data` is there. */
async function plain(world: World, more: string[] = []): Promise<ScriptedPlugin> {
  return ScriptedPlugin.serve(world, "plain", { volumes: ["data", ...more] });
}

test("the exit code is the command's", { skip }, async (t) => {
  const world = await World.make(t);
  await plain(world);
  const script = join(world.home, "no-interpreter");
  writeFileSync(script, "#!/no/such/interpreter\n");
  chmodSync(script, 0o755);
  const ends: [string[], number][] = [
    [["true"], 0],
    [["sh", "-c", "exit 7"], 7],
    [["sh", "-c", "exit 255"], 255],
    [["sh", "-c", "kill -KILL $$"], 137],
    [["sh", "-c", "kill -SEGV $$"], 139],
    [["no-such-command"], 127],
    [["/no/such/command"], 127],
    [["/etc/passwd"], 126],
    [["/etc"], 126],
    [[script], 127],
  ];
  for (const [command, code] of ends) {
    const done = await world.dvdi(["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", ...command]);
    assert.equal(done.code, code, done.all);
    if (code === 126 || code === 127) assert.match(done.err, /^dvdi: cannot run .*\n$/m);
  }
});

test("signals are passed on, and the volume is released afterwards", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await plain(world);
  const script =
    'for s in TERM INT HUP USR1; do trap "echo got $s; exit 5" $s; done; echo ready; while :; do sleep 0.02; done';
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] as const) {
    const running = world.begin(["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "sh", "-c", script]);
    await running.says(/^ready$/m);
    running.kill(signal);
    const done = await running.end();
    assert.equal(done.out, `ready\ngot ${signal.slice(3)}\n`, done.all);
    assert.equal(done.code, 5);
  }
  await until("each was released", () => plugin.count("Unmount") === 4);
  const unmoved = world.begin([
    "run",
    "-v",
    `data:${world.target("d")}`,
    ...PLAIN,
    "--",
    "sh",
    "-c",
    "echo ready; exec sleep 60",
  ]);
  await unmoved.says(/^ready$/m);
  unmoved.kill("SIGTERM");
  assert.equal((await unmoved.end()).code, 143);
});

test("a signal while the driver is asked ends the attempt, which is undone", { skip }, async (t) => {
  const world = await World.make(t);
  let asked: () => void = () => undefined;
  const mounting = new Promise<void>((done) => (asked = done));
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((done) => (answer = done));
  const plugin = await ScriptedPlugin.serve(world, "plain", {
    volumes: ["data"],
    Mount: async () => {
      asked();
      await answered;
      return { Mountpoint: join(world.home, "plain/data") };
    },
  });
  const marker = join(world.home, "started");
  const running = world.begin(["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "touch", marker]);
  await mounting;
  running.kill("SIGINT");
  await running.says(/interrupted: waiting for the drivers/);
  answer();
  const done = await running.end();
  assert.equal(done.code, 130, done.all);
  assert.ok(!existsSync(marker), "the command was not started");
  await until("the volume is released", () => plugin.count("Unmount") === 1);
});

test("standard input, the environment and the arguments are the command's own", { skip }, async (t) => {
  const world = await World.make(t);
  await plain(world);
  const script = 'cat; echo "$HERE"; for word; do echo "<$word>"; done';
  const words = ["a b", "", "$(id)", "--volume", "x;y", "é"];
  const done = await world.dvdi(
    ["run", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "sh", "-c", script, "sh", ...words],
    {
      input: "through\n",
      env: { HERE: "an environment" },
    },
  );
  assert.equal(done.out, `through\nan environment\n${words.map((word) => `<${word}>\n`).join("")}`, done.all);
});

test("the first line says whether a volume is new", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await plain(world);
  const run = async (name: string): Promise<string | undefined> => {
    const done = await world.dvdi(["run", "-v", `${name}:${world.target("d")}`, ...PLAIN, "--", "true"]);
    assert.equal(done.code, 0, done.all);
    return done.err.split("\n")[0];
  };
  assert.match((await run("data")) ?? "", /^dvdi: re-attached data \(.*not used on this node before\)$/);
  assert.match((await run("data")) ?? "", /^dvdi: re-attached data \(last used (just now|\d+ seconds? ago)\)$/);
  assert.equal(await run("dtaa"), "dvdi: created new volume dtaa");
  // Removed behind our back: nobody takes the new one for the old one.
  plugin.volumes.delete("dtaa");
  assert.match(
    (await run("dtaa")) ?? "",
    /^dvdi: created new volume dtaa \(the one last used .* is gone from driver plain\)$/,
  );
});

for (const ownership of ["root-dir", "idmap", "recursive"]) {
  test(`--user with ownership ${ownership}: who is not root can write`, { skip }, async (t) => {
    const world = await World.make(t);
    await world.driver();
    const target = world.target("d");
    const run = async (how: string, user: string[], script: string): ReturnType<World["dvdi"]> => {
      const statement = join(world.home, "statement.json");
      const volume = { name: "data", driver: "dvdi", container_path: target, ownership: how, size: "64m" };
      writeFileSync(statement, JSON.stringify({ volumes: [volume] }));
      return world.dvdi(["run", "--statement", statement, ...user, "--", "sh", "-c", script, target]);
    };
    const rooted = await run("none", [], 'mkdir -m 755 "$0/old"; echo root > "$0/old/file"; chmod 600 "$0/old/file"');
    assert.equal(rooted.code, 0, rooted.all);
    const asNobody = ["--user", "nobody:nogroup"];
    const denied = await run("none", asNobody, 'touch "$0/new"');
    assert.notEqual(denied.code, 0, "without it, it cannot");

    const script =
      'id -u; echo mine > "$0/new" && stat -c %u "$0" "$0/new"; stat -c %u "$0/old/file"; cat "$0/old/file"';
    const done = await run(ownership, asNobody, script);
    const [uid, root, file, old, content] = done.out.split("\n");
    assert.deepEqual([uid, root, file], ["65534", "65534", "65534"], done.all);
    // What was there before is the user's with all but root-dir.
    assert.equal(old, ownership === "root-dir" ? "0" : "65534", done.all);
    assert.equal(content, ownership === "root-dir" ? "" : "root", done.all);
    // On the disk, an ID mapping changes nothing, and what the user makes is root's there.
    const onDisk = await run("none", [], 'stat -c %u "$0/new" "$0/old/file"');
    const expected = { "root-dir": "65534\n0\n", idmap: "0\n0\n", recursive: "65534\n65534\n" }[ownership];
    assert.equal(onDisk.out, expected, onDisk.all);
  });
}

test("a read-only volume refuses writes; each is mounted nosuid and nodev", { skip }, async (t) => {
  const world = await World.make(t);
  await world.driver();
  const target = world.target("d");
  const run = (mode: string, ...command: string[]): ReturnType<World["dvdi"]> =>
    world.dvdi(["run", "-v", `data:${target}${mode}`, "--volume-driver", "dvdi", "--", ...command]);
  const script = 'touch "$0/file" && echo written; ls -A "$0"';
  assert.equal((await run("", "sh", "-c", script, target)).out, "written\nfile\n");
  const done = await run(":ro", "sh", "-c", script, target);
  assert.match(done.err, /Read-only file system/, done.all);
  assert.equal(done.out, "file\n");
  for (const mode of ["", ":ro"]) {
    const options = await run(mode, "findmnt", "--noheadings", "--output", "OPTIONS", target);
    assert.match(options.out, mode ? /^ro,/ : /^rw,/, options.all);
    assert.match(options.out, /\bnosuid\b/);
    assert.match(options.out, /\bnodev\b/);
  }
});

test("a subpath is a folder inside of the volume, whatever a symbolic link says", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await plain(world);
  const inside = join(plugin.folder, "data");
  mkdirSync(join(inside, "deep/er"), { recursive: true });
  writeFileSync(join(inside, "deep/er/file"), "");
  symlinkSync("/etc", join(inside, "absolute"));
  symlinkSync("../..", join(inside, "deep/upwards"));
  writeFileSync(join(inside, "plain-file"), "");
  const target = world.target("d");
  const run = (subpath: string): ReturnType<World["dvdi"]> =>
    world.dvdi([
      "run",
      "--mount",
      `type=volume,src=data,dst=${target},volume-subpath=${subpath}`,
      ...PLAIN,
      "--",
      "ls",
      "-A",
      target,
    ]);
  const done = await run("deep/er");
  assert.equal(done.out, "file\n", done.all);
  for (const subpath of [
    "absolute",
    "deep/upwards",
    "deep/upwards/other",
    "../data",
    "/etc",
    "missing",
    "plain-file",
  ]) {
    const refused = await run(subpath);
    assert.equal(refused.code, 125, refused.all);
    assert.match(refused.err, /^dvdi: .*\n$/, "one line");
    assert.equal(refused.out, "");
  }
});

test("target folders are made where they are missing, and removed again", { skip }, async (t) => {
  const world = await World.make(t);
  await plain(world);
  const deep = world.target("not/there/yet");
  const done = await world.dvdi(["run", "-v", `data:${deep}`, ...PLAIN, "--", "ls", "-A", deep]);
  assert.equal(done.code, 0, done.all);
  assert.deepEqual(readdirSync(world.targets), []);

  const existing = join(world.home, "existing");
  mkdirSync(existing);
  writeFileSync(join(existing, "hidden"), "still here");
  const over = await world.dvdi(["run", "-v", `data:${existing}/../existing`, ...PLAIN, "--", "true"]);
  assert.equal(over.code, 125, "no .. in a path");
  const shown = await world.dvdi(["run", "-v", `data:${existing}`, ...PLAIN, "--", "ls", "-A", existing]);
  assert.equal(shown.code, 0, shown.all);
  assert.equal(shown.out, "", "the volume is there, not what it covers");
  assert.equal(readFileSync(join(existing, "hidden"), "utf8"), "still here");

  for (const system of ["/", "/etc", "/usr/lib/x", "/proc/x", "/dev/shm"]) {
    const refused = await world.dvdi(["run", "-v", `data:${system}`, ...PLAIN, "--", "true"]);
    assert.equal(refused.code, 125, refused.all);
    assert.match(refused.err, /^dvdi: .*\n$/);
  }
});

test("the volumes are in the command's namespace alone, one inside of another too", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await plain(world, ["inner"]);
  mkdirSync(join(plugin.folder, "data/sub"));
  const outer = world.target("outer");
  const both = ["-v", `inner:${outer}/sub`, "-v", `data:${outer}`];
  const held = world.begin([
    "run",
    ...both,
    ...PLAIN,
    "--",
    "sh",
    "-c",
    'touch "$0/o" "$0/sub/i"; echo ready; cat',
    outer,
  ]);
  await held.says(/^ready$/m);
  assert.ok(!existsSync(join(world.outside(outer), "o")), "nobody else sees it");
  assert.deepEqual(readdirSync(join(plugin.folder, "data")).sort(), ["o", "sub"]);
  assert.deepEqual(readdirSync(join(plugin.folder, "inner")), ["i"]);
  held.closeInput();
  assert.equal((await held.end()).code, 0);
});

test(
  "of two volumes one cannot be had: the other is released, nothing starts, one line says what to do",
  { skip },
  async (t) => {
    const world = await World.make(t);
    const plugin = await ScriptedPlugin.serve(world, "plain", {
      volumes: ["good", "bad"],
      Mount: ({ Name }) =>
        Name === "bad" ? { Err: "the disk is\non fire \u001b[31m" } : { Mountpoint: join(world.home, "plain", Name) },
    });
    const marker = join(world.home, "started");
    const volumes = ["-v", `good:${world.target("g")}`, "-v", `bad:${world.target("b")}`, ...PLAIN];
    const done = await world.dvdi(["run", ...volumes, "--", "touch", marker]);
    assert.equal(done.code, 125, done.all);
    assert.ok(!existsSync(marker));
    assert.match(done.err, /^dvdi: .*bad.*the disk is.*on fire.*driver plain.*\n$/, "one line, no escapes");
    // eslint-disable-next-line no-control-regex -- that none is there is what it looks for
    assert.doesNotMatch(done.err, /\u001b/);
    await until("the other one is released", () => plugin.count("Unmount good") === plugin.count("Mount good"));
    await world.nothingLeft();
    const [good] = (await world.ls()).filter(({ name }) => name === "good");
    assert.notEqual(good?.state, "attached");
  },
);

test("--json says everything in JSON, on the right stream", { skip }, async (t) => {
  const world = await World.make(t);
  await plain(world);
  const done = await world.dvdi(["run", "--json", "-v", `data:${world.target("d")}`, ...PLAIN, "--", "echo", "out"]);
  assert.equal(done.out, "out\n", "standard output is the command's");
  const answer = JSON.parse(done.err) as { volumes: { name: string; what: string; target: string }[] };
  assert.equal(answer.volumes[0]?.what, "re-attached");
  assert.equal(answer.volumes[0].target, world.target("d"));
  const failed = await world.dvdi(["run", "--json", "-v", "data", ...PLAIN, "--", "true"]);
  assert.equal((JSON.parse(failed.err) as { error: { code: string } }).error.code, "invalid");
  const missing = await world.dvdi(["inspect", "nothing", "--json"]);
  assert.equal(missing.code, 13);
  assert.equal((JSON.parse(missing.out) as { error: { code: string } }).error.code, "not-found");
});
