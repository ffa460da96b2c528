// Several `dvdi` at once, some of them killed: none undoes another's work, and what a killed one left is cleaned up.
import assert from "node:assert/strict";
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { must, until } from "./lib/process.ts";
import { ScriptedPlugin } from "./lib/plugin.ts";
import { skip, World } from "./lib/world.ts";

const SHIPPED = ["--volume-driver", "dvdi"];

/** A command that does not end with `dvdi`: it writes into its volume what comes through a FIFO, until that is closed. */
async function writer(
  world: World,
  name: string,
): Promise<{ command: string[]; send: (line: string) => void; close: () => void }> {
  const fifo = join(world.home, `${name}.fifo`);
  await must(["mkfifo", fifo]);
  // Both ends, so that it never waits; closed when it is over.
  const fd = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  let open = true;
  const close = (): void => {
    if (open) closeSync(fd);
    open = false;
  };
  world.atEnd(close);
  const script = 'while read -r line; do echo "$line" >> "$0/log"; done < "$1"';
  return {
    command: ["timeout", "60", "sh", "-c", script, world.target(name), fifo],
    send: (line) => void writeSync(fd, `${line}\n`),
    close,
  };
}

test("after SIGKILL of dvdi the volume stays until its command ends; then any call cleans up", { skip }, async (t) => {
  const world = await World.make(t);
  await world.driver();
  const { command, send, close } = await writer(world, "data");
  const running = world.begin(["run", "-v", `data:${world.target("data")}`, ...SHIPPED, "--", ...command]);
  const log = async (): Promise<string> => (await world.run(["cat", join(world.mountRoot, "data/log")])).out;
  send("one");
  await until("it has written", async () => (await log()) === "one\n");

  running.kill("SIGKILL");
  await until("dvdi is gone", () => !running.running);
  for (const verb of ["ls", "recover"]) assert.equal((await world.dvdi([verb])).code, 0);
  const [listed] = await world.ls();
  assert.equal(listed?.state, "attached");
  assert.equal(listed.users.length, 1, "the command goes on, so the volume is in use");
  const second = await world.dvdi(["run", "-v", `data:${world.target("other")}`, ...SHIPPED, "--", "true"]);
  assert.equal(second.code, 125, "it has a writer still");
  send("two");
  await until("it still writes into its volume", async () => (await log()) === "one\ntwo\n");

  close();
  await running.ended;
  const cleaned = await world.dvdi(["ls"]);
  assert.match(cleaned.err, /^dvdi: note: .*data|^dvdi: .*cleaned up.*/m);
  await world.nothingLeft();
  assert.deepEqual((await world.ls())[0]?.users, []);
});

test("a long run, others beside it, one of them killed: the long one never notices", { skip }, async (t) => {
  const world = await World.make(t);
  await world.driver();
  const long = await world.hold(["-v", `long:${world.target("long")}`, ...SHIPPED]);
  const alive = async (): Promise<void> => {
    const [listed] = (await world.ls()).filter(({ name }) => name === "long");
    assert.equal(listed?.users.length, 1);
    assert.deepEqual(await world.run(["mountpoint", "-q", join(world.mountRoot, "long")]).then(({ code }) => code), 0);
  };
  const reader = await world.dvdi([
    "run",
    "-v",
    `long:${world.target("r")}:ro`,
    ...SHIPPED,
    "--",
    "ls",
    world.target("r"),
  ]);
  assert.equal(reader.code, 0, reader.all);
  const refused = await world.dvdi(["run", "-v", `long:${world.target("w")}`, ...SHIPPED, "--", "true"]);
  assert.equal(refused.code, 125, refused.all);
  assert.match(refused.err, /^dvdi: .*long.*run\/.*\n$/, "one line that names who has it");
  await alive();

  const { command, send, close } = await writer(world, "other");
  const killed = world.begin(["run", "-v", `other:${world.target("other")}`, ...SHIPPED, "--", ...command]);
  send("runs");
  await until(
    "the other one runs",
    async () => (await world.run(["cat", join(world.mountRoot, "other/log")])).out === "runs\n",
  );
  killed.kill("SIGKILL");
  close();
  await killed.ended;
  const recovered = await world.dvdi(["recover", "--wait"]);
  assert.equal(recovered.code, 0, recovered.all);
  assert.ok(!(await world.loops()).some((line) => line.includes("/other/")), "what the killed one had is released");
  await alive();
  assert.equal((await long.release()).code, 0);
});

/** A plugin that names each volume by its folder below `argv[2]`, and says when it listens at `argv[1]`. */
const LINKED = `
const answers = {
  Activate: () => ({ Implements: ["VolumeDriver"] }),
  Get: (name) => ({ Volume: { Name: name } }),
  Mount: (name) => ({ Mountpoint: process.argv[2] + "/" + name }),
};
require("http").createServer((request, response) => {
  let text = "";
  request.on("data", (part) => (text += part)).on("end", () => {
    const answer = answers[request.url.split(".").pop()] ?? (() => ({}));
    response.end(JSON.stringify({ Err: "", ...answer(JSON.parse(text || "{}").Name) }));
  });
}).listen(process.argv[1], () => console.log("listens"));
`;

test("a command does not see what others had mounted when it began, whatever it is called", { skip }, async (t) => {
  const world = await World.make(t);
  await world.driver();
  const folder = join(world.home, "linked");
  await world.mount(["-t", "tmpfs", "linked"], join(folder, "a"));
  symlinkSync("linked", join(world.home, "link"));
  const plugin = [process.execPath, "-e", LINKED, world.socket("linked"), join(world.home, "link")];
  await world.serve(plugin).says(/^listens$/m);
  const held = [
    await world.hold(["-v", `a:${world.target("a")}`, "--volume-driver", "linked"]),
    await world.hold(["-v", `b:${world.target("b")}`, ...SHIPPED]),
  ];
  assert.ok(world.mounts().includes(join(world.mountRoot, "b")));
  const seen = await world.dvdi([
    "run",
    "-v",
    `c:${world.target("c")}`,
    ...SHIPPED,
    "--",
    "cat",
    "/proc/self/mountinfo",
  ]);
  assert.equal(seen.code, 0, seen.all);
  const mounts = seen.out.split("\n").flatMap((line) => line.split(" ")[4] ?? []);
  const ofWorld = mounts.filter((path) => path.startsWith(`${world.home}/`) && path !== world.mountRoot);
  assert.deepEqual(ofWorld, [world.target("c")], "its own volume alone");
  for (const one of held) assert.equal((await one.release()).code, 0);
  await world.nothingLeft();
});

test("a dvdi that is killed in the middle of a prepare: the next call undoes it", { skip }, async (t) => {
  const world = await World.make(t);
  let mounting: () => void = () => undefined;
  const asked = new Promise<void>((done) => (mounting = done));
  let hang = true;
  const plugin = await ScriptedPlugin.serve(world, "slow", {
    volumes: ["data"],
    Mount: ({ Name }) => {
      mounting();
      // No answer at all.
      return hang ? () => undefined : { Mountpoint: join(world.home, "slow", Name) };
    },
  });
  const marker = join(world.home, "started");
  const run = ["run", "-v", `data:${world.target("data")}`, "--volume-driver", "slow", "--", "touch", marker];
  const killed = world.begin(run);
  await asked;
  killed.kill("SIGKILL");
  await killed.ended;
  hang = false;
  const recovered = await world.dvdi(["recover", "--wait"]);
  assert.equal(recovered.code, 0, recovered.all);
  assert.ok(!existsSync(marker), "its command was never started");
  const ids = (method: string): (string | undefined)[] =>
    plugin.bodies.filter((call) => call.method === method).map(({ body }) => body.ID);
  assert.match(ids("Mount")[0] ?? "", /^[0-9a-f]{64}$/);
  assert.deepEqual(ids("Unmount"), ids("Mount"), "undone by the ID that was mounted");
  await world.nothingLeft();
  assert.equal((await world.dvdi(run)).code, 0);
  assert.ok(existsSync(marker));
});

test("what a live dvdi is doing is undone by nobody else", { skip }, async (t) => {
  const world = await World.make(t);
  let mounting: () => void = () => undefined;
  const asked = new Promise<void>((done) => (mounting = done));
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((done) => (answer = done));
  const plugin = await ScriptedPlugin.serve(world, "slow", {
    volumes: ["data", "other"],
    Mount: async ({ Name }) => {
      if (Name === "data") {
        mounting();
        await answered;
      }
      return { Mountpoint: join(world.home, "slow", Name) };
    },
  });
  const slow = world.begin(["run", "-v", `data:${world.target("data")}`, "--volume-driver", "slow", "--", "true"]);
  await asked;
  assert.equal((await world.dvdi(["recover", "--wait"])).code, 0);
  const other = await world.dvdi([
    "run",
    "-v",
    `other:${world.target("other")}`,
    "--volume-driver",
    "slow",
    "--",
    "true",
  ]);
  assert.equal(other.code, 0, other.all);
  assert.equal(plugin.count("Unmount data"), 0);
  answer();
  const done = await slow.end();
  assert.equal(done.code, 0, done.all);
  assert.equal(plugin.count("Mount data"), 1);
  await until("it is released", () => plugin.count("Unmount data") === 1);
});

test("a run that ends while another one holds its volume leaves nothing", { skip }, async (t) => {
  const world = await World.make(t);
  const gate = (): { opened: Promise<void>; open: () => void } => {
    let open: () => void = () => undefined;
    return { opened: new Promise<void>((done) => (open = done)), open: () => open() };
  };
  const mounting = gate(),
    answer = gate();
  const plugin = await ScriptedPlugin.serve(world, "plain", {
    volumes: ["shared", "slow"],
    Mount: async ({ Name }) => {
      if (Name === "slow") {
        mounting.open();
        await answer.opened;
      }
      return { Mountpoint: join(world.home, "plain", Name) };
    },
  });
  const statement = (name: string, volumes: string[]): string[] => {
    const file = join(world.home, `${name}.json`);
    const of = (volume: string): object => ({
      name: volume,
      driver: "plain",
      container_path: world.target(`${name}-${volume}`),
      access: "multi-writer",
    });
    writeFileSync(file, JSON.stringify({ volumes: volumes.map(of) }));
    return ["run", "--statement", file, "--"];
  };
  const [began, goOn] = [join(world.home, "began"), join(world.home, "go-on")];
  const first = world.begin([
    ...statement("first", ["shared"]),
    ...["sh", "-c", 'touch "$0"; while [ ! -e "$1" ]; do sleep 0.02; done', began, goOn],
  ]);
  await until("the first one's command runs", () => existsSync(began));
  const second = world.begin([...statement("second", ["shared", "slow"]), "true"]);
  await mounting.opened;
  writeFileSync(goOn, "");
  await sleep(700); // longer than an engine that goes on waits
  answer.open();
  for (const run of [first, second]) {
    const done = await run.end();
    assert.equal(done.code, 0, done.all);
  }
  await until("all is released", () => plugin.count("Unmount shared") === 1 && plugin.count("Unmount slow") === 1);
});

test("many at once share one attachment, and each has its end", { skip }, async (t) => {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["shared"] });
  const runs = await Promise.all(
    [1, 2, 3, 4, 5, 6].map(async (n) => {
      const target = world.target(`t${n}`);
      const statement = join(world.home, `s${n}.json`);
      const volume = { name: "shared", driver: "plain", container_path: target, access: "multi-writer" };
      writeFileSync(statement, JSON.stringify({ volumes: [volume] }));
      return world.dvdi(["run", "--statement", statement, "--", "sh", "-c", 'echo "$1" > "$0/$1"', target, String(n)]);
    }),
  );
  for (const run of runs) assert.equal(run.code, 0, run.all);
  for (const n of [1, 2, 3, 4, 5, 6]) {
    assert.equal(readFileSync(join(plugin.folder, "shared", String(n)), "utf8"), `${n}\n`);
  }
  await until("all is released", () => plugin.count("Unmount") === plugin.count("Mount"));
  const of = (method: string): string[] =>
    plugin.bodies.filter((call) => call.method === method).map(({ body }) => body.ID ?? "none");
  assert.deepEqual(of("Unmount"), of("Mount"), "each attachment is undone before the next one begins");
  rmSync(join(plugin.folder, "shared"), { recursive: true });
});
