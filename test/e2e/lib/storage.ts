// Storage that nodes share over a network which can be cut: a machine of its own (a network namespace) that serves a
// folder by SFTP, and nodes that mount it with sshfs, each over a link of its own.
import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";

import { begin, must, until, type Process } from "./process.ts";
import type { World } from "./world.ts";

const SFTP_SERVER = "/usr/lib/openssh/sftp-server";
const PORT = "2022";

/** Why it cannot be had here, or false. */
export const noStorage: string | false =
  [SFTP_SERVER, "/usr/bin/sshfs", "/usr/sbin/ip", "/dev/fuse"]
    .filter((path) => !existsSync(path))
    .map((path) => `needs ${path}`)
    .join(", ") || false;

// Each connection gets a server of its own, as an SSH daemon does it.
const SERVE = `
  const { createServer } = require("node:net");
  const { spawn } = require("node:child_process");
  createServer((socket) => {
    const server = spawn("${SFTP_SERVER}", ["-e"], { stdio: ["pipe", "pipe", "inherit"] });
    socket.pipe(server.stdin);
    server.stdout.pipe(socket);
    socket.on("error", () => server.kill());
    server.stdin.on("error", () => undefined);
    server.on("exit", () => socket.destroy());
  }).listen(${PORT}, () => console.log("serving"));
`;

/** A network of its own, as long as this process lives: without a name, so that nothing is left behind. */
class Network {
  private constructor(private readonly holder: Process) {}

  static async make(world: World): Promise<Network> {
    const holder = begin(["unshare", "--net", "cat"]);
    world.atEnd(() => holder.stop());
    holder.write("here\n");
    await holder.says(/^here$/m);
    return new Network(holder);
  }

  get pid(): string {
    return String(this.holder.pid);
  }

  inside(command: string[]): string[] {
    return ["nsenter", `--net=/proc/${this.pid}/ns/net`, "--", ...command];
  }

  async up(device: string, address: string): Promise<void> {
    await must(this.inside(["ip", "address", "add", address, "dev", device]));
    await must(this.inside(["ip", "link", "set", device, "up"]));
  }
}

export class Storage {
  /** The folder that is served, on the machine itself. */
  readonly folder: string;
  readonly #nodes = new Map<World, string>();

  private constructor(
    world: World,
    private readonly network: Network,
  ) {
    this.folder = join(world.folder, "storage");
    mkdirSync(this.folder, { mode: 0o700 });
  }

  /** It ends with that world. */
  static async make(world: World): Promise<Storage> {
    const network = await Network.make(world);
    const storage = new Storage(world, network);
    const server = begin(network.inside([process.execPath, "-e", SERVE]));
    world.atEnd(() => server.stop());
    await server.says(/^serving$/m);
    return storage;
  }

  /** Mounts the folder on a node, at a path in its home that is returned. */
  async mount(world: World): Promise<string> {
    const number = this.#nodes.size;
    const device = `to${number}`;
    this.#nodes.set(world, device);
    const node = await Network.make(world);
    const server = `10.77.${number}.1`;
    const pair = ["type", "veth", "peer", "name", "uplink", "netns", node.pid];
    await must(["ip", "link", "add", device, "netns", this.network.pid, ...pair]);
    await this.network.up(device, `${server}/30`);
    await node.up("uplink", `10.77.${number}.2/30`);
    const at = join(world.home, "shared");
    mkdirSync(at, { recursive: true });
    const remote = `${server}:${this.folder}`;
    const mounting = world.serve(node.inside(["sshfs", "-f", "-o", `directport=${PORT}`, remote, at]));
    world.own(at);
    await until(`${at} is mounted`, async () => {
      assert.ok(mounting.running, mounting.err);
      return (await world.run(["mountpoint", "--quiet", at])).code === 0;
    });
    return at;
  }

  /** Cuts a node off, or connects it again. Nothing that is under way is lost: it waits in the node's network stack. */
  async link(world: World, state: "up" | "down"): Promise<void> {
    const device = this.#nodes.get(world) ?? assert.fail("not mounted");
    await must(this.network.inside(["ip", "link", "set", device, state]));
  }
}
