// Declarations of several forms become the volumes of one workload.
import { show } from "../json/text";
import { VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { Context, Declaration } from "./context";

/** The declarations that are taken. What is looked for is found at once: a workload may have a thousand of them. */
class Kept {
  readonly all: Declaration[] = [];
  private byPath: Map<string, Declaration> = new Map<string, Declaration>();
  /** The first of each volume: the others are like it in all that belongs to the volume. */
  private byVolume: Map<string, Declaration> = new Map<string, Declaration>();

  at(path: string): Declaration | null {
    return this.byPath.has(path) ? this.byPath.get(path) : null;
  }

  firstOf(request: VolumeRequest): Declaration | null {
    const key = keyOf(request);
    return this.byVolume.has(key) ? this.byVolume.get(key) : null;
  }

  add(next: Declaration): void {
    this.all.push(next);
    this.byPath.set(next.request.containerPath, next);
    const key = keyOf(next.request);
    if (!this.byVolume.has(key)) this.byVolume.set(key, next);
  }
}

/** A driver's name has no space in it. */
function keyOf(request: VolumeRequest): string {
  return request.driver + " " + request.name;
}

/**
 * One volume on one path: a second declaration of the same is dropped (with a note where it differed and yielded: the
 * environment yields to every other form), another volume on the path is an error, and so is one volume that is asked for
 * with different options, access, create or ownership.
 */
export function merge(context: Context): Failure | null {
  const all = context.declarations;
  if (all.length < 2) return null;
  const kept = new Kept();
  // First-class forms first, so that what yields meets what it yields to.
  for (let pass = 0; pass < 2; pass++) {
    for (let i = 0; i < all.length; i++) {
      const next = all[i];
      if (next.firstClass != (pass == 0)) continue;
      const failure = place(context, kept, next);
      if (failure !== null) return failure;
    }
  }
  context.declarations = kept.all;
  return null;
}

function place(context: Context, kept: Kept, next: Declaration): Failure | null {
  const request = next.request;
  const first = kept.firstOf(request);
  const there = kept.at(request.containerPath);
  // What yields is not held against the volume's other paths, whichever of them stands before.
  if (first !== null && first.firstClass && !next.pathGiven) return again(context, first, next);
  if (there !== null) {
    const same = there.request.name == request.name && there.request.driver == request.driver;
    return same ? again(context, there, next) : collision(there.request, request);
  }
  if (first !== null) {
    const difference = differs(first.request, request, false);
    if (difference.length) return contradiction(first.request, request, difference);
  }
  kept.add(next);
  return null;
}

/** A volume that is declared once more at its path. */
function again(context: Context, there: Declaration, next: Declaration): Failure | null {
  const other = there.request;
  const request = next.request;
  const difference = differs(other, request, true);
  if (there.firstClass != next.firstClass) {
    context.note(
      request.title() +
        " is declared in " +
        other.from +
        " and in " +
        request.from +
        ": " +
        other.from +
        " is taken" +
        (difference.length ? "; they differ in " + difference : ""),
    );
    return null;
  }
  if (difference.length) return contradiction(other, request, difference);
  context.note(request.title() + " is declared twice, in " + other.from + " and in " + request.from + ": taken once");
  return null;
}

function collision(a: VolumeRequest, b: VolumeRequest): Failure {
  return new Failure(
    "invalid",
    "two volumes are to be at " +
      show(b.containerPath) +
      ": " +
      a.title() +
      " by " +
      a.from +
      " and " +
      b.title() +
      " by " +
      b.from,
    "give each volume a path of its own",
  )
    .at("container_path", show(b.containerPath))
    .of(b.name, b.driver);
}

/** What differs between two declarations of one volume, or "". `samePath`: also what may differ from path to path. */
function differs(a: VolumeRequest, b: VolumeRequest, samePath: bool): string {
  const out: string[] = [];
  if (!a.options.equals(b.options)) out.push("options");
  if (a.access != b.access) out.push("access");
  if (a.create != b.create) out.push("create");
  if (a.ownership != b.ownership) out.push("ownership");
  if (samePath && a.mode != b.mode) out.push("mode");
  if (samePath && a.subpath != b.subpath) out.push("subpath");
  return out.join(", ");
}

function contradiction(a: VolumeRequest, b: VolumeRequest, difference: string): Failure {
  return new Failure(
    "invalid",
    b.title() +
      " is asked for twice in ways that contradict: " +
      a.from +
      " and " +
      b.from +
      " differ in " +
      difference,
    "make both the same, or leave one out",
  )
    .at(difference)
    .of(b.name, b.driver);
}
