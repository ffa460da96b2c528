// Asking again: which calls, after how long, and when to stop.
import { Config } from "../model/config";
import { Failure } from "../model/result";
import { Answer, Call, Kind, callPlugins } from "./calls";
import { unclear } from "./failures";
import { log, now, random, sleep } from "./host";
import { Policy } from "./policy";

/** What must be left until the deadline for another try to be worth a wait. */
const WORTH_MS: i64 = 100;

/** Asks plugins, again where that may help. One for each operation. */
export class Asker {
  /** Whether a line about waiting was logged: once is enough. */
  private told: bool = false;

  constructor(
    readonly policy: Policy,
    readonly config: Config,
  ) {}

  /**
   * Sends the calls side by side, and those again of which nothing is known, as the policy's retry() says; a Get, too, whose
   * error reads as if it would pass. A Create, and
   * a Mount that the plugin may have acted on, is not sent again here: its caller asks first. Each call has its answer
   * at the end, which may be `Unknown`. A Failure where the engine gave none.
   */
  settle(calls: Call[]): Failure | null {
    let pending = calls;
    while (true) {
      const failure = callPlugins(pending);
      if (failure !== null) return failure;
      let again: Call[] | null = null;
      let wait: i64 = 0;
      for (let i = 0; i < pending.length; i++) {
        const call = unchecked(pending[i]);
        const answer = call.answer;
        const kind = whyAgain(call, answer);
        if (kind.length == 0) continue;
        if (call.method == "Create" || (answer.sent && call.method == "Mount")) continue;
        // A plugin that has no Capabilities, or something odd in its place, is local: no reason to wait.
        if (answer.sent && call.method == "Capabilities") continue;
        const ms = this.policy.retry(kind, call.attempts, this.config);
        if (ms < 0) continue;
        if (ms > wait) wait = ms;
        if (again === null) again = [call];
        else again.push(call);
      }
      if (again === null) return null;
      if (!this.pause(wait, again[0])) return null;
      pending = again;
    }
  }

  /** Waits about so long (jitter: three quarters to five quarters). False where the deadline leaves no time for it. */
  pause(ms: i64, call: Call): bool {
    const time = now();
    if (time.error !== null) return false;
    const half = ms / 2;
    const wait = half > 0 ? ms - half / 2 + <i64>(<u64>random() % <u64>(half + 1)) : ms;
    if (wait + WORTH_MS > time.value!.leftMs) return false;
    if (!this.told) {
      this.told = true;
      const answer = call.answer;
      const why = answer.reason.length ? answer.reason + ": " + answer.error : answer.error;
      log("warning", "driver " + call.driver + ", " + call.subject + ": " + why + "; trying again for a while");
    }
    return sleep(wait) === null;
  }
}

/** What retry() is asked with; "" for an answer that is one. */
function whyAgain(call: Call, answer: Answer): string {
  if (answer.kind == Kind.Unknown) return answer.reason;
  return answer.kind == Kind.Error && call.method == "Get" && unclear(answer.error, call.name) ? "transient" : "";
}
