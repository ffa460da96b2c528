// Declarations of several forms become the volumes of one workload.
import { show } from "../json/text";
import { VolumeRequest } from "../model/request";
import { Failure } from "../model/result";
import { Context, Declaration } from "./context";

/**
 * One volume on one path: a second declaration of the same is dropped (with a note where it differed and yielded: the
 * environment yields to every other form), another volume on the path is an error, and so is one volume that is asked for
 * with different options, access, create or ownership.
 */
export function merge(context: Context): Failure | null {
  const all = context.declarations;
  const kept: Declaration[] = [];
  // First-class forms first, so that what yields meets what it yields to.
  for (let pass = 0; pass < 2; pass++) {
    for (let i = 0; i < all.length; i++) {
      const next = all[i];
      if (next.firstClass != (pass == 0)) continue;
      const failure = place(context, kept, next);
      if (failure !== null) return failure;
    }
  }
  context.declarations = kept;
  return null;
}

function place(context: Context, kept: Declaration[], next: Declaration): Failure | null {
  const request = next.request;
  for (let i = 0; i < kept.length; i++) {
    const there = kept[i];
    const other = there.request;
    const same = other.name == request.name && other.driver == request.driver;
    if (!same && other.containerPath != request.containerPath) continue;
    if (same && (other.containerPath == request.containerPath || (there.firstClass && !next.pathGiven))) {
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
      if (difference.length == 0) {
        context.note(
          request.title() + " is declared twice, in " + other.from + " and in " + request.from + ": taken once",
        );
        return null;
      }
      return contradiction(other, request, difference);
    }
    if (same) {
      const difference = differs(other, request, false);
      if (difference.length) return contradiction(other, request, difference);
      continue;
    }
    return new Failure(
      "invalid",
      "two volumes are to be at " +
        show(request.containerPath) +
        ": " +
        other.title() +
        " by " +
        other.from +
        " and " +
        request.title() +
        " by " +
        request.from,
      "give each volume a path of its own",
    )
      .at("container_path", show(request.containerPath))
      .of(request.name, request.driver);
  }
  kept.push(next);
  return null;
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
