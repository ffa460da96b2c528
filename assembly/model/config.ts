// The stock policy's settings. `configure` reads them strictly and answers them normalized; every other operation
// reads its `config` by the same code.
import { Node } from "../json/reader";
import { JsonWriter } from "../json/writer";
import { Attributes } from "./attributes";
import { ACCESS_MODES, CREATE_MODES, MAX_NAME, OWNERSHIP_MODES, checkDriverName } from "./errors";
import { Failure } from "./result";
import { Options } from "./request";

const MEMBERS: string[] = ["default_driver", "pools", "retry", "call_timeout_ms", "mount_timeout_ms", "defaults"];
const POOL_MEMBERS: string[] = ["name", "driver", "options", "attributes"];
const RETRY_MEMBERS: string[] = ["attempts", "base_ms", "max_ms", "in_use_ms"];
const DEFAULTS_MEMBERS: string[] = ["access", "create", "ownership"];

const MAX_POOLS: i32 = 256;
const HOUR_MS: i64 = 3_600_000;

/** A source of volumes that an operator offers to classes. */
export class Pool {
  name: string = "";
  driver: string = "";
  options: Options = new Options();
  attributes: Attributes = new Attributes();

  writeTo(w: JsonWriter): void {
    w.beginObject();
    w.key("name").string(this.name);
    w.key("driver").string(this.driver);
    w.key("options");
    this.options.writeTo(w);
    w.key("attributes");
    this.attributes.writeTo(w);
    w.endObject();
  }

  static fromNode(node: Node): Pool {
    const out = new Pool();
    if (!node.only(POOL_MEMBERS)) return out;
    out.name = node.string("name", "", MAX_NAME);
    out.driver = node.string("driver", "");
    if (node.failure === null && out.name.length == 0) node.refuse("needs a name");
    if (node.failure === null) {
      const bad = checkDriverName(node.path() + ".driver", out.driver);
      if (bad !== null) node.document.fail(bad);
    }
    const options = node.object("options");
    if (options !== null) out.options = Options.fromNode(options);
    const attributes = node.object("attributes");
    if (attributes !== null) out.attributes = Attributes.fromNode(attributes);
    return out;
  }
}

export class Config {
  /** The driver of a volume that names none. */
  defaultDriver: string = "rexray";
  pools: Pool[] = [];
  /** How often a call is tried, the first time included. */
  retryAttempts: i32 = 5;
  retryBaseMs: i64 = 200;
  retryMaxMs: i64 = 5_000;
  /** How long a container of Mesos waits for another one's end that has its volume. */
  inUseMs: i64 = 5_000;
  /** The deadline of one plugin call; of Mount, which may attach a disk in a cloud. */
  callTimeoutMs: i64 = 30_000;
  mountTimeoutMs: i64 = 300_000;
  access: string = "single-writer";
  create: string = "if-missing";
  ownership: string = "none";

  /** The pool of that name, or null. */
  pool(name: string): Pool | null {
    for (let i = 0; i < this.pools.length; i++) if (this.pools[i].name == name) return this.pools[i];
    return null;
  }

  /** What differs from the stock settings: each operation reads it anew. */
  writeTo(w: JsonWriter): void {
    const stock = new Config();
    w.beginObject();
    if (this.callTimeoutMs != stock.callTimeoutMs) w.key("call_timeout_ms").int(this.callTimeoutMs);
    if (this.defaultDriver != stock.defaultDriver) w.key("default_driver").string(this.defaultDriver);
    if (this.access != stock.access || this.create != stock.create || this.ownership != stock.ownership) {
      w.key("defaults").beginObject();
      w.key("access").string(this.access);
      w.key("create").string(this.create);
      w.key("ownership").string(this.ownership);
      w.endObject();
    }
    if (this.mountTimeoutMs != stock.mountTimeoutMs) w.key("mount_timeout_ms").int(this.mountTimeoutMs);
    if (this.pools.length) {
      w.key("pools").beginArray();
      for (let i = 0; i < this.pools.length; i++) this.pools[i].writeTo(w);
      w.endArray();
    }
    if (
      this.retryAttempts != stock.retryAttempts ||
      this.retryBaseMs != stock.retryBaseMs ||
      this.retryMaxMs != stock.retryMaxMs ||
      this.inUseMs != stock.inUseMs
    ) {
      w.key("retry").beginObject();
      w.key("attempts").int(this.retryAttempts);
      w.key("base_ms").int(this.retryBaseMs);
      w.key("max_ms").int(this.retryMaxMs);
      if (this.inUseMs != stock.inUseMs) w.key("in_use_ms").int(this.inUseMs);
      w.endObject();
    }
    w.endObject();
  }

  toJson(): string {
    const w = new JsonWriter();
    this.writeTo(w);
    return w.toString();
  }

  /**
   * Reads settings, or what toJson() wrote; null stands for no settings. The first error is recorded in the node's
   * document (`node.failure`), and the result is not to be used then.
   */
  static fromNode(settings: Node | null): Config {
    const out = new Config();
    if (settings === null || settings.isNull) return out;
    const node: Node = settings;
    if (node.isObject && node.length == 0) return out; // as most nodes have it
    if (!node.only(MEMBERS)) return out;
    out.defaultDriver = node.string("default_driver", out.defaultDriver);
    if (node.failure === null) {
      const bad = checkDriverName(prefix(node) + "default_driver", out.defaultDriver);
      if (bad !== null) node.document.fail(bad);
    }
    const pools = node.array("pools");
    if (pools !== null) out.readPools(pools);
    const retry = node.object("retry");
    if (retry !== null && retry.only(RETRY_MEMBERS)) {
      out.retryAttempts = <i32>retry.int("attempts", out.retryAttempts, 1, 100);
      out.retryBaseMs = retry.int("base_ms", out.retryBaseMs, 1, HOUR_MS);
      out.retryMaxMs = retry.int("max_ms", max(out.retryMaxMs, out.retryBaseMs), 1, HOUR_MS);
      out.inUseMs = retry.int("in_use_ms", out.inUseMs, 0, HOUR_MS);
      if (node.failure === null && out.retryMaxMs < out.retryBaseMs) {
        node.document.fail(
          new Failure(
            "invalid",
            retry.place() +
              ".max_ms (" +
              out.retryMaxMs.toString() +
              ") is less than base_ms (" +
              out.retryBaseMs.toString() +
              ")",
          ).at(retry.path() + ".max_ms", out.retryMaxMs.toString()),
        );
      }
    }
    out.callTimeoutMs = node.int("call_timeout_ms", out.callTimeoutMs, 1, HOUR_MS);
    out.mountTimeoutMs = node.int("mount_timeout_ms", out.mountTimeoutMs, 1, HOUR_MS);
    const defaults = node.object("defaults");
    if (defaults !== null && defaults.only(DEFAULTS_MEMBERS)) {
      out.access = defaults.oneOf("access", ACCESS_MODES, out.access);
      out.create = defaults.oneOf("create", CREATE_MODES, out.create);
      out.ownership = defaults.oneOf("ownership", OWNERSHIP_MODES, out.ownership);
    }
    return out;
  }

  /** The configuration in an operation's input: what `configure` answered. Errors as with fromNode(). */
  static ofInput(input: Node): Config {
    return Config.fromNode(input.get("config"));
  }

  private readPools(node: Node): void {
    if (node.length > MAX_POOLS) {
      node.refuse("has " + node.length.toString() + " pools; at most " + MAX_POOLS.toString() + " are taken");
      return;
    }
    for (let i = 0; i < node.length; i++) {
      const element = node.at(i);
      const pool = Pool.fromNode(element);
      if (node.failure !== null) return;
      for (let j = 0; j < i; j++) {
        if (this.pools[j].name == pool.name) {
          element.refuse('has the name "' + pool.name + '" that another pool has');
          return;
        }
      }
      this.pools.push(pool);
    }
  }
}

function prefix(node: Node): string {
  const path = node.path();
  return path.length ? path + "." : "";
}
