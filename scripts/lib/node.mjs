// A "node" of the demo: a mount namespace, a driver and a state folder of its own, on this machine.
import { spawn, spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { programs } from "./paths.mjs";
import { environment } from "./proc.mjs";
import { StepError } from "./ui.mjs";

const { dvdi, driver } = programs();
// Killed with us, whatever ends us.
const WITH_US = ["--pdeathsig", "KILL"];
const START_MS = 20_000;
const STOP_MS = 10_000;
const COMMAND_MS = 120_000;

export class Node {
  /**
   * @param {string} name its node id
   * @param {string} folder for all that is the node's own
   * @param {string} pool the folder of images that the nodes share
   */
  constructor(name, folder, pool) {
    this.name = name;
    this.folder = folder;
    this.pool = pool;
    this.socket = join(folder, "plugins/dvdi.sock");
    this.config = join(folder, "config.yaml");
    this.log = join(folder, "driver.log");
    this.holder = null;
    this.driver = null;
  }

  /** Makes the namespace and starts the driver in it; returns when the driver listens. */
  async start() {
    for (const name of ["plugins", "specs", "state", "runtime", "mounts"]) {
      mkdirSync(join(this.folder, name), { recursive: true, mode: 0o755 });
    }
    const settings = [
      `node: ${this.name}`,
      `state_dir: ${join(this.folder, "state")}`,
      `runtime_dir: ${join(this.folder, "runtime")}`,
      `plugins:`,
      `  sockets: [${join(this.folder, "plugins")}]`,
      `  specs: [${join(this.folder, "specs")}]`,
    ];
    writeFileSync(this.config, `${settings.join("\n")}\n`, { mode: 0o644 });

    // The namespace lives as long as this process; killing it and the driver takes every mount of the node away.
    const holder = ["unshare", "--mount", "--propagation", "private", "sleep", "infinity"];
    this.holder = spawn("setpriv", [...WITH_US, ...holder], { stdio: "ignore" });
    await this.#until(() => this.#hasOwnNamespace(), "its mount namespace");
    // Workloads get their volumes beneath /mnt, on a filesystem that the machine does not see.
    this.#must("mount", ["-t", "tmpfs", "-o", "mode=0755", `dvdi-${this.name}`, "/mnt"]);

    const out = openSync(this.log, "a");
    const args = ["--pool", this.pool, "--node-id", this.name, "--socket", this.socket];
    const [file, entered] = this.#enter(driver, [...args, "--mount-root", join(this.folder, "mounts")]);
    this.driver = spawn("setpriv", [...WITH_US, file, ...entered], { stdio: ["ignore", out, out] });
    closeSync(out);
    await this.#until(() => existsSync(this.socket), `the driver's socket ${this.socket}`);
  }

  /** Runs dvdi on this node to its end. */
  run(args) {
    const { status, stdout, stderr, error } = spawnSync(...this.#enter(dvdi, args), {
      encoding: "utf8",
      env: environment({ DVDI_CONFIG: this.config }),
      stdio: ["ignore", "pipe", "pipe"],
      timeout: COMMAND_MS,
    });
    if (error) throw new StepError(`dvdi ${args.join(" ")}: ${error.message}`);
    return { code: status ?? 128, stdout, stderr };
  }

  /** Starts dvdi on this node; the caller waits for it. Its output is piped, its standard input open. */
  begin(args) {
    const [file, entered] = this.#enter(dvdi, args);
    return spawn(file, entered, { env: environment({ DVDI_CONFIG: this.config }), stdio: ["pipe", "pipe", "pipe"] });
  }

  /** Stops the driver, then ends the namespace. Safe to call at any time, and twice. */
  async stop() {
    for (const child of [this.driver, this.holder]) {
      if (!child || child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGTERM");
      const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
      await ended;
      clearTimeout(killer);
    }
    this.driver = null;
    this.holder = null;
  }

  #enter(file, args) {
    // The same current folder, as it is in the other namespace: files are named from here.
    const into = [`--mount=/proc/${this.holder.pid}/ns/mnt`, `--wdns=${process.cwd()}`];
    return ["nsenter", [...into, "--", file, ...args]];
  }

  #must(file, args) {
    const { status, stderr } = spawnSync(...this.#enter(file, args), {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
    if (status !== 0) throw new StepError(`${this.name}: ${file} ${args.join(" ")}: ${stderr.trim()}`);
  }

  #hasOwnNamespace() {
    const { pid } = this.holder;
    if (!pid) return false;
    // `sleep` is there only after unshare has made the namespace.
    try {
      return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "sleep";
    } catch {
      return false;
    }
  }

  async #until(ready, what) {
    for (const end = Date.now() + START_MS; Date.now() < end; await sleep(20)) {
      if (ready()) return;
      const gone = [this.holder, this.driver].find((child) => child && child.exitCode !== null);
      if (gone) break;
    }
    const log = existsSync(this.log) ? readFileSync(this.log, "utf8") : "";
    throw new StepError(`${this.name} did not get ${what}`, { log, hint: "dvdi doctor says what is missing" });
  }
}
