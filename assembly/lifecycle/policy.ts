// The decisions that a house may make its own. Each hook gets facts and returns a decision; the order of effects is
// not in its hands (prepare.ts), so that no house rule can create what exists or stage what is not mounted.
// docs/policies.md is the reference.
import { Attributes } from "../model/attributes";
import { Config } from "../model/config";
import { Options, VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { resolveClass } from "../parse/classes";
import { shareRules, waitRule } from "./share";
import { Scope, User, Volume } from "./volume";

/** How a release that failed is tried again. */
export class Backoff {
  constructor(
    readonly baseMs: i64,
    readonly maxMs: i64,
  ) {}
}

/** The stock decisions. A house rule extends this class, overrides what it wants, and is put in place by use(). */
export class Policy {
  /** Settings that this house does not take: why, or null. Called by `configure`, after the stock checks. */
  check(config: Config): Failure | null {
    return null;
  }

  /**
   * Gives a volume that was declared by a class its driver and options: in `request`, with the choice's explanation
   * (`request.classChoice`). Called by `parse`. Why none fits, or null.
   */
  resolveClass(request: VolumeRequest, wanted: Attributes, config: Config): Failure | null {
    return resolveClass(request, wanted, config);
  }

  /** Whether this scope may have this volume at all. Called for each volume before anything is done. */
  admit(volume: Volume, scope: Scope): Failure | null {
    return null;
  }

  /** Whether the volume may be used beside these users, who have it on this node now. `users` is never empty. */
  share(volume: Volume, users: User[]): Failure | null {
    return shareRules(volume.request, users);
  }

  /**
   * Where share() refused: after how many milliseconds it is asked again, because these users may be gone then; -1
   * for not at all. `waitedMs` is how long was waited already. Never waits beyond the operation's deadline.
   */
  wait(volume: Volume, users: User[], scope: Scope, waitedMs: i64, config: Config): i64 {
    return waitRule(users, scope, waitedMs, config.inUseMs);
  }

  /** Whether the volume may be had from a driver of this scope: "local" (this node's) or "global" (the cluster's). */
  place(volume: Volume, driverScope: string): Failure | null {
    return null;
  }

  /** Whether a volume that the driver does not know may be created. `never` is never asked. */
  mayCreate(volume: Volume): Failure | null {
    return null;
  }

  /** The options that Create is sent with. */
  options(volume: Volume): Options {
    return volume.request.options;
  }

  /** The ownership of the volume's files: "none", "root-dir", "idmap" or "recursive". */
  ownership(volume: Volume, scope: Scope): string {
    return volume.request.ownership;
  }

  /** Whether the stage is mounted nosuid. */
  nosuid(volume: Volume): bool {
    return true;
  }

  /** Whether the stage is mounted nodev. */
  nodev(volume: Volume): bool {
    return true;
  }

  /**
   * How long to wait, in milliseconds before jitter, until a call is tried again that was tried `attempt` times; -1 to
   * give up. `kind` is why nothing is known (unreachable, not-found, breaker-open, lost, timeout, not-json,
   * malformed, too-large, invalid), or `transient`: an error of the plugin's own to Get or Mount that reads as if it would
   * pass. Never waits beyond the operation's deadline, whatever is returned.
   */
  retry(kind: string, attempt: i32, config: Config): i64 {
    if (attempt >= config.retryAttempts || kind == "too-large" || kind == "invalid") return -1;
    // What came was no answer of a plugin's; once more for one that is just starting.
    if ((kind == "not-json" || kind == "malformed") && attempt >= 2) return -1;
    // A plugin that is not up yet takes longer than a connection that broke: 1, 2, 4, … s with the stock settings.
    const base =
      kind == "unreachable" || kind == "not-found" || kind == "breaker-open"
        ? config.retryBaseMs * 5
        : config.retryBaseMs;
    const ms = base << (<i64>min(attempt - 1, 20));
    return min(ms, config.retryMaxMs);
  }

  /** Lines for the user beside what happened to each volume. Called once every volume is there. */
  notes(volumes: Volume[], scope: Scope): string[] {
    return [];
  }

  /** How a release that failed is tried again; null: as the operator's settings say (`release`). */
  release(): Backoff | null {
    return null;
  }
}

let inPlace: Policy | null = null;

/** Puts a policy in place: one line at the end of a house's main.ts. */
export function use(policy: Policy): void {
  inPlace = policy;
}

/** The policy in place: the stock one where none was put there. */
export function policyInPlace(): Policy {
  let policy = inPlace;
  if (policy === null) {
    policy = new Policy();
    inPlace = policy;
  }
  return policy;
}
