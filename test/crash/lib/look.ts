// What is there on a node, without asking `dvdi`: mounts, files, loop devices, leases, processes, and the ledger's rows.
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, join, relative } from "node:path";

import { must } from "../../e2e/lib/process.ts";
import type { World } from "../../e2e/lib/world.ts";

interface Mount {
  id: string;
  path: string;
}

/** The process that keeps the node's mount namespace, or this one. */
function keeper(world: World): string {
  return /^\/proc\/(\d+)\/root/.exec(world.outside("/"))?.[1] ?? "self";
}

/** What is mounted beneath the node's home, without what the drivers and the engine mount there once for all. */
export function mounts(world: World): Mount[] {
  const byDesign = [world.stageRoot, world.mountRoot];
  const lines = readFileSync(`/proc/${keeper(world)}/mountinfo`, "utf8")
    .trimEnd()
    .split("\n");
  return lines
    .map((line) => line.split(" "))
    .map(([id, , , , path]) => ({ id: id ?? "", path: (path ?? "").replace(/\\040/g, " ") }))
    .filter(({ path }) => path.startsWith(`${world.home}/`) && !byDesign.includes(path));
}

/** Files and folders beneath a folder; not those of what is mounted there. */
function files(world: World, folder: string, mounted: Set<string>): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    const inside = entry.isDirectory() && !mounted.has(path) ? files(world, path, mounted) : [];
    return [relative(world.home, path), ...inside];
  });
}

/** Processes of ours in the node's namespace. */
function processes(world: World): string[] {
  const link = (path: string): string => {
    try {
      return readlinkSync(path);
    } catch {
      return "";
    }
  };
  const namespace = link(`/proc/${keeper(world)}/ns/mnt`);
  return readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid) && link(`/proc/${pid}/ns/mnt`) === namespace)
    .map((pid) => basename(link(`/proc/${pid}/exe`)))
    .filter((name) => ["dvdi", "dvdi_crash", "dvdi-helper"].includes(name));
}

/** Files that grow, or come and go, without anything being left over by that. */
const OF_NO_ACCOUNT = [
  /^state\/ledger\.db(-wal|-shm|\.checked|\.note|\.damaged-.*)$/,
  /^state\/audit\.log(\.\d+|\.lock)?$/,
  /^state\/policy\/compiled(\/[0-9a-f]+\.cwasm)?$/,
];

/**
 * All of it, a line each: two looks at a node on which nothing was left over, or taken away, are equal. `since`: a command
 * that was started after that may have left the file of its engine, which the next one removes.
 */
export async function look(world: World, since = Infinity): Promise<string[]> {
  const isNewEngine = (file: string): boolean =>
    /^state\/instances\/\w/.test(file) &&
    (statSync(join(world.home, file), { throwIfNoEntry: false })?.ctimeMs ?? Infinity) >= since;
  const mounted = mounts(world);
  const places = new Set(mounted.map(({ path }) => path));
  const kept = [world.state, join(world.home, "runtime"), world.targets].flatMap((folder) =>
    files(world, folder, places),
  );
  const pool = existsSync(world.pool) ? readdirSync(world.pool) : [];
  return [
    ...mounted.map(({ id, path }) => `mounted: ${relative(world.home, path)} (${id})`),
    ...(await world.loops()).map((line) => `loop device: ${line}`),
    ...pool.filter((volume) => world.leased(volume)).map((volume) => `leased: ${volume}`),
    ...kept
      .filter((file) => !OF_NO_ACCOUNT.some((pattern) => pattern.test(file)) && !isNewEngine(file))
      .map((file) => `file: ${file}`),
    ...processes(world).map((name) => `process: ${name}`),
  ].sort();
}

/** The lines in which two looks differ. */
export function difference(before: string[], after: string[]): string[] {
  return [
    ...before.filter((line) => !after.includes(line)).map((line) => `gone: ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `left: ${line}`),
  ];
}

/** Rows of the ledger as it is on the disk now, from a copy: to look must not change it. */
async function rows(world: World, query: string): Promise<string[]> {
  const ledger = join(world.state, "ledger.db");
  if (!existsSync(ledger)) return [];
  const folder = mkdtempSync(join(world.home, "ledger-"));
  try {
    for (const end of ["", "-wal"]) if (existsSync(ledger + end)) copyFileSync(ledger + end, join(folder, `db${end}`));
    const tables = await must([
      "sqlite3",
      join(folder, "db"),
      "SELECT count(*) FROM sqlite_master WHERE type = 'table'",
    ]);
    if (tables.trim() === "0") return [];
    return (await must(["sqlite3", join(folder, "db"), query])).trimEnd().split("\n").filter(Boolean);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What is mounted and in no ledger: a stage without its effect, a volume without an attachment that may be mounted. */
export async function uncovered(world: World, base: string[]): Promise<string[]> {
  const mounted = mounts(world).filter(
    ({ id, path }) => !base.includes(`mounted: ${relative(world.home, path)} (${id})`),
  );
  if (mounted.length === 0) return [];
  const stages = await rows(world, "SELECT path FROM effect WHERE kind = 'stage'");
  const volumes = await rows(world, "SELECT name FROM attachment WHERE mount_sent");
  const still = new Set(mounts(world).map(({ id }) => id));
  return mounted
    .filter(({ id, path }) => {
      if (!still.has(id)) return false; // its end came between the two looks
      return path.startsWith(`${world.stageRoot}/`) ? !stages.includes(path) : !volumes.includes(basename(path));
    })
    .map(({ path }) => `in no ledger: ${path}`);
}
