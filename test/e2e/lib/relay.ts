// A socket in front of a plugin's: requests go through as they are, and a test can act between them.
import { rmSync } from "node:fs";
import { createServer, request, type IncomingMessage } from "node:http";

import type { World } from "./world.ts";

export interface Pass {
  /** Sends the request on, and its answer back. */
  (): Promise<"answered" | "lose">;
  /** Sends the request on; its answer is kept to ourselves. Ends when it is there, or the plugin is gone. */
  silently: () => Promise<void>;
}

/** "lose": the connection is closed without an answer. */
type Action = (pass: Pass) => Promise<"answered" | "lose">;

export class Relay {
  readonly #actions = new Map<string, Action>();

  private constructor(private readonly to: string) {}

  /** Serves as driver `name` of that node, in front of the socket `to`. */
  static async serve(world: World, name: string, to: string): Promise<Relay> {
    const relay = new Relay(to);
    const server = createServer((incoming, response) => {
      void (async () => {
        const parts: Buffer[] = [];
        for await (const part of incoming) parts.push(part as Buffer);
        const body = Buffer.concat(parts);
        const path = incoming.url ?? "/";
        const pass: Pass = Object.assign(
          async () => {
            const answer = await relay.#send(path, body);
            if (!answer) return "lose" as const;
            response.writeHead(answer.status, { "Content-Type": "application/json" }).end(answer.body);
            return "answered" as const;
          },
          { silently: async () => void (await relay.#send(path, body)) },
        );
        const action = relay.#actions.get(path);
        if ((await (action ? action(pass) : pass())) === "lose") response.destroy();
      })();
    });
    const socket = world.socket(name);
    await new Promise<void>((done, failed) => {
      server.once("error", failed).listen(socket, done);
    });
    world.atEnd(() => {
      server.close();
      server.closeAllConnections();
      rmSync(socket, { force: true });
    });
    return relay;
  }

  /** Does this in place of sending requests for `path` on. */
  before(path: string, action: Action): void {
    this.#actions.set(path, action);
  }

  /** The plugin's answer, or nothing where it gave none. */
  async #send(path: string, body: Buffer): Promise<{ status: number; body: Buffer } | undefined> {
    const headers = { "Content-Type": "application/json", "Content-Length": body.length };
    try {
      const answer = await new Promise<IncomingMessage>((done, failed) => {
        const sent = request({ socketPath: this.to, path, method: "POST", agent: false, headers }, done);
        sent.once("error", failed).end(body);
      });
      const parts: Buffer[] = [];
      for await (const part of answer) parts.push(part as Buffer);
      return { status: answer.statusCode ?? 500, body: Buffer.concat(parts) };
    } catch {
      return undefined;
    }
  }
}
