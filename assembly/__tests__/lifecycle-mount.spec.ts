import { Asked, holds, lacks, prepare, prepareOne } from "./operation";
import * as world from "./world";

const NO: string = '{"kind":"error","error":"no such volume"}';
const LATE: string = '{"kind":"unknown","reason":"timeout","error":"5 s","sent":true}';
const LOST: string = '{"kind":"unknown","reason":"lost","error":"connection reset","sent":true}';
const DOWN: string = '{"kind":"unknown","reason":"unreachable","error":"connection refused","sent":false}';

const GREETING: string = "Activate rexray; Capabilities rexray + Get 0";

describe("prepare: mount", () => {
  beforeEach(() => {
    world.reset();
  });

  it("gives the driver's own error, with advice where another node holds the volume", () => {
    world.answer("Mount", '{"kind":"error","error":"volume is in use by node-a"}', 0, "", 0);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("driver");
    expect(outcome.message).toBe('driver rexray answered Mount of volume "data" with "volume is in use by node-a"');
    holds(outcome.hint, "end the workload that holds it");
    expect(world.calls()).toBe(GREETING + "; Mount 0");
  });

  it("tries again what reads as if it would pass", () => {
    world.answer("Mount", '{"kind":"error","error":"Rate exceeded"}');
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    expect(world.calls()).toBe(GREETING + "; Mount 0; sleep 96; Mount 0; stage 0 rw");
    world.reset();
    world.answer("Mount", '{"kind":"error","error":"Rate exceeded"}', -1, "", 0);
    holds(prepareOne(new Asked("data")).message, "Rate exceeded");
    expect(world.calls().split("Mount 0").length).toBe(4);
  });

  it("asks before it mounts again after a timeout", () => {
    world.answer("Mount", LATE);
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    expect(world.calls()).toBe(GREETING + "; Mount 0; sleep 96; Get 0; Mount 0; stage 0 rw");
  });

  it("gives up where the plugin does not come back, or knows the volume no more", () => {
    world.answer("Mount", LOST);
    world.answer("Get", '{"kind":"ok"}', 0);
    world.answer("Get", DOWN, 0, "", 0);
    const gone = prepareOne(new Asked("data"));
    expect(gone.code).toBe("unavailable");
    holds(gone.message, 'cannot be reached for Get of volume "data"');
    world.reset();
    world.answer("Mount", LOST);
    world.answer("Get", '{"kind":"ok"}', 0);
    world.answer("Get", NO, 0);
    expect(prepareOne(new Asked("data")).message).toBe(
      'driver rexray answered Get of volume "data" with "no such volume"',
    );
  });

  it("gives up after the last try", () => {
    world.answer("Mount", LATE, -1, "", 0);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("timeout");
    expect(outcome.message).toBe('driver rexray did not answer Mount of volume "data" in time: 5 s (tried 3 times)');
    lacks(world.calls(), "stage");
  });

  it("does not mount again without time for it", () => {
    world.answer("Mount", LATE, -1, "", 0);
    world.left(150);
    expect(prepareOne(new Asked("data")).code).toBe("timeout");
    expect(world.calls()).toBe(GREETING + "; Mount 0");
  });

  it("stages nothing where one volume of several cannot be mounted", () => {
    world.answer("Mount", '{"kind":"error","error":"busy"}', 1);
    const outcome = prepare([new Asked("a"), new Asked("b")]);
    expect(outcome.volume).toBe("b");
    expect(world.calls()).toBe("Activate rexray; Capabilities rexray + Get 0 + Get 1; Mount 0 + Mount 1");
  });

  it("asks the plugin once about a volume that is wanted on two paths", () => {
    world.exists(0, false);
    expect(prepare([new Asked("data"), new Asked("data")]).stories).toBe(
      "created: created new volume data\ncreated: created new volume data",
    );
    expect(world.calls()).toBe(
      GREETING + '; List rexray; Create 0 {"size":"5"}; Mount 0; Mount 1; stage 0 rw + stage 1 rw',
    );
  });
});

describe("prepare: stages", () => {
  beforeEach(() => {
    world.reset();
  });

  it("asks for them as the request has it", () => {
    const asked = new Asked("data");
    asked.mode = "ro";
    asked.subpath = "a/b";
    asked.ownership = "root-dir";
    expect(prepare([asked], '{"uid":1000,"gid":1000}').ok).toBe(true);
    holds(
      world.transcript(),
      '{"volume":0,"read_only":true,"nosuid":true,"nodev":true,"subpath":"a/b","ownership":"root-dir"}',
    );
  });

  it("names the volume whose stage failed", () => {
    world.answer(
      "stage.one",
      '{"error":{"code":"unsupported","message":"nfs has no ID mapping","hint":"use root-dir"}}',
      1,
    );
    const outcome = prepare([new Asked("a"), new Asked("b")]);
    expect(outcome.code).toBe("unsupported");
    expect(outcome.message).toBe("nfs has no ID mapping");
    expect(outcome.hint).toBe("use root-dir");
    expect(outcome.volume).toBe("b");
    expect(outcome.driver).toBe("rexray");
  });

  it("refuses answers that are against the ABI", () => {
    const bad = [
      '{"ok":{"stages":[]}}',
      '{"ok":{}}',
      '{"ok":{"stages":[{}]}}',
      '{"ok":{"stages":[{"ok":false}]}}',
      "x",
    ];
    for (let i = 0; i < bad.length; i++) {
      world.reset();
      world.answer("stage", bad[i]);
      expect(prepareOne(new Asked("data")).ok).toBe(false, bad[i]);
    }
    world.reset();
    world.answer("stage", '{"error":{"code":"system","message":"no space"}}');
    expect(prepareOne(new Asked("data")).message).toBe("no space");
  });

  it("needs a user for an ownership, before anything is done", () => {
    const asked = new Asked("data");
    asked.ownership = "recursive";
    const outcome = prepareOne(asked);
    expect(outcome.code).toBe("invalid");
    holds(outcome.message, "no user is named");
    expect(world.calls()).toBe("");
  });
});
