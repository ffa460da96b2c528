import { Asked, create, holds, lacks, prepare, prepareOne } from "./operation";
import * as world from "./world";

const NO: string = '{"kind":"error","error":"no such volume"}';
const LATE: string = '{"kind":"unknown","reason":"timeout","error":"5 s","sent":true}';
const LOST: string = '{"kind":"unknown","reason":"lost","error":"connection reset","sent":true}';
const DOWN: string = '{"kind":"unknown","reason":"unreachable","error":"connection refused","sent":false}';

const GREETING: string = "Activate rexray; Capabilities rexray + Get 0";

describe("prepare: create", () => {
  beforeEach(() => {
    world.reset();
    world.exists(0, false);
  });

  it("gives the driver's own error", () => {
    world.answer("Create", '{"kind":"error","error":"size is too small"}');
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("driver");
    expect(outcome.message).toBe('driver rexray answered Create of volume "data" with "size is too small"');
    holds(outcome.hint, "options");
    lacks(world.calls(), "Mount");
  });

  it("says what the engine refused", () => {
    world.answer("Create", '{"kind":"refused","error":"overwritefs is not allowed for this driver"}');
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("refused");
    expect(outcome.message).toBe(
      'Create of volume "data" was not sent to driver rexray: overwritefs is not allowed for this driver',
    );
    expect(outcome.hint).toBe("", "the engine says what to do");
  });

  it("says where a driver comes from that nobody named, and that is not there", () => {
    const absent =
      '{"kind":"unknown","reason":"not-found","error":"no plugin \\"it\\": looked for it.sock","sent":false}';
    world.answer("Activate", absent, -1, "", 0);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("not-found");
    expect(outcome.message.startsWith('no plugin "it": looked for it.sock')).toBe(true, outcome.message);
    holds(outcome.hint, "a volume that names no driver is given to rexray: ");
    holds(outcome.hint, "policy.default_driver");
    world.reset();
    world.answer("Activate", absent, -1, "", 0);
    const named = new Asked("data");
    named.driver = "nfs";
    lacks(prepareOne(named).hint, "default_driver");
  });

  it("asks after a timeout, and never creates twice", () => {
    world.answer("Get", NO, 0);
    world.answer("Create", LATE);
    world.answer("Get", '{"kind":"ok"}', 0);
    const outcome = prepareOne(new Asked("data"));
    // The world refuses Mount of what does not exist.
    holds(world.calls(), 'List rexray; Create 0 {"size":"5"}; Get 0; Mount 0');
    holds(outcome.message, "no such volume");
    expect(world.calls().split("Create").length).toBe(2);
  });

  it("goes on with what a Create made that was not answered", () => {
    world.answer("Create", LOST);
    world.answer("Get", NO, 0, "", 2);
    world.answer("Get", '{"kind":"ok"}', 0);
    world.answer("Mount", '{"kind":"ok","mountpoint":"/m"}');
    expect(prepareOne(new Asked("data")).stories).toBe("created: created new volume data");
    expect(world.calls()).toBe(
      GREETING + '; List rexray; Create 0 {"size":"5"}; Get 0; sleep 96; Get 0; Mount 0; stage 0 rw',
    );
  });

  it("gives up on a Create that does not show, and says so", () => {
    world.answer("Create", LATE);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("timeout");
    holds(outcome.message, 'did not answer Create of volume "data" in time');
    holds(outcome.message, "it may be at it still");
    holds(outcome.hint, "run this again");
    lacks(world.calls(), "Mount");
    expect(world.calls().split("Create").length).toBe(2);
  });

  it("sends a Create again that never reached the plugin", () => {
    world.answer("Create", DOWN);
    expect(prepareOne(new Asked("data")).stories).toBe("created: created new volume data");
    holds(
      world.calls(),
      'Create 0 {"size":"5"}; sleep 459; Get 0; List rexray; Create 0 {"size":"5"}; Mount 0',
      "an engine sends one Create for an answer of Get and List",
    );
  });

  it("takes what was made meanwhile, where a Create never reached the plugin", () => {
    world.answer("Get", NO);
    world.answer("Create", DOWN);
    world.answer("Get", '{"kind":"ok"}');
    world.answer("Mount", '{"kind":"ok","mountpoint":"/m"}');
    expect(prepareOne(new Asked("data")).stories).toBe("re-attached: re-attached data (not used on this node before)");
    expect(world.calls().split("Create").length).toBe(2);
  });

  it("gives up on a plugin that stays away", () => {
    world.answer("Create", DOWN, -1, "", 0);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.code).toBe("unavailable");
    expect(world.calls().split("Create").length).toBe(4, "three tries");
    lacks(world.calls(), "Mount");
  });

  it("creates again only what did not reach its plugin", () => {
    world.exists(1, false);
    world.answer("Create", DOWN, 1);
    expect(prepare([new Asked("a"), new Asked("b")]).ok).toBe(true);
    holds(world.calls(), "; Get 1; List rexray; Create 1");
    lacks(world.calls(), "; Create 0; ");
  });

  it("takes the volume that another node made meanwhile", () => {
    world.answer("Create", '{"kind":"error","error":"volume already exists"}');
    world.answer("Get", NO, 0);
    world.answer("Get", '{"kind":"ok"}', 0);
    world.answer("Mount", '{"kind":"ok","mountpoint":"/m"}');
    expect(prepareOne(new Asked("data")).stories).toBe("re-attached: re-attached data (not used on this node before)");
    world.reset();
    world.exists(0, false);
    world.answer("Create", '{"kind":"error","error":"volume already exists"}');
    holds(prepareOne(new Asked("data")).message, "volume already exists");
  });

  it("creates nothing where another volume may not be created, or cannot be mounted", () => {
    const never = new Asked("b");
    never.create = "never";
    world.exists(1, false);
    expect(prepare([new Asked("a"), never]).volume).toBe("b");
    lacks(world.calls(), "Create");
    world.reset();
    world.exists(0, false);
    world.answer("Mount", '{"kind":"error","error":"attached to node-b"}', 1);
    const outcome = prepare([new Asked("a"), new Asked("b")]);
    expect(outcome.volume).toBe("b");
    lacks(world.calls(), "Create");
  });
});

describe("prepare with the goal of creating", () => {
  beforeEach(() => {
    world.reset();
  });

  it("creates what is missing, and mounts nothing", () => {
    world.exists(0, false);
    expect(create([new Asked("data")]).stories).toBe("created: created new volume data");
    expect(world.calls()).toBe(GREETING + '; List rexray; Create 0 {"size":"5"}');
  });

  it("leaves alone what is there, also where somebody uses it", () => {
    world.answer("Get", '{"kind":"ok","created_at":"2024-05-01T10:00:00Z"}');
    expect(create([new Asked("data")]).stories).toBe("existed: data exists already (created 2024-05-01T10:00:00Z)");
    expect(world.calls()).toBe(GREETING);
    world.reset();
    expect(create([new Asked("data").usedBy("other")]).stories).toBe("existed: data exists already");
    expect(world.calls()).toBe("");
  });

  it("asks for no user where ownership would be set by a workload", () => {
    const asked = new Asked("data");
    asked.ownership = "root-dir";
    expect(create([asked]).ok).toBe(true);
  });

  it("looks for the cause in the options where a Create could not be sent", () => {
    world.exists(0, false);
    world.answer(
      "Create",
      '{"kind":"unknown","reason":"invalid","error":"option \\"\\" is no text","sent":false}',
      -1,
      "",
      0,
    );
    const outcome = create([new Asked("data")]);
    expect(outcome.code).toBe("invalid");
    holds(outcome.message, 'Create of volume "data" was not sent to driver rexray: option "" is no text');
    holds(outcome.hint, "what its workload, its pool and this policy say");
  });

  it("never creates on a guess", () => {
    world.answer("Get", '{"kind":"error","error":"no such volume"}');
    world.answer("List", '{"kind":"unknown","reason":"timeout","error":"5 s","sent":true}', -1, "", 0);
    const outcome = create([new Asked("data")]);
    expect(outcome.ok).toBe(false);
    holds(outcome.message, "it is not known whether");
    world.reset();
    world.exists(0, false);
    const never = new Asked("data");
    never.create = "never";
    expect(create([never]).code).toBe("not-found");
  });
});
