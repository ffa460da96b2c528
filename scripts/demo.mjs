// `npm run demo`: set-up, then the main job on two nodes that share a pool. Each node is a mount namespace with a driver and a
// state folder of its own; all of it lies in a temporary folder and is gone at the end.
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { Node } from "./lib/node.mjs";
import { HOUSE_POLICY, ROOT } from "./lib/paths.mjs";
import { setup } from "./lib/setup.mjs";
import { bold, cyan, dim, fail, green, red, seconds, StepError } from "./lib/ui.mjs";

const WAIT_MS = 30_000;
const DRIVER = ["--volume-driver", "dvdi"];

let stopping = false;

function print(text) {
  if (stopping) throw new StepError("interrupted");
  process.stdout.write(`${text}\n`);
}
const chapter = (title, about) => print(`\n${bold(title)}\n${dim(about)}`);
const show = (text) => text.trimEnd() && print(text.trimEnd().replace(/^/gm, "    "));

/** An argument as a person would type it. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`);
const commandLine = (node, args) => print(`  ${cyan(node.name)} $ dvdi ${args.map(quoted).join(" ")}`);

/** What the demo shows is checked as well: it must not tell a story that did not happen. */
function expect(holds, what, output = "") {
  if (!holds) throw new StepError(`the demo did not go as it should: ${what}`, { log: output });
  print(`  ${green("✓")} ${what}`);
}

/** Runs dvdi on a node, shows the command and what it prints, and returns that. */
function dvdi(node, ...args) {
  commandLine(node, args);
  const result = node.run(args);
  show(result.stderr);
  show(result.stdout);
  return { ...result, all: `${result.stderr}${result.stdout}` };
}

/** Starts a workload that holds its volume until its standard input ends; returns when it runs. */
async function hold(node, ...args) {
  const words = ["run", ...args, "--", "cat"];
  commandLine(node, words);
  const child = node.begin(words);
  let output = "";
  const running = new Promise((done, failed) => {
    const timer = setTimeout(
      () => failed(new StepError(`${node.name}: the workload did not start`, { log: output })),
      WAIT_MS,
    );
    child.stderr.on("data", (bytes) => (output += bytes));
    child.stdout.on("data", (bytes) => {
      output += bytes;
      clearTimeout(timer);
      done();
    });
    child.once("exit", (code) => {
      clearTimeout(timer);
      failed(new StepError(`${node.name}: the workload ended with ${code}`, { log: output }));
    });
  });
  // `cat` sends back what it gets: then it is the workload that answers, volumes and all.
  child.stdin.write("holding the volume\n");
  await running;
  show(output);
  return {
    child,
    end: () =>
      new Promise((done) => {
        child.once("exit", (code) => done(code));
        child.stdin.end();
      }),
  };
}

/** The loop devices and mounts of this machine that have to do with our folder. */
function leftovers(folder) {
  const { stdout } = spawnSync("losetup", ["--list", "--noheadings", "--output", "NAME,BACK-FILE"], {
    encoding: "utf8",
  });
  const loops = (stdout ?? "").split("\n").filter((line) => line.includes(folder));
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(folder));
  return [...loops, ...mounts];
}

async function story(a, b, holds) {
  chapter(
    "1. A workload gets a volume that did not exist",
    "found nowhere, so it is made, formatted, attached, mounted",
  );
  const first = dvdi(
    a,
    "run",
    "-v",
    "notes:/mnt/notes",
    ...DRIVER,
    "--",
    "cp",
    "/etc/debian_version",
    "/mnt/notes/from-a",
  );
  expect(first.code === 0 && /created new volume notes/.test(first.all), "created, and said so", first.all);

  chapter("2. One node at a time", "while node-a holds the volume, node-b is refused");
  const holding = await hold(a, "-v", "notes:/mnt/notes", ...DRIVER);
  holds.push(holding.child);
  const refused = dvdi(b, "run", "-v", "notes:/mnt/notes", ...DRIVER, "--", "cat", "/mnt/notes/from-a");
  expect(refused.code === 125 && refused.all.includes("node-a"), "refused, and node-a is named", refused.all);

  chapter("3. It runs on the other node and finds its data", "node-a's workload ends; node-b gets the same volume");
  expect((await holding.end()) === 0, "the workload on node-a has ended");
  const moved = dvdi(b, "run", "-v", "notes:/mnt/notes", ...DRIVER, "--", "cat", "/mnt/notes/from-a");
  const same = moved.stdout === readFileSync("/etc/debian_version", "utf8");
  expect(
    moved.code === 0 && same && !/created new/.test(moved.all),
    "the same volume, with what node-a wrote",
    moved.all,
  );

  chapter("4. All volumes or none", "of two volumes one cannot be had: the other is released, nothing starts");
  const other = await hold(a, "-v", "ledger:/mnt/ledger", ...DRIVER);
  holds.push(other.child);
  const both = ["-v", "notes:/mnt/notes", "-v", "ledger:/mnt/ledger", ...DRIVER];
  const undone = dvdi(b, "run", ...both, "--", "cat", "/mnt/notes/from-a");
  expect(undone.code === 125 && undone.stdout === "", "the workload did not start", undone.all);
  expect((await other.end()) === 0, "the workload on node-a has ended");
  const free = dvdi(a, "run", "-v", "notes:/mnt/notes", ...DRIVER, "--", "ls", "/mnt/notes");
  expect(free.code === 0 && /^from-a$/m.test(free.stdout), "notes was released: node-a can have it", free.all);

  chapter("5. Another policy decides", "the blob is swapped between two runs: no volume without a size");
  const stock = dvdi(a, "run", "-v", "one:/mnt/one", ...DRIVER, "--", "true");
  expect(stock.code === 0 && /created new volume one/.test(stock.all), "the stock policy creates it", stock.all);
  const installed = dvdi(a, "policy", "install", relative(process.cwd(), HOUSE_POLICY));
  expect(installed.code === 0 && installed.all.includes("house 1.0.0"), "installed", installed.all);
  const ruled = dvdi(a, "run", "-v", "two:/mnt/two", ...DRIVER, "--", "true");
  expect(
    ruled.code === 125 && ruled.all.includes("house rule"),
    "the new one refuses what the old one allowed",
    ruled.all,
  );
  const mount = "type=volume,source=two,target=/mnt/two,volume-driver=dvdi,volume-opt=size=64m";
  const sized = dvdi(a, "run", "--mount", mount, "--", "df", "-h", "--output=size,target", "/mnt/two");
  expect(sized.code === 0 && /created new volume two/.test(sized.all), "and takes one that has a size", sized.all);

  chapter("6. What is there, and why", "each node's own view, and the record of a decision");
  for (const node of [a, b]) {
    const listed = dvdi(node, "ls");
    expect(listed.code === 0 && listed.stdout.includes("notes"), `${node.name} knows its volumes`, listed.all);
  }
  const explained = dvdi(a, "explain", "two", "--last", "2");
  expect(explained.code === 0 && explained.stdout.includes("two"), "the decision is on record", explained.all);
}

/** Ends the nodes, looks for what is left, and removes the folder if that is safe. */
async function tidy(folder, nodes, holds) {
  for (const child of holds) if (child.exitCode === null) child.kill("SIGTERM");
  for (const node of nodes) await node.stop();
  // The kernel lets go of a loop device a moment after its last mount.
  for (const end = performance.now() + WAIT_MS; leftovers(folder).length > 0 && performance.now() < end;)
    await sleep(50);
  const left = leftovers(folder);
  if (left.length > 0) {
    throw new StepError(`left behind, so ${folder} was not removed:\n  ${left.join("\n  ")}`, {
      hint: `umount what is listed, losetup -d its device, then remove ${folder}`,
    });
  }
  rmSync(folder, { recursive: true, force: true });
}

async function demo() {
  const began = performance.now();
  const folder = mkdtempSync(join(tmpdir(), "dvdi-demo-"));
  chmodSync(folder, 0o755);
  const pool = join(folder, "pool");
  mkdirSync(pool);
  const nodes = ["node-a", "node-b"].map((name) => new Node(name, join(folder, name), pool));
  const holds = [];
  const interrupted = async () => {
    if (stopping) return;
    stopping = true;
    process.stderr.write(red("\ninterrupted: cleaning up\n"));
    await tidy(folder, nodes, holds).catch(fail);
    process.exit(130);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, interrupted);
  // Whoever read what is printed has gone (`npm run demo | head`).
  process.stdout.on("error", interrupted);
  process.stderr.on("error", interrupted);

  print(bold("two nodes over one pool"));
  print(dim("each with its own driver, socket, state folder and mount namespace; volumes appear beneath /mnt"));
  let failure = null;
  try {
    for (const node of nodes) {
      await node.start();
      print(`  ${green("✓")} ${node.name} ${dim(`dvdi-driver --pool ${pool} --node-id ${node.name}`)}`);
    }
    await story(nodes[0], nodes[1], holds);
  } catch (error) {
    failure = error;
  }
  await tidy(folder, nodes, holds);
  if (failure) throw failure;
  chapter("7. Nothing is left", "no mount, no loop device, no folder");
  print(`  ${green("✓")} done in ${seconds(began)}\n`);
  print(`${bold("next")}: ${relative(process.cwd(), join(ROOT, "README.md")) || "README.md"}, npm test`);
}

try {
  await setup({ groups: ["build", "run"], house: true, targets: ["dvdi", "dvdi-driver", "dvdi-helper"] });
  if (process.getuid() !== 0) {
    throw new StepError("the demo mounts filesystems, which only root may do", {
      hint: 'run: sudo env "PATH=$PATH" npm run demo',
    });
  }
  await demo();
} catch (error) {
  fail(error);
}
