// Volume plugins that nobody here wrote, as their makers start them.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { delimiter, join } from "node:path";
import type { TestContext } from "node:test";

import { must, type Options, type Process, run, until } from "./process.ts";
import { skip, World } from "./world.ts";

const VENV = process.env["DVDI_TEST_PLUGINS"];

export interface Peer {
  /** The driver's name: that of its socket. */
  name: string;
  /** The options without which it creates nothing. */
  options: Record<string, string>;
  world: World;
  /** Ends it and starts it again; returns when it answers. */
  restart: () => Promise<void>;
}

export interface Kind {
  title: string;
  /** Why it cannot run here, or false. */
  skip: () => Promise<string | false>;
  start: (t: TestContext) => Promise<Peer>;
}

/** Why a program of the virtual environment cannot run, or false. */
async function venv(program: string): Promise<string | false> {
  if (skip) return skip;
  const missing = process.env["DVDI_TEST_PLUGINS_MISSING"];
  if (missing) return `plugins from PyPI are not to be had: ${missing}`;
  if (!VENV || !existsSync(join(VENV, "bin", program))) return `${program} is not installed: npm test does it`;
  return Promise.resolve(false);
}

async function debian(program: string): Promise<string | false> {
  if (skip) return skip;
  const found = await run(["which", program]);
  return found.code === 0 ? false : `${program} is not installed`;
}

/** Its own programs are found by their names, as after `activate`. */
const inVenv = (): string => `${join(VENV ?? "", "bin")}${delimiter}${process.env["PATH"] ?? ""}`;

/**
 * A folder with a `btrfs` that prints a subvolume as older releases did. buttervolume counts the lines, and takes
 * every volume for missing where there are more of them.
 */
function olderBtrfs(world: World): string {
  const folder = join(world.home, "bin");
  mkdirSync(folder);
  const script = [
    "#!/bin/sh",
    'PATH="${PATH#*:}"',
    '[ "$1 $2" = "subvolume show" ] || exec btrfs "$@"',
    'shown=$(btrfs "$@") || exit',
    "printf '%s\\n' \"$shown\" | sed '/^[[:space:]]*\\(Send\\|Receive\\) /d'",
  ];
  writeFileSync(join(folder, "btrfs"), `${script.join("\n")}\n`, { mode: 0o755 });
  return folder;
}

export const PEERS: Kind[] = [
  {
    title: "rclone serve docker",
    skip: async () => (existsSync("/dev/fuse") ? await debian("rclone") : "there is no /dev/fuse"),
    start: async (t: TestContext): Promise<Peer> => {
      const world = await World.make(t);
      const at = (name: string): string => join(world.home, name);
      mkdirSync(at("store"));
      writeFileSync(at("rclone.conf"), `[store]\ntype = alias\nremote = ${at("store")}\n`);
      const folders = ["--base-dir", at("rclone"), "--cache-dir", at("cache"), "--config", at("rclone.conf")];
      const command = ["rclone", "serve", "docker", "--socket-addr", world.socket("rclone"), ...folders, "-v"];
      return { name: "rclone", world, options: { remote: "store:kept" }, ...(await serve(world, "rclone", command)) };
    },
  },
  {
    title: "buttervolume, on btrfs",
    skip: async () => (await venv("buttervolume")) || (await debian("mkfs.btrfs")),
    start: async (t: TestContext): Promise<Peer> => {
      const world = await World.make(t);
      const image = join(world.home, "btrfs.img");
      writeFileSync(image, "");
      truncateSync(image, 128 << 20);
      await must(["mkfs.btrfs", "--quiet", image]);
      const disk = join(world.home, "btrfs");
      await world.mount([await world.loop(image)], disk);
      const env = {
        PATH: `${olderBtrfs(world)}${delimiter}${inVenv()}`,
        BUTTERVOLUME_SOCKET: world.socket("butter"),
        BUTTERVOLUME_RUNPATH: world.home,
        BUTTERVOLUME_SCHEDULE: join(world.home, "schedule.csv"),
        BUTTERVOLUME_VOLUMES_PATH: `${disk}/volumes/`,
        BUTTERVOLUME_SNAPSHOTS_PATH: `${disk}/snapshots/`,
        BUTTERVOLUME_TEST_REMOTE_PATH: `${disk}/received/`,
      };
      return {
        name: "butter",
        world,
        options: {},
        ...(await serve(world, "butter", ["buttervolume", "run"], { env })),
      };
    },
  },
  {
    title: "docker-volume-easyfuse, with bindfs",
    skip: async () => (await venv("python")) || (await debian("bindfs")),
    start: async (t: TestContext): Promise<Peer> => {
      const world = await World.make(t);
      const at = (name: string): string => join(world.home, name);
      mkdirSync(at("store"));
      const folders = ["--mntpt", at("easyfuse"), "--mntdb", at("easyfuse.json")];
      const command = ["python", "-m", "easyfuse", "--sock", world.socket("easyfuse"), ...folders];
      const served = await serve(world, "easyfuse", command, { env: { PATH: inVenv() } });
      return { name: "easyfuse", world, options: { device: `bindfs#${at("store")}` }, ...served };
    },
  },
  {
    title: "wolphin-driver, where Docker looks for plugins",
    skip: () => venv("wolphin-driver"),
    start: async (t: TestContext): Promise<Peer> => {
      // Its socket's path is fixed. The node's /run is its own, so nobody else sees it there.
      const world = await World.make(t, { plugins: "/run/docker/plugins" });
      await world.mount(["-t", "tmpfs", "tmpfs"], "/run");
      await world.must(["mkdir", "-p", "/run/docker/plugins"]);
      const store = join(world.home, "store");
      mkdirSync(store);
      const env = { PATH: inVenv(), BASE_DIR: store, PLUGIN_NAME: "wolphin" };
      return { name: "wolphin", world, options: {}, ...(await serve(world, "wolphin", ["wolphin-driver"], { env })) };
    },
  },
];

/** Calls a plugin as an operator would who removes a volume by its own means; its answer is not looked at closely. */
export async function ask(world: World, name: string, method: string, body: object = {}): Promise<string> {
  const { status, text } = await post(world, name, method, body);
  assert.equal(status, 200, text);
  return text;
}

function post(world: World, name: string, method: string, body: object): Promise<{ status: number; text: string }> {
  return new Promise((done, failed) => {
    const socketPath = world.outside(world.socket(name));
    const sent = request({ socketPath, path: `/${method}`, method: "POST", agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("end", () => done({ status: response.statusCode ?? 0, text }));
    });
    sent.once("error", failed).end(`${JSON.stringify(body)}\n`);
  });
}

/** Starts it, and says how to do so again. */
async function serve(
  world: World,
  name: string,
  command: string[],
  options: Options = {},
): Promise<Pick<Peer, "restart">> {
  let served = world.serve(command, options);
  await listens(world, name, served);
  const restart = async (): Promise<void> => {
    await served.stop();
    // One that had to be killed leaves it, and then cannot have it.
    rmSync(world.outside(world.socket(name)), { force: true });
    served = world.serve(command, options);
    await listens(world, name, served);
  };
  return { restart };
}

/** Some make their socket before they answer. */
async function listens(world: World, name: string, served: Process): Promise<void> {
  await until(`${name} answers`, () => {
    assert.ok(served.running, `${name} has ended:\n${served.err}${served.out}`);
    return post(world, name, "Plugin.Activate", {}).then(
      ({ text }) => text.includes("VolumeDriver"),
      () => false,
    );
  });
}
