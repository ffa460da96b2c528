import { Asked, holds, lacks, prepare, prepareOne } from "./operation";
import * as world from "./world";

const LATE: string = '{"kind":"unknown","reason":"timeout","error":"5 s","sent":true}';
const DOWN: string = '{"kind":"unknown","reason":"unreachable","error":"connection refused","sent":false}';

const GREETING: string = "Activate rexray; Capabilities rexray + Get 0";

describe("prepare: the way of a volume", () => {
  beforeEach(() => {
    world.reset();
  });

  it("mounts and stages what the driver knows, and never creates it", () => {
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.stories).toBe("re-attached: re-attached data (not used on this node before)");
    expect(world.calls()).toBe(GREETING + "; Mount 0; stage 0 rw");
  });

  it("says when the volume was used last, or made", () => {
    const used = new Asked("data");
    used.history = '{"known":true,"created_by_us":true,"last_used_ms":1699999820000}';
    expect(prepareOne(used).stories).toBe("re-attached: re-attached data (last used 3 minutes ago)");
    const old = new Asked("data");
    old.history = '{"known":true,"created_by_us":false}';
    expect(prepareOne(old).stories).toBe("re-attached: re-attached data (used on this node before)");
    const made = new Asked("data");
    made.history = '{"known":true,"created_by_us":true,"created_ms":1699999820000}';
    expect(prepareOne(made).stories).toBe("re-attached: re-attached data (not used on this node before)");
    world.answer("Get", '{"kind":"ok","created_at":"2024-05-01T10:00:00Z"}');
    expect(prepareOne(new Asked("data")).stories).toBe(
      "re-attached: re-attached data (created 2024-05-01T10:00:00Z, not used on this node before)",
    );
    world.answer("Get", '{"kind":"ok","created_at":"yesterday \\u001b[2J"}');
    expect(prepareOne(new Asked("data")).stories).toBe("re-attached: re-attached data (not used on this node before)");
  });

  it("creates what Get and List do not know, with the options of the request", () => {
    world.exists(0, false);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.stories).toBe("created: created new volume data");
    expect(world.calls()).toBe(GREETING + '; List rexray; Create 0 {"size":"5"}; Mount 0; stage 0 rw');
  });

  it("hands a secret on as its handle", () => {
    world.exists(0, false);
    const asked = new Asked("data");
    asked.options = '{"password":{"secret":"db"}}';
    expect(prepareOne(asked).ok).toBe(true);
    holds(world.calls(), 'Create 0 {"password":{"secret":"db"}}');
  });

  it("says that a new volume takes the place of one that was there", () => {
    world.exists(0, false);
    const asked = new Asked("data");
    asked.history = '{"known":true,"created_by_us":true,"last_used_ms":1699827200000}';
    expect(prepareOne(asked).stories).toBe(
      "created: created new volume data (the one last used 2 days ago is gone from driver rexray)",
    );
  });

  it("does not create what is never to be created", () => {
    world.exists(0, false);
    const asked = new Asked("data");
    asked.create = "never";
    const outcome = prepareOne(asked);
    expect(outcome.code).toBe("not-found");
    expect(outcome.message).toBe(
      'volume "data" (driver rexray) does not exist (the driver says "no such volume"), and it is not created because create is never',
    );
    holds(outcome.hint, "create: if-missing");
    expect(outcome.volume).toBe("data");
    expect(outcome.driver).toBe("rexray");
    expect(world.calls()).toBe(GREETING + "; List rexray");
  });

  it("takes List's word against an error of Get", () => {
    world.answer("Get", '{"kind":"error","error":"internal error"}');
    world.answer("List", '{"kind":"ok","volumes":[{"name":"other"},{"name":"data"}]}');
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.stories).toBe("re-attached: re-attached data (not used on this node before)");
    expect(outcome.notes).toBe(
      'driver rexray answered Get of volume "data" with "internal error", but its List names it',
    );
    expect(world.calls()).toBe(GREETING + "; List rexray; Mount 0; stage 0 rw");
  });

  it("does not create where List gives no answer", () => {
    world.exists(0, false);
    world.answer("List", '{"kind":"error","error":"not implemented"}');
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("driver");
    expect(outcome.message).toBe(
      'it is not known whether volume "data" (driver rexray) exists: the driver answered Get with "no such volume", and ' +
        'driver rexray answered List with "not implemented"',
    );
    expect(world.calls()).toBe(GREETING + "; List rexray");
    world.reset();
    world.exists(0, false);
    world.answer("List", LATE, -1, "", 0);
    expect(prepareOne(new Asked("data")).code).toBe("timeout");
    lacks(world.calls(), "Create");
  });

  it("does not create where Get gives no answer, whatever kind of none it is", () => {
    const reasons = [
      "unreachable",
      "lost",
      "timeout",
      "not-json",
      "malformed",
      "too-large",
      "breaker-open",
      "not-found",
      "invalid",
    ];
    const codes = [
      "unavailable",
      "unavailable",
      "timeout",
      "driver",
      "driver",
      "driver",
      "unavailable",
      "not-found",
      "invalid",
    ];
    for (let i = 0; i < reasons.length; i++) {
      world.reset();
      world.exists(0, false);
      world.answer("Get", '{"kind":"unknown","reason":"' + reasons[i] + '","error":"so","sent":true}', -1, "", 0);
      const outcome = prepareOne(new Asked("data"));
      expect(outcome.code).toBe(codes[i], reasons[i]);
      holds(outcome.message, "so", reasons[i]);
      expect(outcome.hint.length).toBeGreaterThan(0, reasons[i]);
      expect(outcome.driver).toBe("rexray");
      lacks(world.calls(), "Create", reasons[i]);
      lacks(world.calls(), "List", reasons[i]);
    }
  });

  it("takes a volume over that is being released", () => {
    const asked = new Asked("data");
    asked.state = "releasing";
    asked.history = '{"known":true,"created_by_us":true,"last_used_ms":1699999999000}';
    expect(prepareOne(asked).stories).toBe("re-attached: re-attached data (last used 1 second ago)");
    expect(world.calls()).toBe(GREETING + "; Mount 0; stage 0 rw");
  });

  it("asks no driver about what is attached", () => {
    const asked = new Asked("data");
    asked.state = "attached";
    asked.history = '{"known":true,"created_by_us":true,"last_used_ms":1699999999500}';
    expect(prepareOne(asked).stories).toBe("re-attached: re-attached data (last used just now)");
    expect(world.calls()).toBe("Mount 0; stage 0 rw");
  });

  it("answers an error of the engine's as it is", () => {
    world.answer("plugin_call", '{"error":{"code":"timeout","message":"the deadline passed","hint":"more time"}}');
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("timeout");
    expect(outcome.message).toBe("the deadline passed");
    expect(outcome.hint).toBe("more time");
  });

  it("refuses answers of the engine's that are against the ABI", () => {
    const bad = [
      "no JSON",
      "{}",
      '{"ok":{}}',
      '{"ok":{"answers":[]}}',
      '{"ok":{"answers":[{"kind":"maybe"}]}}',
      '{"ok":{"answers":[7]}}',
      '{"ok":{"answers":{}}}',
    ];
    for (let i = 0; i < bad.length; i++) {
      world.reset();
      world.answer("plugin_call", bad[i]);
      const outcome = prepareOne(new Asked("data"));
      expect(outcome.ok).toBe(false, bad[i]);
      holds(outcome.message, "plugin_call", bad[i]);
    }
  });
});

describe("prepare: drivers", () => {
  beforeEach(() => {
    world.reset();
  });

  it("refuses a plugin that is no volume driver", () => {
    world.answer("Activate", '{"kind":"ok","implements":["NetworkDriver"]}');
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("driver");
    expect(outcome.message).toBe("the plugin rexray is no volume driver: it implements NetworkDriver");
    expect(outcome.volume).toBe("data");
    world.answer("Activate", '{"kind":"ok"}');
    holds(prepareOne(new Asked("data")).message, "implements nothing");
    world.answer("Activate", '{"kind":"error","error":"not today"}');
    expect(prepareOne(new Asked("data")).message).toBe('driver rexray answered Activate with "not today"');
    lacks(world.calls(), "Get");
  });

  it("lives with a plugin that knows no Capabilities", () => {
    world.answer("Capabilities", '{"kind":"error","error":"404"}');
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    world.reset();
    world.answer("Capabilities", '{"kind":"unknown","reason":"not-json","error":"a page","sent":true}', -1, "", 0);
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    expect(world.calls()).toBe(GREETING + "; Mount 0; stage 0 rw");
    world.reset();
    world.answer("Capabilities", DOWN);
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    holds(world.calls(), "Capabilities rexray + Get 0; sleep 459; Capabilities rexray; Mount 0");
  });

  it("tells a driver that takes options with a Mount how large a volume is to be that exists", () => {
    world.answer("Capabilities", '{"kind":"ok","scope":"global","mount_opts":true}');
    const asked = new Asked("data");
    asked.options = '{"Size":"9","newfstype":"xfs"}';
    expect(prepareOne(asked).ok).toBe(true);
    expect(world.calls()).toBe(GREETING + '; Mount 0 {"Size":"9"}; stage 0 rw');
    // What was made just now has its size; what is no size is not repeated, and a secret goes nowhere.
    world.reset();
    world.answer("Capabilities", '{"kind":"ok","scope":"global","mount_opts":true}');
    world.exists(0, false);
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    holds(world.calls(), 'Create 0 {"size":"5"}; Mount 0; stage');
    world.reset();
    world.answer("Capabilities", '{"kind":"ok","scope":"global","mount_opts":true}');
    asked.options = '{"newfstype":"xfs","size":{"secret":"db"}}';
    expect(prepareOne(asked).ok).toBe(true);
    expect(world.calls()).toBe(GREETING + "; Mount 0; stage 0 rw");
  });

  it("sends a size that was chosen with Create alone: the volume may have grown since", () => {
    world.answer("Capabilities", '{"kind":"ok","scope":"global","mount_opts":true}');
    const asked = new Asked("data");
    asked.choice = '{"attributes":{"size":{"max":5}},"pool":"p","size_chosen":true,"passed_over":[]}';
    expect(prepareOne(asked).ok).toBe(true);
    expect(world.calls()).toBe(GREETING + "; Mount 0; stage 0 rw");
    world.reset();
    world.exists(0, false);
    expect(prepareOne(asked).ok).toBe(true);
    holds(world.calls(), 'Create 0 {"size":"5"}; Mount 0; stage');
    world.reset();
    world.answer("Capabilities", '{"kind":"ok","scope":"global","mount_opts":true}');
    asked.choice = '{"attributes":{"size":5},"pool":"p","passed_over":[]}';
    expect(prepareOne(asked).ok).toBe(true);
    expect(world.calls()).toBe(GREETING + '; Mount 0 {"size":"5"}; stage 0 rw');
  });

  it("waits for a plugin that is not up yet", () => {
    world.answer("Activate", DOWN, -1, "", 2);
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    // Half a second (five times base_ms) and its double, each with jitter between three and five quarters.
    expect(world.calls()).toBe(
      "Activate rexray; sleep 459; Activate rexray; sleep 1026; Activate rexray; Capabilities rexray + Get 0; Mount 0; stage 0 rw",
    );
    expect(world.logs()).toBe(
      "warning: driver rexray, Activate: unreachable: connection refused; trying again for a while",
    );
  });

  it("gives up when the tries are used up", () => {
    world.answer("Activate", DOWN, -1, "", 0);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("unavailable");
    expect(outcome.message).toBe("driver rexray cannot be reached for Activate: connection refused (tried 3 times)");
    holds(outcome.hint, "start its plugin");
  });

  it("does not wait beyond the deadline", () => {
    world.answer("Activate", DOWN, -1, "", 0);
    world.left(500);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("unavailable");
    expect(world.calls()).toBe("Activate rexray");
  });

  it("greets each driver once, and asks them side by side", () => {
    const second = new Asked("b");
    second.driver = "nfs";
    expect(prepare([new Asked("a"), second, new Asked("c")]).ok).toBe(true);
    expect(world.calls()).toBe(
      "Activate rexray + Activate nfs; Capabilities rexray + Get 0 + Get 2 + Capabilities nfs + Get 1; " +
        "Mount 0 + Mount 1 + Mount 2; stage 0 rw + stage 1 rw + stage 2 rw",
    );
  });

  it("asks again only those that gave no answer", () => {
    const second = new Asked("b");
    second.driver = "nfs";
    world.answer("Activate", LATE, -1, "nfs");
    expect(prepare([new Asked("a"), second]).ok).toBe(true);
    holds(world.calls(), "Activate rexray + Activate nfs; sleep 96; Activate nfs; Capabilities rexray");
  });
});
