// The units that ship, run by a real systemd: it is process 1 of namespaces of its own, beneath a test's node.
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { run, until, type Result } from "./lib/process.ts";
import { DRIVER, DVDI, ROOT, skip, World } from "./lib/world.ts";

const SYSTEMD = "/lib/systemd/systemd";

/** In a control group of its own, so that nothing of it stays in the machine's. */
const BEGIN = `set -e
at=$1/cgroup; mkdir "$at"
mount -t cgroup2 cgroup2 "$at"
mkdir "$at/$2"
echo $$ > "$at/$2/cgroup.procs"
umount "$at"
exec unshare --pid --fork --kill-child --mount --propagation private --uts --ipc --cgroup sh -c "$3" sh "$1"`;
const BOOT = `set -e
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
umount --recursive /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i container=dvdi-test PATH=/usr/bin:/usr/sbin:/bin:/sbin SYSTEMD_UNIT_PATH="$1/units" ${SYSTEMD} \
  --system --log-target=console --show-status=no`;
const END = `set -e
mountpoint -q "$1/cgroup" || mount -t cgroup2 cgroup2 "$1/cgroup"
find "$1/cgroup/$2" -depth -type d -exec rmdir {} +
umount "$1/cgroup"`;

/** What a process runs, or "" where it is gone: the shell that begins systemd has others before. */
function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw error;
  }
}

class Systemd {
  private constructor(
    readonly world: World,
    private readonly pid: string,
  ) {}

  static async make(t: TestContext, units: Record<string, string>): Promise<Systemd> {
    const world = await World.make(t);
    const folder = join(world.home, "units");
    mkdirSync(folder);
    const targets = ["default", "sysinit", "basic", "shutdown", "multi-user", "timers", "sockets", "remote-fs"];
    for (const name of targets) writeFileSync(join(folder, `${name}.target`), "[Unit]\nDefaultDependencies=no\n");
    const group = `dvdi-e2e-${process.pid}-${Math.trunc(performance.now())}`;
    world.atEnd(async () => {
      const ended = async (): Promise<boolean> =>
        (await world.run(["sh", "-c", END, "sh", world.home, group])).code === 0;
      await until("its control groups are gone", ended);
    });
    writeFileSync(
      join(world.home, "driver.yaml"),
      JSON.stringify({ tiers: [{ name: "default", pool: world.pool, default_size: "16m" }] }),
    );
    for (const [name, text] of Object.entries(units))
      writeFileSync(join(folder, name), text.replaceAll("HOME", world.home));
    const booted = world.serve(["sh", "-c", BEGIN, "sh", world.home, group, BOOT]);
    let pid = "";
    await until("systemd is there", async () => {
      if (!booted.running) assert.fail(`systemd did not start:\n${booted.err}${booted.out}`);
      pid = readFileSync(`/proc/${booted.pid}/task/${booted.pid}/children`, "utf8").trim();
      if (!pid || nameOf(pid) !== "systemd") return false;
      return (await new Systemd(world, pid).run(["systemctl", "is-active", "default.target"])).code === 0;
    });
    return new Systemd(world, pid);
  }

  /** Runs a command where systemd and its services are. */
  run(command: string[]): Promise<Result> {
    return run(["nsenter", "--target", this.pid, "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--", ...command]);
  }
  async systemctl(...args: string[]): Promise<string> {
    const result = await this.run(["systemctl", ...args]);
    assert.equal(result.code, 0, result.all);
    return result.out.trim();
  }
  /** What the ledger says of the volumes, without cleaning up first as `dvdi ls` does. */
  async metrics(): Promise<string> {
    const result = await this.run([DVDI, "--config", this.world.config, "metrics"]);
    assert.equal(result.code, 0, result.all);
    return result.out;
  }
}

/** A unit that ships, with this build's programs and a test's folders. */
function shipped(name: string): string {
  return readFileSync(join(ROOT, "packaging/systemd", name), "utf8")
    .replaceAll("/usr/bin/dvdi ", `${DVDI} --config HOME/config.yaml `)
    .replace("/usr/sbin/dvdi-driver ", `${DRIVER} --mount-root HOME/mounts --socket HOME/plugins/dvdi.sock `)
    .replace("/run/docker/plugins/dvdi.sock", "HOME/plugins/dvdi.sock")
    .replaceAll("/etc/dvdi/driver.yaml", "HOME/driver.yaml")
    .replace(/^ConditionPathExists=.*$/m, "")
    .replace("[Service]", "[Service]\nStandardError=append:HOME/units.log")
    .replace("/srv/data", "HOME/t/data")
    .replace("/usr/local/bin/program", "HOME/program");
}

test("a systemd service has its volume by dvdi run, stops, crashes and is cleaned up after", { skip }, async (t) => {
  if (!existsSync(SYSTEMD)) return t.skip("systemd is not installed");
  const workload = shipped("dvdi-workload.service");
  const systemd = await Systemd.make(t, {
    "dvdi-driver.service": shipped("dvdi-driver.service").replace("Also=dvdi-driver.socket", ""),
    "dvdi-workload.service": workload,
    "crashes.service": workload.replace(/^Restart=.*$/m, ""),
    "dvdi-recover.service": shipped("dvdi-recover.service"),
    "dvdi-recover.timer": shipped("dvdi-recover.timer"),
  });
  const { world } = systemd;
  const log = join(world.home, "program.log");
  // It says how often it has started, by what it finds in its volume.
  const script = [
    "#!/bin/sh",
    `data=${world.target("data")}`,
    'echo start >> "$data/starts"',
    `trap 'echo stopped >> ${log}; exit 0' TERM`,
    `grep -c . "$data/starts" >> ${log}`,
    "while :; do sleep 0.05; done",
  ];
  writeFileSync(join(world.home, "program"), `${script.join("\n")}\n`, { mode: 0o755 });
  const said = (): string => (existsSync(log) ? readFileSync(log, "utf8").replaceAll("\n", " ").trim() : "");
  const says = (text: string): Promise<void> =>
    until(`the program says ${text}`, () => said() === text).catch(() =>
      assert.fail(`the program says ${said()} for ${text}:\n${readFileSync(join(world.home, "units.log"), "utf8")}`),
    );
  const attached = 'dvdi_attachments{driver="dvdi",state="attached"} 1';

  await systemd.systemctl("start", "dvdi-workload.service");
  assert.equal(await systemd.systemctl("is-active", "dvdi-driver.service"), "active", "the workload wants its driver");
  await says("1");
  assert.ok((await systemd.metrics()).includes(attached));

  await systemd.systemctl("stop", "dvdi-workload.service");
  await says("1 stopped");
  assert.equal(await systemd.systemctl("show", "--property", "Result", "--value", "dvdi-workload.service"), "success");
  await until("it is released", async () => !(await systemd.metrics()).includes("dvdi_attachments"));

  // dvdi is killed: systemd ends the program and starts both again, on the same volume, under the same name.
  await systemd.systemctl("start", "dvdi-workload.service");
  await says("1 stopped 2");
  await systemd.systemctl("kill", "--kill-whom=main", "--signal=KILL", "dvdi-workload.service");
  await says("1 stopped 2 3");
  await systemd.systemctl("stop", "dvdi-workload.service");
  await says("1 stopped 2 3 stopped");

  // Killed for good: what is left is the timer's.
  await systemd.systemctl("start", "crashes.service");
  await says("1 stopped 2 3 stopped 4");
  await systemd.systemctl("kill", "--kill-whom=main", "--signal=KILL", "crashes.service");
  await until(
    "it has failed",
    async () => (await systemd.run(["systemctl", "is-failed", "crashes.service"])).code === 0,
  );
  assert.ok((await systemd.metrics()).includes(attached), "nobody has cleaned up yet");
  await systemd.systemctl("start", "dvdi-recover.timer");
  assert.match(await systemd.systemctl("list-timers", "--no-legend"), /dvdi-recover\.timer/);
  await systemd.systemctl("start", "dvdi-recover.service");
  const left = await systemd.metrics();
  assert.ok(!left.includes("dvdi_attachments"), left);
  await systemd.systemctl("stop", "dvdi-recover.timer", "dvdi-driver.service");
});

test("the driver's service is started anew for as long as its pool cannot be had", { skip }, async (t) => {
  if (!existsSync(SYSTEMD)) return t.skip("systemd is not installed");
  const service = "dvdi-driver.service";
  const systemd = await Systemd.make(t, { [service]: shipped(service).replace("Also=dvdi-driver.socket", "") });
  const { world } = systemd;
  // Stands for a mount that is not there yet.
  mkdirSync(world.pool, { recursive: true });
  chmodSync(world.pool, 0o770);
  await systemd.systemctl("start", service);
  const restarts = async (): Promise<number> =>
    Number(await systemd.systemctl("show", "--property", "NRestarts", "--value", service));
  // systemd's own limit is five within ten seconds.
  await until("it was started more often than systemd would", async () => (await restarts()) > 6);
  chmodSync(world.pool, 0o700);
  await until("the driver answers", async () => (await world.run(["test", "-S", world.socket("dvdi")])).code === 0);
  assert.equal(await systemd.systemctl("is-active", service), "active");
  await systemd.systemctl("stop", service);
});

test(
  "systemd holds the driver's socket: a client starts it, and waits while it is started anew",
  { skip },
  async (t) => {
    if (!existsSync(SYSTEMD)) return t.skip("systemd is not installed");
    const systemd = await Systemd.make(t, {
      "dvdi-driver.service": shipped("dvdi-driver.service"),
      "dvdi-driver.socket": shipped("dvdi-driver.socket"),
    });
    const { world } = systemd;
    const service = "dvdi-driver.service";
    const driver = (): Promise<string> => systemd.systemctl("show", "--property", "MainPID", "--value", service);
    const use = async (script: string): Promise<string> => {
      const volume = ["run", "--volume", `data:${world.target("data")}`, "--volume-driver", "dvdi"];
      const used = await systemd.run([DVDI, "--config", world.config, ...volume, "--", "sh", "-c", script]);
      assert.equal(used.code, 0, used.all);
      return used.out;
    };
    const file = join(world.target("data"), "file");

    await systemd.systemctl("start", "dvdi-driver.socket");
    assert.equal(statSync(world.socket("dvdi")).mode & 0o777, 0o600);
    assert.equal(await driver(), "0", "nobody has asked for it yet");
    await use(`echo kept > ${file}`);
    const first = await driver();
    assert.notEqual(first, "0", "the first client has started it");

    // It is killed under a volume in use. Who calls meanwhile waits for the next one.
    const said = await use(
      `kill -KILL ${first}; grep -c ' ${world.target("data")} ' /proc/self/mountinfo; cat ${file}`,
    );
    assert.equal(said, "1\nkept\n", "its volume stays");
    await until("systemd has started it again", async () => !["0", first].includes(await driver()));
    assert.equal(await use(`cat ${file}`), "kept\n");

    // Stopped, it comes back with the next client; the socket goes with its own unit.
    await systemd.run(["systemctl", "stop", service]);
    assert.equal(await driver(), "0");
    assert.equal(await use(`cat ${file}`), "kept\n");
    assert.notEqual(await driver(), "0");
    await systemd.systemctl("stop", "dvdi-driver.socket", service);
    assert.ok(!existsSync(world.socket("dvdi")), "no client waits for a driver that will not come");
    await world.nothingLeft();
  },
);
