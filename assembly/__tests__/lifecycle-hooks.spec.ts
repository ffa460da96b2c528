import { Config } from "../model/config";
import { Options } from "../model/request";
import { Failure } from "../model/result";
import { runCanary } from "../lifecycle/canary";
import { ask, runConfigure } from "../lifecycle/operations";
import { Backoff, Policy, use } from "../lifecycle/policy";
import { runCleanup } from "../lifecycle/operations";
import { Scope, User, Volume } from "../lifecycle/volume";
import { Asked, holds, lacks, prepare, prepareOne } from "./operation";
import * as world from "./world";

/** Says no at one hook, by its name. */
class No extends Policy {
  constructor(private hook: string) {
    super();
  }

  private no(hook: string): Failure | null {
    return this.hook == hook ? new Failure("refused", "the house says no at " + hook) : null;
  }

  check(config: Config): Failure | null {
    return this.no("check");
  }
  admit(volume: Volume, scope: Scope): Failure | null {
    return this.no("admit");
  }
  share(volume: Volume, users: User[]): Failure | null {
    return this.no("share");
  }
  place(volume: Volume, driverScope: string): Failure | null {
    return this.no("place " + driverScope);
  }
  mayCreate(volume: Volume): Failure | null {
    return this.no("mayCreate");
  }
}

/** Decides everything its own way. */
class House extends Policy {
  options(volume: Volume): Options {
    const out = new Options();
    out.setText("house", volume.name);
    return out;
  }
  ownership(volume: Volume, scope: Scope): string {
    return scope.uid == 1000 ? "root-dir" : "none";
  }
  nosuid(volume: Volume): bool {
    return false;
  }
  nodev(volume: Volume): bool {
    return false;
  }
  retry(kind: string, attempt: i32, config: Config): i64 {
    return kind == "timeout" && attempt == 1 ? 40 : -1;
  }
  notes(volumes: Volume[], scope: Scope): string[] {
    return ["house rules for " + scope.title + ": " + volumes.length.toString()];
  }
  release(): Backoff {
    return new Backoff(5, 50);
  }
}

class Endless extends Policy {
  retry(kind: string, attempt: i32, config: Config): i64 {
    return 1;
  }
}

describe("hooks", () => {
  beforeEach(() => {
    world.reset();
  });
  afterEach(() => {
    use(new Policy());
  });

  it("that say no end the operation where they are asked", () => {
    const hooks = ["admit", "share", "place local", "mayCreate"];
    const seen = [
      "",
      "",
      "Activate rexray; Capabilities rexray + Get 0",
      "Activate rexray; Capabilities rexray + Get 0; List rexray",
    ];
    for (let i = 0; i < hooks.length; i++) {
      world.reset();
      world.exists(0, false);
      use(new No(hooks[i]));
      const asked = new Asked("data");
      if (hooks[i] == "share") asked.usedBy("s1").mode = "ro";
      const outcome = prepareOne(asked);
      expect(outcome.message).toBe("the house says no at " + hooks[i]);
      expect(outcome.volume).toBe("data");
      expect(outcome.driver).toBe("rexray");
      expect(world.calls()).toBe(seen[i]);
    }
  });

  it("are told the driver's scope", () => {
    world.scope("rexray", "global");
    use(new No("place global"));
    expect(prepareOne(new Asked("data")).code).toBe("refused");
    use(new No("place local"));
    expect(prepareOne(new Asked("data")).ok).toBe(true);
  });

  it("may refuse settings", () => {
    use(new No("check"));
    holds(ask(runConfigure, '{"settings":{}}'), "the house says no at check");
  });

  it("choose options, ownership, flags, retries and notes", () => {
    use(new House());
    world.exists(0, false);
    world.answer("Activate", '{"kind":"unknown","reason":"timeout","error":"late","sent":true}');
    const outcome = prepare([new Asked("data")], '{"uid":1000,"gid":1000}');
    expect(outcome.notes).toBe("house rules for run/me: 1");
    holds(
      world.calls(),
      'Activate rexray; sleep 42; Activate rexray; Capabilities rexray + Get 0; List rexray; Create 0 {"house":"data"}',
    );
    holds(world.transcript(), '"nosuid":false,"nodev":false,"subpath":"","ownership":"root-dir"');
    holds(ask(runCleanup, "{}"), '"retry":{"base_ms":5,"max_ms":50}');
    world.answer("Activate", '{"kind":"unknown","reason":"lost","error":"gone","sent":true}');
    expect(prepareOne(new Asked("data")).code).toBe("unavailable");
  });

  it("that retry for ever are stopped by the deadline, and barred by the canary", () => {
    use(new Endless());
    world.left(150);
    world.answer("Get", '{"kind":"unknown","reason":"timeout","error":"late","sent":true}', -1, "", 0);
    expect(prepareOne(new Asked("data")).code).toBe("timeout");
    holds(ask(runCanary, '{"config":{}}'), "asking again after unreachable comes to an end");
  });

  it("cannot create what exists or what is not known", () => {
    use(new House());
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    world.answer("Get", '{"kind":"unknown","reason":"lost","error":"gone","sent":true}', -1, "", 0);
    expect(prepareOne(new Asked("data")).ok).toBe(false);
    lacks(world.calls(), "Create");
  });
});
