// What this house has decided about storage:
// - nothing is created without a size, and nothing is larger than a cap;
// - what the payments team runs gets encrypted volumes, and no others.
// A volume that exists is as it was made: the rule is about what workloads ask for.
import { Failure, Policy, Scope, Volume, quantity } from "../../assembly/library";

const CAP_GB: f64 = 500;
const PAYMENTS_CAP_GB: f64 = 100;
/** The team's user on every node, which its Mesos tasks run as; and what its names of `dvdi run --name` begin with. */
const PAYMENTS_UID: i64 = 7000;
const PAYMENTS_NAME: string = "payments-";

export class House extends Policy {
  admit(volume: Volume, scope: Scope): Failure | null {
    const payments = isPayments(scope);
    if (payments && option(volume, "encrypted") != "true") {
      const message = "house rule: " + scope.title + " is of the payments team, and volume " + volume.name;
      return new Failure("refused", message + " is not asked for encrypted", "add the option encrypted=true");
    }
    const size = option(volume, "size");
    const cap = payments ? PAYMENTS_CAP_GB : CAP_GB;
    // Written so that a size which is no number is above the cap, too.
    if (size.length == 0 || quantity("size", size) <= cap) return null;
    const message = "house rule: volume " + volume.name + " is asked for with size " + size;
    const most = cap.toString().replace(".0", "") + " GB";
    return new Failure("refused", message + ", which is not within " + most, "ask for less, or ask the storage team");
  }

  mayCreate(volume: Volume): Failure | null {
    if (option(volume, "size").length) return null;
    const message = "house rule: volume " + volume.name + " does not exist yet, and none is created without a size";
    return new Failure("refused", message, "give it one, as in --mount …,volume-opt=size=64m");
  }

  notes(volumes: Volume[], scope: Scope): string[] {
    return ["decided by the house rule, for " + volumes.length.toString() + " volume(s)"];
  }
}

function isPayments(scope: Scope): bool {
  return scope.id.startsWith(PAYMENTS_NAME) || (scope.hasUser && scope.uid == PAYMENTS_UID);
}

/** An option as a text; "" where it is not there, or is a secret, which nobody but the engine can read. */
function option(volume: Volume, name: string): string {
  const value = volume.request.options.get(name);
  return value === null || value.isSecret ? "" : value.text;
}
