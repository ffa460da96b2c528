// A command in a process of its own: a policy may run for ever, and nothing ends Wasm in Node but the end of its process.
import { spawn } from "node:child_process";

const SIGNALS = ["SIGHUP", "SIGINT", "SIGTERM"] as const;

/**
 * Runs this tool's command in another process, with our streams. Who ends us ends it too: by itself it would go on for as long as its policy.
 * @returns how it ended (`failed` where a signal ended it); null where it did not in time
 */
export async function elsewhere(command: string, given: string[], ms: number, failed: number): Promise<number | null> {
  const interrupted = (signal: NodeJS.Signals): void => {
    child.kill("SIGKILL");
    for (const one of SIGNALS) process.off(one, interrupted);
    process.kill(process.pid, signal);
  };
  // Before it is there, so that it is never there without them.
  for (const signal of SIGNALS) process.on(signal, interrupted);
  const child = spawn(process.execPath, [process.argv[1] ?? "", command, "--here", ...given], { stdio: "inherit" });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, ms);
  try {
    const status = await new Promise<number | null>((done, wrong) => {
      child.once("error", wrong);
      child.once("exit", done);
    });
    return late ? null : (status ?? failed);
  } finally {
    clearTimeout(timer);
    for (const signal of SIGNALS) process.off(signal, interrupted);
  }
}
