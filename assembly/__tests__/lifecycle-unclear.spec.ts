// Errors of a plugin's own to Get that do not say whether the volume is there.
import { unclear } from "../lifecycle/failures";
import { Asked, create, holds, lacks, prepare, prepareOne } from "./operation";
import * as world from "./world";

const AWAY: string = '{"kind":"error","error":"storage API: connection refused, try again later"}';
const EMPTY: string = '{"kind":"ok","volumes":[]}';

describe("prepare: a Get that fails for now", () => {
  beforeEach(() => {
    world.reset();
  });

  it("is asked again, and not taken for a volume that is missing", () => {
    world.answer("Get", AWAY, 0, "", 2);
    const outcome = prepareOne(new Asked("data"));
    expect(outcome.stories).toBe("re-attached: re-attached data (not used on this node before)");
    expect(world.calls()).toBe(
      "Activate rexray; Capabilities rexray + Get 0; sleep 96; Get 0; sleep 187; Get 0; Mount 0; stage 0 rw",
    );
    holds(world.logs(), "connection refused");
  });

  it("creates nothing where it stays so, although List does not name the volume", () => {
    world.answer("Get", AWAY, 0, "", 0);
    world.answer("List", EMPTY, -1, "", 0);
    const outcome = prepare([new Asked("data"), new Asked("other")]);
    expect(outcome.code).toBe("unavailable");
    expect(outcome.message).toBe(
      'it is not known whether volume "data" (driver rexray) exists: the driver answered Get with ' +
        '"storage API: connection refused, try again later", which reads as if it would pass, and its List does not name the volume',
    );
    holds(outcome.hint, "nothing was created");
    expect(outcome.volume).toBe("data");
    lacks(world.calls(), "Create");
    lacks(world.calls(), "Mount");
    expect(create([new Asked("data")]).code).toBe("unavailable");
    lacks(world.calls(), "Create");
  });

  it("takes List's word where it names the volume", () => {
    world.answer("Get", AWAY, 0, "", 0);
    world.answer("List", '{"kind":"ok","volumes":[{"name":"data"}]}');
    expect(prepareOne(new Asked("data")).ok).toBe(true);
    holds(world.calls(), "List rexray; Mount 0");
  });

  it("is known by its words, whatever the volume is called", () => {
    const passing = [
      "Rate exceeded",
      "request timed out",
      "503 Service Unavailable",
      "connection reset by peer",
      "the backend is busy",
      "context deadline exceeded",
    ];
    for (let i = 0; i < passing.length; i++) expect(unclear(passing[i], "data")).toBe(true, passing[i]);
    const answers = [
      "no such volume",
      "volume data not found; try again with another name",
      "VolumeNotFound: temporarily or not",
      "it does not exist (lookup timed out)",
      "internal error",
      'get "timeout-cache": missing',
    ];
    for (let i = 0; i < answers.length; i++) expect(unclear(answers[i], "Timeout-Cache")).toBe(false, answers[i]);
  });
});
