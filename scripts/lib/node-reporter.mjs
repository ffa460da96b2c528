// A reporter for `node --test`: one JSON line for each test, for scripts/lib/suites.mjs to read.

/** The text of a failure, with the cause that the test itself threw. */
function failure(error) {
  const cause = error?.cause ?? error;
  return cause?.stack ?? cause?.message ?? String(cause);
}

export default async function* report(source) {
  for await (const { type, data } of source) {
    if (type === "test:stdout" || type === "test:stderr") {
      yield `${JSON.stringify({ type: "output", text: data.message })}\n`;
    } else if (type === "test:pass" || type === "test:fail") {
      const kind = data.details?.type ?? "test";
      yield `${JSON.stringify({
        type: "test",
        suite: kind === "suite",
        name: data.name,
        nesting: data.nesting,
        file: data.file,
        pass: type === "test:pass",
        skip: data.skip ?? data.todo,
        ms: data.details?.duration_ms,
        error: type === "test:fail" ? failure(data.details?.error) : undefined,
      })}\n`;
    }
  }
}
