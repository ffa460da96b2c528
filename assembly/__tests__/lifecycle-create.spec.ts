import { Asked, create, holds } from "./operation";
import * as world from "./world";

const GREETING: string = "Activate rexray; Capabilities rexray + Get 0";

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
