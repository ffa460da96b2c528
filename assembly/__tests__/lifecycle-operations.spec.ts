import { runCanary } from "../lifecycle/canary";
import { ask, runCleanup, runConfigure, runParse, runPrepare, runRecover } from "../lifecycle/operations";
import { CONFIG, Outcome, holds } from "./operation";
import * as world from "./world";

describe("configure", () => {
  it("says what was set, and takes its own answer", () => {
    const first = ask(runConfigure, '{"settings":{"default_driver":"nfs"},"engine":{"version":"1.0.0","abi":1}}');
    expect(first).toBe('{"ok":{"default_driver":"nfs"}}');
    const body = first.substring('{"ok":'.length, first.length - 1);
    expect(ask(runConfigure, '{"settings":' + body + "}")).toBe(first);
    expect(ask(runConfigure, "{}")).toBe(ask(runConfigure, '{"settings":{}}'));
  });

  it("refuses what it does not know, and engines of another version", () => {
    const unknown = new Outcome(ask(runConfigure, '{"settings":{"default_drivr":"nfs"}}'));
    expect(unknown.code).toBe("invalid");
    holds(unknown.message, "default_drivr");
    holds(unknown.hint, "default_driver");
    const newer = new Outcome(ask(runConfigure, '{"settings":{},"engine":{"version":"9","abi":2}}'));
    expect(newer.code).toBe("unsupported");
    holds(newer.message, "version 2");
    expect(new Outcome(ask(runConfigure, "{")).code).toBe("invalid");
  });
});

describe("inputs that are no inputs", () => {
  it("are errors of every operation", () => {
    const bad = ["", "nonsense", "{", '{"config":{"no":1}}'];
    for (let i = 0; i < bad.length; i++) {
      const answers = [ask(runParse, bad[i]), ask(runPrepare, bad[i]), ask(runCanary, bad[i])];
      for (let j = 0; j < answers.length; j++) expect(new Outcome(answers[j]).code).toBe("invalid", bad[i]);
    }
    const lists = [
      '{"volumes":{},"pending":{}}',
      '{"volumes":[{"name":7}],"pending":[{"name":7,"attempts":5}]}',
      "7 7",
    ];
    for (let i = 0; i < lists.length; i++) {
      expect(new Outcome(ask(runCleanup, lists[i])).code).toBe("invalid", lists[i]);
      expect(new Outcome(ask(runRecover, lists[i])).code).toBe("invalid", lists[i]);
      expect(new Outcome(ask(runPrepare, lists[i])).code).toBe("invalid", lists[i]);
    }
  });

  it("prepare of no volume is no work", () => {
    world.reset();
    expect(ask(runPrepare, '{"config":' + CONFIG + ',"scope":{"owner":"run","id":"s"},"volumes":[]}')).toBe(
      '{"ok":{"volumes":[],"notes":[]}}',
    );
    expect(world.calls()).toBe("");
  });
});

describe("cleanup and recover", () => {
  it("leave it to the settings how releases are tried again, and say what a user should know", () => {
    expect(ask(runCleanup, '{"config":{},"scope":{"owner":"run","id":"s"},"volumes":[]}')).toBe('{"ok":{"report":[]}}');
    holds(
      ask(
        runCleanup,
        '{"volumes":[{"driver":"d","name":"a","last_user":true},{"driver":"d","name":"b","last_user":false}]}',
      ),
      '"report":["volume \\"b\\" (driver d) stays attached: others use it"]',
    );
    expect(
      ask(runRecover, '{"config":{},"owner":"run","pending":[{"driver":"d","name":"a","attempts":1,"error":"busy"}]}'),
    ).toBe('{"ok":{"report":[]}}');
    holds(
      ask(runRecover, '{"pending":[{"driver":"d","name":"a","attempts":7,"error":"busy"}]}'),
      "could not be released in 7 attempts: busy; it is tried again",
    );
  });
});

describe("canary", () => {
  it("checks the blob, and says how much", () => {
    const outcome = new Outcome(ask(runCanary, '{"config":' + CONFIG + "}"));
    expect(outcome.text).toBe(outcome.ok ? outcome.text : "an ok");
    expect(outcome.node.object("ok")!.int("checks", 0)).toBeGreaterThan(60);
  });
});
