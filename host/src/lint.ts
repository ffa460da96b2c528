// `dvdi-policy lint`: what an engine would refuse, found out as far as that goes without one: the blob's shape, and its
// tests of itself.
import { createFake, type Operation } from "../../assembly/testing/fake.mjs";
import { ABI } from "./abi.ts";
import { malformed } from "./answer.ts";
import { hostOf } from "./fake-host.ts";
import { inspectPolicy } from "./inspect.ts";
import { PolicyBlob, PolicyTrap } from "./runner.ts";

/** Why an engine would not take the blob, or would not activate it; empty where nothing is found. */
export function lintPolicy(blob: Uint8Array): string[] {
  const { problems } = inspectPolicy(blob);
  if (problems.length > 0) return problems;
  const policy = new PolicyBlob(blob);
  const ask = (name: Operation, input: unknown): unknown => {
    const text = policy.begin().call(name, JSON.stringify(input), hostOf(createFake(), name));
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new PolicyTrap("its answer is not JSON");
    }
    const wrong = malformed(answer);
    if (wrong !== null) throw new PolicyTrap(`its answer is malformed: ${wrong}`);
    const { ok, error } = answer as { ok?: unknown; error?: { message: string } };
    if (error !== undefined) throw new PolicyTrap(`it says: ${error.message}`);
    if (typeof ok !== "object" || ok === null) throw new PolicyTrap('its answer\'s "ok" is no object');
    return ok;
  };
  const found: string[] = [];
  const check = (name: Operation, input: unknown): unknown => {
    try {
      return ask(name, input);
    } catch (error) {
      if (!(error instanceof PolicyTrap)) throw error;
      found.push(`${name}: ${error.message}`);
      return null;
    }
  };
  const config = check("configure", { settings: {}, engine: { version: "0.0.0", abi: ABI } });
  if (config === null) return found;
  check("parse", { config, sources: [] });
  const canary = check("canary", { config }) as { checks?: unknown } | null;
  if (canary !== null && !(Number.isInteger(canary.checks) && Number(canary.checks) >= 0))
    found.push("canary: it does not say how many checks it made");
  check("cleanup", { config, scope: { owner: "lint", id: "lint" }, volumes: [] });
  check("recover", { config, owner: "lint", pending: [] });
  return found;
}
