// The fake world as the host of a blob that Node runs.
import type { Fake, Operation } from "../../assembly/testing/fake.mjs";
import { PolicyTrap, type HostCall } from "./runner.ts";

/** Answers the host calls of one export. What the engine does not offer to it ends it, as there: by a PolicyTrap. */
export function hostOf(fake: Fake, operation: Operation): HostCall {
  return (name, request) => {
    const answer = fake.answer(name, request, operation);
    if (answer === null) throw new PolicyTrap(`it calls ${name}, which is not to be had in ${operation}`);
    return answer;
  };
}
