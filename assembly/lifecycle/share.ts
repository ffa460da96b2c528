// The stock rules for several users of one volume on one node.
import { VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { Scope, User, Volume } from "./volume";

/**
 * Whether the request can be granted beside these users; null where it can.
 *
 * - single-writer: one user that writes, and any number that read.
 * - multi-reader: any number that read, and nobody that writes.
 * - multi-writer: any number that write, where all of them say multi-writer, and any number that read.
 */
export function shareRules(request: VolumeRequest, users: User[]): Failure | null {
  for (let i = 0; i < users.length; i++) {
    const user = users[i];
    if (compatible(request, user)) continue;
    return new Failure(
      "refused",
      request.title() + " is in use by " + user.description + reason(request, user),
      hint(request, user),
    );
  }
  return null;
}

/**
 * The users that are not of the scope's own workload. What Mesos calls a task group is one workload: its containers are
 * nested in one, so their names begin with the same one, and they share their volumes as they share their sandbox.
 */
export function outsiders(users: User[], scope: Scope): User[] {
  if (!scope.owner.startsWith("mesos:")) return users;
  const out: User[] = [];
  for (let i = 0; i < users.length; i++) {
    if (users[i].owner != scope.owner || outermost(users[i].scope) != outermost(scope.id)) out.push(users[i]);
  }
  return out;
}

function outermost(container: string): string {
  const dot = container.indexOf(".");
  return dot < 0 ? container : container.substring(0, dot);
}

/**
 * Leaves the owners of a volume's files as they are where somebody else is at work with them: who came first would lose
 * its own files to who comes now. A note for the user, or "". A folder of the volume (subpath) may be this workload's own.
 */
export function keepOwners(volume: Volume): string {
  const asked = volume.ownership;
  if (volume.users.length == 0 || volume.request.subpath.length) return "";
  if (asked != "root-dir" && asked != "recursive") return "";
  volume.ownership = "none";
  return (
    volume.request.title() +
    " keeps the owners of its files (ownership " +
    asked +
    " is left out): " +
    volume.users[0].title +
    " uses it"
  );
}

/** How often a volume in use is looked at again. */
const LOOK_AGAIN_MS: i64 = 250;

/**
 * A container of Mesos outlives its task by a second or so, and a framework may launch the next task at once: it waits
 * for containers of its own agent, `limitMs` in all. Nobody else is waited for.
 */
export function waitRule(users: User[], scope: Scope, waitedMs: i64, limitMs: i64): i64 {
  if (!scope.owner.startsWith("mesos:")) return -1;
  for (let i = 0; i < users.length; i++) if (users[i].owner != scope.owner) return -1;
  return waitedMs < limitMs ? min(LOOK_AGAIN_MS, limitMs - waitedMs) : -1;
}

/** A request that contradicts itself, whoever else is there; null where it does not. */
export function contradiction(request: VolumeRequest): Failure | null {
  if (request.access == "multi-reader" && !request.readOnly) {
    return new Failure(
      "invalid",
      request.title() + " is asked for as multi-reader and rw, and a reader does not write",
      "ask for it with mode ro, or with access single-writer or multi-writer",
    ).at("access", request.access);
  }
  return null;
}

function compatible(request: VolumeRequest, user: User): bool {
  if (request.readOnly && user.readOnly) return true;
  if (request.readOnly) return request.access != "multi-reader";
  if (user.readOnly) return user.access != "multi-reader";
  return request.access == "multi-writer" && user.access == "multi-writer";
}

function reason(request: VolumeRequest, user: User): string {
  if (request.readOnly) return ", which writes to it, and multi-reader means that nobody does";
  if (user.readOnly) return ", which counts on nobody writing to it";
  const strict = request.access == "multi-writer" ? user.access : request.access;
  return ", and " + strict + " allows no second user that writes";
}

function hint(request: VolumeRequest, user: User): string {
  if (request.readOnly) return "wait until that user ends, or ask with access single-writer to read beside a writer";
  if (user.readOnly) return "wait until that user ends, or ask for the volume with mode ro";
  if (user.access == "multi-writer") return "ask for it with access multi-writer, or with mode ro";
  return "wait until that user ends, or ask for the volume with mode ro; for several writers all of them need access multi-writer";
}
