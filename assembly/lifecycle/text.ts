// What happened to a volume, in words.
import { History, User, Volume } from "./volume";

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/** `3 minutes ago`. */
export function ago(ms: i64): string {
  if (ms < 1000) return "just now";
  if (ms < MINUTE) return count(ms / 1000, "second");
  if (ms < HOUR) return count(ms / MINUTE, "minute");
  if (ms < DAY) return count(ms / HOUR, "hour");
  return count(ms / DAY, "day");
}

function count(n: i64, unit: string): string {
  return n.toString() + " " + unit + (n == 1 ? "" : "s") + " ago";
}

/** "created", "re-attached" or "shared". */
export function whatHappened(volume: Volume): string {
  if (volume.created) return "created";
  return volume.users.length ? "shared" : "re-attached";
}

/** The line that a user sees of the volume first. `nowMs` is 0 where the time is not known. */
export function story(volume: Volume, nowMs: i64): string {
  const name = volume.name;
  const history = volume.history;
  if (volume.created) {
    if (!history.known) return "created new volume " + name;
    // Used here before, and gone from the driver since: nobody should take the new one for the old one.
    return (
      "created new volume " + name + " (the one " + used(volume, nowMs) + " is gone from driver " + volume.driver + ")"
    );
  }
  if (volume.users.length) return "shares " + name + " with " + usersText(volume.users);
  if (history.known && !unused(history)) return "re-attached " + name + " (" + used(volume, nowMs) + ")";
  const created = timestamp(volume.createdAt);
  return (
    "re-attached " + name + " (" + (created.length ? "created " + created + ", " : "") + "not used on this node before)"
  );
}

/** The line on a volume that was to be created, and is there. */
export function existed(volume: Volume): string {
  const created = timestamp(volume.createdAt);
  return volume.name + " exists already" + (created.length ? " (created " + created + ")" : "");
}

/** Made by an operator's command, say, for no workload. */
function unused(history: History): bool {
  return history.createdByUs && history.lastUsedMs == 0;
}

function used(volume: Volume, nowMs: i64): string {
  const last = volume.history.lastUsedMs;
  if (last > 0 && nowMs > 0) return "last used " + ago(nowMs - last);
  if (unused(volume.history)) return "created on this node before";
  return "used on this node before";
}

/** Whether its story needs the time. */
export function needsTime(volume: Volume): bool {
  return volume.history.known && volume.history.lastUsedMs > 0 && (volume.created || volume.users.length == 0);
}

function usersText(users: User[]): string {
  const first = users[0].title;
  if (users.length == 1) return first;
  return first + " and " + (users.length - 1).toString() + (users.length == 2 ? " other" : " others");
}

/** A plugin's timestamp where it is one: it goes into a line for people. */
function timestamp(text: string): string {
  if (text.length < 10 || text.length > 40) return "";
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const fine =
      (code >= 0x30 && code <= 0x3a) ||
      code == 0x2d ||
      code == 0x2e ||
      code == 0x2b ||
      code == 0x54 ||
      code == 0x5a ||
      code == 0x20;
    if (!fine) return "";
  }
  return text;
}
