// Somebody ends the tests (^C, a CI that gives up): what must not stay behind on the machine goes at once.

const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
const actions = new Set<() => void>();

function interrupted(signal: NodeJS.Signals): void {
  for (const action of [...actions].reverse()) {
    try {
      action();
    } catch (error) {
      process.stderr.write(`${String(error)}\n`);
    }
  }
  process.exit(128 + NUMBERS[signal as keyof typeof NUMBERS]);
}

/** Has `action` done where the process is told to end; it does not wait for anything. Returns what takes it back. */
export function whenInterrupted(action: () => void): () => void {
  const signals = Object.keys(NUMBERS) as (keyof typeof NUMBERS)[];
  if (actions.size === 0) for (const signal of signals) process.on(signal, interrupted);
  actions.add(action);
  return () => {
    actions.delete(action);
    if (actions.size === 0) for (const signal of signals) process.off(signal, interrupted);
  };
}
