// A framework that speaks Mesos's v1 scheduler API: it takes offers, launches what a test wants, and keeps what is said of it.
import assert from "node:assert/strict";
import { request, type ClientRequest, type IncomingMessage } from "node:http";

import { until } from "../../e2e/lib/process.ts";

export interface Id {
  value: string;
}

/** A Mesos volume with a DOCKER_VOLUME source. */
export function docker(name: string, path: string, more: { driver?: string; mode?: "RO" | "RW" } = {}): object {
  const volume = { driver: more.driver ?? "dvdi", name };
  return {
    mode: more.mode ?? "RW",
    container_path: path,
    source: { type: "DOCKER_VOLUME", docker_volume: volume },
  };
}

/** A task as a test wants it. Its command is a shell's. */
export interface Task {
  id: string;
  command: string;
  volumes?: object[];
  labels?: Record<string, string>;
  env?: Record<string, string>;
  user?: string;
  /** The name of a container image. */
  image?: string;
  /** More members of TaskInfo. */
  more?: Record<string, unknown>;
}

interface Offer {
  id: Id;
  agent_id: Id;
  hostname: string;
  resources: { name: string; scalar?: { value: number } }[];
}

export interface Update {
  task_id: Id;
  state: string;
  message?: string;
  agent_id: Id;
  uuid?: string;
  /** When it came, in ms. */
  at: number;
}

const FINAL = new Set([
  "TASK_FINISHED",
  "TASK_FAILED",
  "TASK_LOST",
  "TASK_KILLED",
  "TASK_ERROR",
  "TASK_GONE",
  "TASK_DROPPED",
]);

export const RESOURCES = [
  { name: "cpus", type: "SCALAR", scalar: { value: 0.05 } },
  { name: "mem", type: "SCALAR", scalar: { value: 32 } },
  { name: "disk", type: "SCALAR", scalar: { value: 8 } },
];

export class Framework {
  id: Id = { value: "" };
  readonly updates: Update[] = [];
  #offers: Offer[] = [];
  #stream = "";
  #subscription: ClientRequest | undefined;

  private constructor(private readonly port: number) {}

  static async subscribe(port: number, name: string): Promise<Framework> {
    const framework = new Framework(port);
    const info = { user: "root", name, checkpoint: true, failover_timeout: 60 };
    framework.#listen({ type: "SUBSCRIBE", subscribe: { framework_info: info } });
    await until(`framework ${name} is subscribed`, () => framework.id.value !== "");
    return framework;
  }

  #post(onReply: (reply: IncomingMessage) => void): ClientRequest {
    const stream = this.#stream ? { "mesos-stream-id": this.#stream } : {};
    const headers = { "content-type": "application/json", accept: "application/json", ...stream };
    const path = "/api/v1/scheduler";
    return request({ host: "127.0.0.1", port: this.port, path, method: "POST", headers, agent: false }, onReply);
  }

  /** Events come as records: a length in decimal, a line feed, and so many bytes of JSON. */
  #listen(call: object): void {
    this.#subscription = this.#post((reply) => {
      this.#stream = String(reply.headers["mesos-stream-id"]);
      let rest = Buffer.alloc(0);
      reply
        .on("error", () => undefined)
        .on("data", (part: Buffer) => {
          rest = Buffer.concat([rest, part]);
          for (;;) {
            const end = rest.indexOf(10);
            const length = end < 0 ? Infinity : Number(rest.subarray(0, end).toString());
            if (rest.length < end + 1 + length) return;
            const event = rest.subarray(end + 1, end + 1 + length).toString();
            rest = rest.subarray(end + 1 + length);
            this.#happened(JSON.parse(event) as Event);
          }
        });
    });
    this.#subscription.on("error", () => undefined).end(JSON.stringify(call));
  }

  #happened(event: Event): void {
    if (event.type === "SUBSCRIBED" && event.subscribed) this.id = event.subscribed.framework_id;
    if (event.type === "OFFERS") this.#offers.push(...(event.offers?.offers ?? []));
    if (event.type === "RESCIND")
      this.#offers = this.#offers.filter(({ id }) => id.value !== event.rescind?.offer_id.value);
    if (event.type === "UPDATE" && event.update) {
      const { status } = event.update;
      this.updates.push({ ...status, at: performance.now() });
      const { agent_id, task_id, uuid } = status;
      if (uuid)
        void this.call({ type: "ACKNOWLEDGE", acknowledge: { agent_id, task_id, uuid } }).catch(() => undefined);
    }
  }

  call(message: object): Promise<void> {
    return new Promise((done, failed) => {
      const sent = this.#post((reply) => {
        let text = "";
        reply.setEncoding("utf8").on("data", (part: string) => (text += part));
        reply.on("end", () => {
          if (reply.statusCode === 202) done();
          else failed(new Error(`the master answers ${reply.statusCode}: ${text}`));
        });
      });
      sent.on("error", failed).end(JSON.stringify({ framework_id: this.id, ...message }));
    });
  }

  /** Takes an offer, of that agent where one is named. */
  async offer(hostname?: string): Promise<Offer> {
    let taken: Offer | undefined;
    await until("an offer comes", () => {
      const at = this.#offers.findIndex((one) => hostname === undefined || one.hostname === hostname);
      if (at >= 0) [taken] = this.#offers.splice(at, 1);
      return taken !== undefined;
    });
    return taken ?? assert.fail();
  }

  #info(task: Task, agent: Id): object {
    const env = Object.entries(task.env ?? {}).map(([name, value]) => ({ name, type: "VALUE", value }));
    const labels = Object.entries(task.labels ?? {}).map(([key, value]) => ({ key, value }));
    const image = task.image ? { mesos: { image: { type: "DOCKER", docker: { name: task.image } } } } : {};
    const container = { container: { type: "MESOS", volumes: task.volumes ?? [], ...image } };
    return {
      name: task.id,
      task_id: { value: task.id },
      agent_id: agent,
      resources: RESOURCES,
      command: {
        value: task.command,
        shell: true,
        ...(task.user ? { user: task.user } : {}),
        ...(env.length > 0 ? { environment: { variables: env } } : {}),
      },
      ...(labels.length > 0 ? { labels: { labels } } : {}),
      ...(task.volumes || task.image ? container : {}),
      ...task.more,
    };
  }

  /** Launches tasks on one agent, each with an executor of its own. When the offer for them was accepted, in ms. */
  async launch(tasks: Task[], hostname?: string): Promise<number> {
    const offer = await this.offer(hostname);
    const launch = { task_infos: tasks.map((task) => this.#info(task, offer.agent_id)) };
    const accepted = performance.now();
    await this.#accept(offer, { type: "LAUNCH", launch });
    return accepted;
  }

  /** Launches tasks as one group: containers nested in that of one executor. */
  async group(tasks: Task[], hostname?: string): Promise<void> {
    const offer = await this.offer(hostname);
    const executor = {
      type: "DEFAULT",
      executor_id: { value: `executor-of-${tasks[0]?.id}` },
      framework_id: this.id,
      resources: RESOURCES,
    };
    const task_group = { tasks: tasks.map((task) => this.#info(task, offer.agent_id)) };
    await this.#accept(offer, { type: "LAUNCH_GROUP", launch_group: { executor, task_group } });
  }

  #accept(offer: Offer, operation: object): Promise<void> {
    const accept = { offer_ids: [offer.id], operations: [operation], filters: { refuse_seconds: 0 } };
    return this.call({ type: "ACCEPT", accept });
  }

  /** What was said of a task last. */
  last(id: string): Update | undefined {
    return this.updates.findLast(({ task_id }) => task_id.value === id);
  }

  async running(id: string): Promise<Update> {
    await until(`task ${id} runs`, () => {
      const last = this.last(id);
      if (last && FINAL.has(last.state)) assert.fail(`task ${id}: ${last.state} ${last.message ?? ""}`);
      return last?.state === "TASK_RUNNING";
    });
    return this.last(id) ?? assert.fail();
  }

  /** The end of a task. */
  async ended(id: string): Promise<Update> {
    await until(`task ${id} ends`, () => FINAL.has(this.last(id)?.state ?? ""));
    return this.last(id) ?? assert.fail();
  }

  /** Launches one task, and waits for its end. */
  async run(task: Task, hostname?: string): Promise<Update> {
    await this.launch([task], hostname);
    return this.ended(task.id);
  }

  /** The same, of a task that must do well. How long it took from the acceptance of its offer until it ran, in ms. */
  async must(task: Task, hostname?: string): Promise<number> {
    const accepted = await this.launch([task], hostname);
    const { state, message } = await this.ended(task.id);
    assert.equal(state, "TASK_FINISHED", `task ${task.id}: ${message ?? ""}`);
    const ran = this.updates.find((one) => one.task_id.value === task.id && one.state === "TASK_RUNNING");
    return (ran ?? assert.fail(`task ${task.id} was never said to run`)).at - accepted;
  }

  kill(id: string): Promise<void> {
    return this.call({ type: "KILL", kill: { task_id: { value: id } } });
  }

  /** Ends the framework and all its tasks. */
  async end(): Promise<void> {
    await this.call({ type: "TEARDOWN" }).catch(() => undefined);
    this.#subscription?.destroy();
  }
}

interface Event {
  type: string;
  subscribed?: { framework_id: Id };
  offers?: { offers: Offer[] };
  rescind?: { offer_id: Id };
  update?: { status: Omit<Update, "at"> };
}
