// The Debian packages: installed, used, upgraded under a running older engine, and removed, on a copy of this machine
// that nothing gets out of (an overlay of its root in a mount namespace).
import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { begin, must, run, until, type Process, type Result } from "./lib/process.ts";
import { BUILD, skip, type Listed } from "./lib/world.ts";

const PACKAGES = ["libdvdi", "dvdi", "dvdi-driver", "dvdi-sanity"];

/** Makes the root: what is written goes to a tmpfs, and the machine's own root is out of reach afterwards. */
const ENTER = `set -e
folder=$1; debs=$2
mount -t tmpfs tmpfs "$folder"
cd "$folder"
mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" root
mkdir -p root/debs root/var/lib/dvdi
cp -r "$debs"/. root/debs
for name in proc sys dev; do mount --rbind "/$name" "root/$name"; done
for name in run tmp srv var/lib/dvdi; do mount -t tmpfs tmpfs "root/$name"; done
chmod 0700 root/var/lib/dvdi
mkdir -p root/run/docker/plugins root/srv/pool
cd root
pivot_root . mnt
umount --lazy /mnt
exec cat`;

/** A copy of this machine. */
class Copy {
  readonly #started: Process[] = [];
  private constructor(private readonly holder: Process) {}

  static async make(t: TestContext, folder: string, debs: string): Promise<Copy> {
    const root = join(folder, "machine");
    mkdirSync(root);
    const enter = ["sh", "-c", ENTER, "sh", root, debs];
    const holder = begin(["unshare", "--mount", "--propagation", "private", ...enter]);
    holder.write("here\n");
    await holder.says(/^here$/m);
    const copy = new Copy(holder);
    t.after(async () => {
      for (const one of copy.#started.reverse()) await one.stop();
      holder.closeInput();
      await holder.ended;
    });
    return copy;
  }

  #enter(command: string[]): string[] {
    return ["nsenter", `--mount=/proc/${this.holder.pid}/ns/mnt`, "--wdns=/", "--", ...command];
  }
  run(command: string[]): Promise<Result> {
    return run(this.#enter(command));
  }
  must(command: string[]): Promise<string> {
    return must(this.#enter(command));
  }
  begin(command: string[]): Process {
    const started = begin(this.#enter(command));
    this.#started.push(started);
    return started;
  }
  async ls(): Promise<Record<string, string>> {
    const { volumes } = JSON.parse(await this.must(["dvdi", "ls", "--json"])) as { volumes: Listed[] };
    return Object.fromEntries(volumes.map(({ name, state }) => [name, state]));
  }
  /** PRAGMA user_version of the ledger: a big-endian number in the file's header, or in its log. */
  async schema(): Promise<number> {
    const script =
      "import sqlite3; print(sqlite3.connect('/var/lib/dvdi/ledger.db').execute('PRAGMA user_version').fetchone()[0])";
    return Number(await this.must(["/usr/bin/python3", "-c", script]));
  }
}

/** The packages of this build in `folder`/old, and those of a later one, whose ledger has more in it, in `folder`/new. */
async function packages(folder: string): Promise<void> {
  const old = join(folder, "old");
  // The umask of a careful builder: what is in a package is for everybody all the same.
  const careful = ["sh", "-c", 'umask 077 && exec "$@"', "sh"];
  await must([...careful, "cpack", "-G", "DEB", "-D", `CPACK_PACKAGE_DIRECTORY=${old}`], { cwd: BUILD });
  rmSync(join(old, "_CPack_Packages"), { recursive: true });
  for (const name of readdirSync(old)) {
    const contents = await must(["dpkg-deb", "--contents", join(old, name)]);
    const odd = contents.split("\n").filter((line) => line && !/^(?:[d-]rwxr-xr-x|-rw-r--r--) root\/root /.test(line));
    assert.deepEqual(odd, [], `${name}: root's, and readable by everybody`);
  }
  mkdirSync(join(folder, "new"));
  for (const name of readdirSync(old)) {
    const unpacked = join(folder, "unpacked");
    await must(["dpkg-deb", "--raw-extract", join(old, name), unpacked]);
    const control = join(unpacked, "DEBIAN/control");
    const text = readFileSync(control, "utf8")
      .replace(/^Version: .*$/m, "Version: 99.0")
      .replace(/libdvdi \(>= [^)]*\)/, "libdvdi (>= 99.0)");
    writeFileSync(control, text);
    rmSync(join(unpacked, "DEBIAN/md5sums"));
    if (name.startsWith("libdvdi_"))
      copyFileSync(join(BUILD, "native/engine/next/libdvdi.so"), join(unpacked, "usr/lib/libdvdi.so"));
    await must(["dpkg-deb", "--build", "--root-owner-group", "-Znone", unpacked, join(folder, "new", name)]);
    rmSync(unpacked, { recursive: true });
  }
}

test("Debian packages are installed, used, upgraded under a running older engine, and removed", { skip }, async (t) => {
  for (const tool of ["cpack", "dpkg-shlibdeps", "unshare", "python3"]) {
    if ((await run(["which", tool])).code !== 0) return t.skip(`${tool} is not installed`);
  }
  const next = join(BUILD, "native/engine/next/libdvdi.so");
  if (!existsSync(next)) return t.skip(`the later library is not built: ${next}`);
  const folder = mkdtempSync(join(tmpdir(), "dvdi-packages-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const debs = join(folder, "debs");
  await packages(debs);
  assert.equal(readdirSync(join(debs, "old")).length, PACKAGES.length);
  const machine = await Copy.make(t, folder, debs);
  const install = (which: string): Promise<string> => machine.must(["sh", "-c", `dpkg --install /debs/${which}/*.deb`]);

  // Installed.
  await install("old");
  assert.match(await machine.must(["dvdi", "version"]), /^dvdi \d/);
  assert.match(await machine.must(["dvdi-sanity", "--version"]), /^dvdi-sanity \d/);
  await machine.must(["test", "-s", "/usr/share/man/man1/dvdi-sanity.1"]);
  assert.equal((await machine.must(["readlink", "--canonicalize", "/usr/bin/dvdcli"])).trim(), "/usr/bin/dvdi");
  const units = ["dvdi-recover.timer", "dvdi-recover.service", "dvdi-driver.service", "dvdi-driver.socket"];
  const verified = await machine.run([
    "systemd-analyze",
    "verify",
    ...units.map((unit) => `/usr/lib/systemd/system/${unit}`),
  ]);
  assert.doesNotMatch(verified.err, /dvdi-/, "systemd finds nothing wrong with the units");
  JSON.parse(await machine.must(["cat", "/usr/share/containers/oci/hooks.d/dvdi.json"]));

  // Used, by defaults alone: no settings, no options.
  const driver = machine.begin([
    ...["setpriv", "--pdeathsig", "KILL", "dvdi-driver", "--pool", "/srv/pool", "--node-id", "copy"],
    ...["--socket", "/run/docker/plugins/dvdi.sock"],
  ]);
  await driver.says(/serves pool/);
  const dvdi = (program: string, volume: string, command: string[]): string[] => {
    const declared = ["--volume", `${volume}:/srv/${volume}`, "--volume-driver", "dvdi"];
    return [program, "run", ...declared, "--", ...command];
  };
  await machine.must(dvdi("dvdi", "data", ["sh", "-c", "echo kept > /srv/data/file"]));
  const older = machine.begin(dvdi("dvdi", "held", ["cat"]));
  older.write("it runs\n");
  await older.says(/^it runs$/m);
  const before = await machine.schema();
  // The older version stays at hand, as it does in a process that goes on.
  await machine.must([
    "sh",
    "-c",
    "mkdir -p /opt/old/bin /opt/old/lib /opt/old/libexec && cp /usr/bin/dvdi /opt/old/bin && " +
      "cp /usr/lib/libdvdi.so /opt/old/lib && cp -r /usr/libexec/dvdi /opt/old/libexec",
  ]);

  // Upgraded, while the older engine holds a volume.
  await install("new");
  assert.equal((await machine.must(["dpkg-query", "--show", "--showformat=${Version}", "dvdi"])).trim(), "99.0");
  assert.equal(await machine.schema(), before, "the older engine's ledger, until the newer one opens it");
  assert.equal((await machine.ls())["held"], "attached");
  assert.equal(await machine.schema(), before + 1, "the newer engine has added to it");
  assert.equal(await machine.must(dvdi("dvdi", "data", ["cat", "/srv/data/file"])), "kept\n");
  assert.match(await machine.must(["dvdi", "metrics"]), new RegExp(`ledger_schema="${before + 1}"`));
  // An older engine goes on with what is newer than itself: prepares, and cleans up.
  assert.equal(await machine.must(dvdi("/opt/old/bin/dvdi", "more", ["echo", "done"])), "done\n");
  assert.match(await machine.must(["/opt/old/bin/dvdi", "metrics"]), new RegExp(`ledger_schema="${before}"`));
  older.closeInput();
  const ended = await older.end();
  assert.equal(ended.code, 0, ended.all);
  await until("all is released", async () => Object.values(await machine.ls()).every((state) => state === "known"));
  assert.deepEqual(Object.keys(await machine.ls()).sort(), ["data", "held", "more"]);
  const status = JSON.parse(await machine.must(["dvdi", "status", "--json"])) as { ledger: { ok: boolean } };
  assert.equal(status.ledger.ok, true);

  // Removed: programs and links go, what was done to volumes stays.
  await driver.stop();
  await machine.must(["dpkg", "--remove", ...PACKAGES]);
  for (const gone of [
    "/usr/bin/dvdi",
    "/usr/bin/dvdcli",
    "/usr/sbin/dvdi-driver",
    "/usr/bin/dvdi-sanity",
    "/usr/lib/libdvdi.so",
    "/usr/libexec/dvdi",
  ]) {
    assert.equal((await machine.run(["test", "-e", gone])).code, 1, `${gone} is gone`);
  }
  await machine.must(["dpkg", "--purge", ...PACKAGES]);
  await machine.must(["test", "-s", "/var/lib/dvdi/ledger.db"]);
  await machine.must(["sh", "-c", 'test -n "$(ls /srv/pool)"']);
});
