// A volume of the operation: what was asked for, what this node knows of it, what was found out meanwhile.
import { Node } from "../json/reader";
import { VolumeRequest } from "../model/request";

/** A user of volumes: the one that this operation is for, or one that is there already. */
export class Scope {
  constructor(
    readonly owner: string,
    readonly id: string,
    /** Whether `uid` and `gid` say anything. */
    readonly hasUser: bool = false,
    readonly uid: i64 = 0,
    readonly gid: i64 = 0,
  ) {}

  /** `run/3f2a`, as messages name a user of a volume. */
  get title(): string {
    return this.owner.length ? this.owner + "/" + this.id : this.id;
  }

  /** Records an error in the node where it is no scope. */
  static fromNode(node: Node | null): Scope {
    if (node === null) return new Scope("", "");
    const owner = node.string("owner");
    const id = node.string("id");
    const user = node.object("user");
    if (user === null) return new Scope(owner, id);
    return new Scope(owner, id, true, user.int("uid", 0, 0, 0xffff_ffff), user.int("gid", 0, 0, 0xffff_ffff));
  }
}

/** A scope that uses the volume on this node now, and how. */
export class User {
  constructor(
    readonly owner: string,
    readonly scope: string,
    readonly access: string,
    readonly mode: string,
  ) {}

  get readOnly(): bool {
    return this.mode == "ro";
  }

  get title(): string {
    return this.owner.length ? this.owner + "/" + this.scope : this.scope;
  }

  /** `run/3f2a (single-writer, rw)`. */
  get description(): string {
    return this.title + " (" + this.access + ", " + this.mode + ")";
  }
}

/** What this node's ledger remembers of the volume. */
export class History {
  known: bool = false;
  createdByUs: bool = false;
  /** Milliseconds since 1970; 0 where it is not known. */
  createdMs: i64 = 0;
  lastUsedMs: i64 = 0;
}

/** One volume of the operation. Hooks read it; the steps of prepare write what they find out. */
export class Volume {
  /** "none", "attached" or "releasing". */
  state: string = "none";
  users: User[] = [];
  history: History = new History();

  /** The driver knows it; or it is attached already. */
  there: bool = false;
  /** This operation created it. */
  created: bool = false;
  mounted: bool = false;
  /** The ownership that its stage is made with: what the policy decided. */
  ownership: string = "none";
  /** The plugin's own error to Get; "" where there was none. */
  getError: string = "";
  /** What the plugin says about when it was made. */
  createdAt: string = "";
  /** The first volume of the operation with this driver and name: itself, where there is no other. */
  first: i32 = 0;

  constructor(
    readonly index: i32,
    readonly request: VolumeRequest,
  ) {}

  get name(): string {
    return this.request.name;
  }
  get driver(): string {
    return this.request.driver;
  }
  /** Whether it is mounted on this node, so that nothing needs to be asked of its driver. */
  get attached(): bool {
    return this.state == "attached";
  }

  /** Records an error in the node where it is no volume of prepare's input. `index` is its place in the list. */
  static fromNode(node: Node, index: i32): Volume {
    const out = new Volume(<i32>node.int("index", index, 0, 1 << 20), VolumeRequest.fromNode(node));
    const attachment = node.object("attachment");
    if (attachment !== null) {
      out.state = attachment.oneOf("state", STATES, "none");
      const users = attachment.array("users");
      if (users !== null) {
        for (let i = 0; i < users.length; i++) {
          const user = users.at(i);
          out.users.push(
            new User(
              user.string("owner"),
              user.string("scope"),
              user.string("access", "single-writer"),
              user.string("mode", "rw"),
            ),
          );
        }
      }
    }
    const history = node.object("history");
    if (history !== null) {
      out.history.known = history.bool("known", false);
      out.history.createdByUs = history.bool("created_by_us", false);
      out.history.createdMs = history.int("created_ms", 0, 0);
      out.history.lastUsedMs = history.int("last_used_ms", 0, 0);
    }
    return out;
  }
}

const STATES: string[] = ["none", "attached", "releasing"];
