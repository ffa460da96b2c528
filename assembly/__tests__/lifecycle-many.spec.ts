// As many volumes as a workload may have, which are more than an engine takes with one request.
import { readJson } from "../json/reader";
import { Asked, lacks, prepare } from "./operation";
import * as world from "./world";

/** The longest list that a host call had. */
function longest(): i32 {
  const calls = readJson(world.transcript(), "the transcript").value!;
  let most = 0;
  for (let i = 0; i < calls.length; i++) {
    const request = calls.at(i).object("request")!;
    const plugin = request.array("calls");
    const stages = request.array("stages");
    if (plugin !== null) most = max(most, plugin.length);
    if (stages !== null) most = max(most, stages.length);
  }
  return most;
}

describe("prepare: many volumes", () => {
  beforeEach(() => {
    world.reset();
  });

  it("asks for them in several requests", () => {
    const volumes: Asked[] = [];
    for (let i = 0; i < 1024; i++) {
      volumes.push(new Asked("v" + i.toString()));
      if (i % 2) world.exists(i, false);
    }
    const outcome = prepare(volumes);
    expect(outcome.text.substring(0, outcome.ok ? 5 : 200)).toBe('{"ok"');
    const stories = outcome.stories.split("\n");
    expect(stories.length).toBe(1024);
    expect(stories[1022]).toBe("re-attached: re-attached v1022 (not used on this node before)");
    expect(stories[1023]).toBe("created: created new volume v1023");
    expect(longest()).toBe(256);
  });

  it("mounts and stages one volume on many paths", () => {
    const volumes: Asked[] = [];
    for (let i = 0; i < 300; i++) volumes.push(new Asked("data"));
    expect(prepare(volumes).ok).toBe(true);
    expect(longest()).toBe(256);
  });

  it("ends with the first of them that fails", () => {
    const volumes: Asked[] = [];
    for (let i = 0; i < 300; i++) volumes.push(new Asked("v" + i.toString()));
    world.answer("stage.one", '{"error":{"code":"system","message":"no room"}}', 7);
    const outcome = prepare(volumes);
    expect(outcome.message).toBe("no room");
    expect(outcome.volume).toBe("v7");
    lacks(world.calls(), "stage 299");
  });
});
