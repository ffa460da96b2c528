// A volume plugin that says what a test wants it to say. It lives in the test's own process, so in the machine's mount
// namespace: a volume that it mounts itself needs a world of that kind, a plain folder does not.
import assert from "node:assert/strict";
import { mkdirSync, rmSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { join } from "node:path";

import type { World } from "./world.ts";

export interface Body {
  Name: string;
  ID?: string;
  Opts?: Record<string, string> | null;
}

/** An answer: an object is sent as JSON with status 200; a text as it is; a function does what it wants. */
export type Answer =
  Record<string, unknown> | string | { status: number; text: string } | ((response: ServerResponse) => void);

export type Method = "Activate" | "Capabilities" | "Get" | "List" | "Create" | "Mount" | "Unmount" | "Remove" | "Path";
export type Behaviour = Partial<Record<Method, (body: Body) => Answer | Promise<Answer>>> & {
  /** Those that are there from the beginning. */
  volumes?: string[];
};

/** Speaks the protocol well, with plain folders as volumes, save where it is told otherwise. */
export class ScriptedPlugin {
  /** What it was asked, in order: "Mount data". */
  readonly calls: string[] = [];
  readonly bodies: { method: string; body: Body }[] = [];
  readonly volumes: Set<string>;
  /** By volume: the IDs that it has mounted it with, by its usual answers. */
  readonly mounts = new Map<string, Set<string | undefined>>();
  readonly folder: string;
  readonly #server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8").on("data", (part: string) => (text += part));
    request.on("end", () => {
      const method = (request.url ?? "").replace(/^\/(Plugin|VolumeDriver)\./, "") as Method;
      const body = (text.trim() ? JSON.parse(text) : {}) as Body;
      this.calls.push([method, body.Name].filter(Boolean).join(" "));
      this.bodies.push({ method, body });
      Promise.resolve((this.behaviour[method] ?? ((asked) => this.usual(method, asked)))(body)).then(
        (answer) => send(response, answer),
        (error: unknown) => send(response, { status: 500, text: JSON.stringify({ Err: String(error) }) }),
      );
    });
  });

  private constructor(
    world: World,
    readonly name: string,
    private readonly behaviour: Behaviour,
  ) {
    this.volumes = new Set(behaviour.volumes ?? []);
    this.folder = join(world.home, name);
  }

  /** Serves as driver `name` of that node until the test ends. */
  static async serve(world: World, name: string, behaviour: Behaviour = {}): Promise<ScriptedPlugin> {
    const plugin = new ScriptedPlugin(world, name, behaviour);
    mkdirSync(plugin.folder, { recursive: true });
    for (const volume of plugin.volumes) mkdirSync(join(plugin.folder, volume));
    const socket = world.socket(name);
    await new Promise<void>((done, failed) => {
      plugin.#server.once("error", failed).listen(socket, done);
    });
    world.atEnd(() => {
      plugin.#server.close();
      plugin.#server.closeAllConnections();
      rmSync(socket, { force: true });
    });
    return plugin;
  }

  /** How often it was asked for this: "Mount", or "Mount data". */
  count(call: string): number {
    return this.calls.filter((one) => one === call || one.startsWith(`${call} `)).length;
  }

  /** What it answers where it is told nothing else. */
  usual(method: Method, { Name, ID }: Body): Answer {
    const ids = this.mounts.get(Name) ?? new Set();
    const known = (answer: Answer): Answer =>
      this.volumes.has(Name) ? answer : { status: 500, text: JSON.stringify({ Err: `no volume ${Name}` }) };
    switch (method) {
      case "Activate":
        return { Implements: ["VolumeDriver"] };
      case "Capabilities":
        return { Capabilities: { Scope: "local" } };
      case "List":
        return { Volumes: [...this.volumes].map((one) => ({ Name: one })), Err: "" };
      case "Get":
        return known({ Volume: { Name, ...(ids.size > 0 && { Mountpoint: join(this.folder, Name) }) }, Err: "" });
      case "Create":
        this.volumes.add(Name);
        mkdirSync(join(this.folder, Name), { recursive: true });
        return { Err: "" };
      case "Mount":
        this.mounts.set(Name, ids.add(ID));
        return known({ Mountpoint: join(this.folder, Name), Err: "" });
      case "Path":
        return known({ Mountpoint: join(this.folder, Name), Err: "" });
      case "Unmount":
        ids.delete(ID);
        return known({ Err: "" });
      case "Remove":
        return assert.fail(`nobody should ask for ${method}`);
      default:
        return { status: 404, text: "no such page\n" };
    }
  }
}

function send(response: ServerResponse, answer: Answer): void {
  if (typeof answer === "function") return answer(response);
  if (typeof answer === "string") return void response.end(answer);
  if (typeof answer["status"] === "number" && typeof answer["text"] === "string") {
    response.statusCode = answer["status"];
    return void response.end(answer["text"]);
  }
  return void response.end(`${JSON.stringify(answer)}\n`);
}
