// Host calls as lines for a person.
import { inWords, type Entry } from "../../assembly/testing/fake.mjs";

/** What was asked, with the volumes by their names. */
export function askedInWords(entry: Entry, volumes: { name: string }[]): string {
  return inWords(entry).replace(/\b(Get|Path|Create|Mount|stage|query) (\d+)/g, (_, word: string, index: string) => {
    return `${word} ${volumes[Number(index)]?.name ?? index}`;
  });
}

/** What was answered to a host call, in a few words. */
export function saidInWords({ import: name, request, answer }: Entry): string {
  if (name === "log") return `${request.level ?? ""}: ${request.message ?? ""}`;
  const answers = answer.ok?.answers;
  if (answers !== undefined) {
    return answers
      .map(({ kind, scope, reason, error }) => {
        if (kind === "ok") return scope === undefined ? "ok" : `ok (${scope})`;
        return kind === "unknown" ? `nobody knows: ${reason ?? ""}` : `${kind}: ${error ?? ""}`;
      })
      .join(" + ");
  }
  const stages = answer.ok?.stages;
  if (stages !== undefined) return stages.map(({ error }) => error?.message ?? "ok").join(" + ");
  return name === "sleep" || name === "now" || name === "random" ? "" : "ok";
}
