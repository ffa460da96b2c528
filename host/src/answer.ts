// Whether an answer of a policy's is one as the ABI has it, by the rule of the engine (native/policy/answer.cc).
import { CODES } from "./abi.ts";

/** Why an engine would call this answer malformed, which is a failure of the policy and no decision; else null. */
export function malformed(answer: unknown): string | null {
  if (typeof answer !== "object" || answer === null || Array.isArray(answer) || Object.keys(answer).length !== 1)
    return 'it must have one member, "ok" or "error"';
  if ("ok" in answer) return null;
  const { error } = answer as { error?: unknown };
  const { code, message } = (typeof error === "object" && error !== null ? error : {}) as Record<string, unknown>;
  if (typeof code !== "string" || code === "" || typeof message !== "string" || !/[^ \t\r\n]/.test(message))
    return "its error has no code or no message";
  return CODES.includes(code) ? null : `its error has the unknown code "${code}"; there are ${CODES.join(", ")}`;
}
