// One request to a plugin, as a client of the protocol sends it.
import { request } from "node:http";

export interface Reply {
  status: number;
  /** The reply's JSON; always with Err. */
  body: Record<string, unknown> & { Err: string };
}

/** Asks for `path` ("/VolumeDriver.Mount"). */
export function ask(socket: string, path: string, body: unknown = {}): Promise<Reply> {
  return new Promise((done, failed) => {
    const sent = request({ socketPath: socket, path, method: "POST", agent: false }, (reply) => {
      let text = "";
      reply.setEncoding("utf8").on("data", (part: string) => (text += part));
      reply.on("error", failed).on("end", () => {
        try {
          done({ status: reply.statusCode ?? 0, body: JSON.parse(text) as Reply["body"] });
        } catch (error) {
          failed(error instanceof Error ? error : new Error(String(error)));
        }
      });
    });
    sent.on("error", failed).end(`${JSON.stringify(body)}\n`);
  });
}
