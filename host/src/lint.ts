// `dvdi-policy lint`: what an engine would refuse, found out as far as that goes without one: the blob's shape, and its
// tests of itself.
import { ABI } from "./abi.ts";
import { inspectPolicy } from "./inspect.ts";
import { PolicyBlob, PolicyTrap } from "./runner.ts";

/** Why an engine would not take the blob, or would not activate it; empty where nothing is found. */
export function lintPolicy(blob: Uint8Array): string[] {
  const { problems } = inspectPolicy(blob);
  if (problems.length > 0) return problems;
  const policy = new PolicyBlob(blob);
  const ask = (name: string, input: unknown): unknown => {
    const text = policy.begin().call(name, JSON.stringify(input), (called) => JSON.stringify(outside(called)));
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new PolicyTrap("its answer is not JSON");
    }
    if (typeof answer === "object" && answer !== null && Object.keys(answer).length !== 1)
      throw new PolicyTrap('its answer has more than "ok" or "error"');
    const { ok, error } = (answer ?? {}) as { ok?: unknown; error?: { message?: unknown } };
    if (error !== undefined) throw new PolicyTrap(`it says: ${String(error.message)}`);
    if (typeof ok !== "object" || ok === null) throw new PolicyTrap('its answer has neither "ok" nor "error"');
    return ok;
  };
  const found: string[] = [];
  const check = (name: string, input: unknown): unknown => {
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

/** What an engine answers where there is no operation. */
function outside(called: string): object {
  switch (called) {
    case "log":
      return { ok: {} };
    case "now":
      return { ok: { unix_ms: Date.now(), left_ms: 1_000 } };
    case "random":
      return { ok: { u32: 4 } };
    default:
      return { error: { code: "refused", message: `${called} is not available outside of an operation` } };
  }
}
