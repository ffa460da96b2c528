import { VolumeRequest } from "../model/request";
import { outsiders, shareRules, waitRule } from "../lifecycle/share";
import { Scope, User } from "../lifecycle/volume";
import { Asked, holds, prepare, prepareOne } from "./operation";
import * as world from "./world";

function request(access: string, mode: string): VolumeRequest {
  const out = new VolumeRequest();
  out.driver = "rexray";
  out.name = "data";
  out.access = access;
  out.mode = mode;
  return out;
}

/** "yes", or the message and the hint of the refusal. */
function beside(access: string, mode: string, userAccess: string, userMode: string): string {
  const failure = shareRules(request(access, mode), [new User("run", "s1", userAccess, userMode)]);
  return failure === null ? "yes" : failure.code + ": " + failure.message + " / " + failure.hint;
}

describe("sharing: the stock rules", () => {
  it("single-writer lets one write and others read", () => {
    expect(beside("single-writer", "rw", "single-writer", "rw")).toBe(
      'refused: volume "data" (driver rexray) is in use by run/s1 (single-writer, rw), and single-writer allows no second user ' +
        "that writes / wait until that user ends, or ask for the volume with mode ro; for several writers all of them need " +
        "access multi-writer",
    );
    expect(beside("single-writer", "ro", "single-writer", "rw")).toBe("yes");
    expect(beside("single-writer", "rw", "single-writer", "ro")).toBe("yes");
    expect(beside("single-writer", "ro", "single-writer", "ro")).toBe("yes");
  });

  it("multi-reader lets nobody write", () => {
    expect(beside("multi-reader", "ro", "multi-reader", "ro")).toBe("yes");
    expect(beside("multi-reader", "ro", "single-writer", "ro")).toBe("yes");
    holds(
      beside("multi-reader", "ro", "single-writer", "rw"),
      "which writes to it, and multi-reader means that nobody does",
    );
    holds(beside("multi-reader", "ro", "multi-writer", "rw"), "refused");
    holds(
      beside("single-writer", "rw", "multi-reader", "ro"),
      "counts on nobody writing to it / wait until that user ends, or ask",
    );
    holds(beside("multi-writer", "rw", "multi-reader", "ro"), "refused");
  });

  it("multi-writer needs all writers to say so", () => {
    expect(beside("multi-writer", "rw", "multi-writer", "rw")).toBe("yes");
    expect(beside("multi-writer", "ro", "multi-writer", "rw")).toBe("yes");
    holds(
      beside("multi-writer", "rw", "single-writer", "rw"),
      "single-writer allows no second user that writes / wait",
    );
    holds(beside("single-writer", "rw", "multi-writer", "rw"), "/ ask for it with access multi-writer");
    expect(beside("multi-writer", "rw", "single-writer", "ro")).toBe("yes");
  });

  it("takes the containers of one task group of Mesos for one workload", () => {
    const users = [
      new User("mesos:/a", "g1.t1", "single-writer", "rw"),
      new User("mesos:/a", "g2.t1", "single-writer", "rw"),
      new User("mesos:/b", "g1.t1", "single-writer", "rw"),
      new User("run", "g1", "single-writer", "rw"),
    ];
    const others = outsiders(users, new Scope("mesos:/a", "g1.t2"));
    expect(others.length).toBe(3);
    expect(others[0].scope).toBe("g2.t1");
    expect(outsiders(users, new Scope("mesos:/a", "g1")).length).toBe(3);
    expect(outsiders(users, new Scope("mesos:/a", "g")).length).toBe(4);
    // No other owner's names have such a meaning.
    expect(outsiders(users, new Scope("run", "g1.x")).length).toBe(4);
  });

  it("lets containers of Mesos wait for those of their own agent, so long and no longer", () => {
    const own = new User("mesos:/a", "c1", "single-writer", "rw");
    const scope = new Scope("mesos:/a", "c2");
    expect(waitRule([own], scope, 0, 5000)).toBe(250);
    expect(waitRule([own], scope, 4900, 5000)).toBe(100);
    expect(waitRule([own], scope, 5000, 5000)).toBe(-1);
    expect(waitRule([own, new User("run", "s1", "single-writer", "rw")], scope, 0, 5000)).toBe(-1);
    expect(waitRule([own], new Scope("mesos:/b", "c2"), 0, 5000)).toBe(-1);
    expect(waitRule([own], new Scope("run", "s2"), 0, 5000)).toBe(-1);
  });

  it("looks at every user", () => {
    const users = [new User("run", "s1", "single-writer", "ro"), new User("mesos:a", "s2", "single-writer", "rw")];
    const failure = shareRules(request("single-writer", "rw"), users);
    holds(failure === null ? "" : failure.message, "mesos:a/s2");
  });
});

describe("sharing: prepare", () => {
  beforeEach(() => {
    world.reset();
  });

  it("refuses before anything is done", () => {
    const outcome = prepare([new Asked("a"), new Asked("b").usedBy("s1")]);
    expect(outcome.code).toBe("refused");
    expect(outcome.volume).toBe("b");
    expect(outcome.driver).toBe("rexray");
    expect(world.calls()).toBe("");
  });

  it("refuses a reader that writes, even alone", () => {
    const asked = new Asked("a");
    asked.access = "multi-reader";
    const outcome = prepareOne(asked);
    expect(outcome.code).toBe("invalid");
    holds(outcome.message, "multi-reader and rw, and a reader does not write");
    expect(world.calls()).toBe("");
    asked.mode = "ro";
    expect(prepareOne(asked).ok).toBe(true);
  });

  it("goes by the users, whatever state the attachment is in", () => {
    const asked = new Asked("a").usedBy("s1");
    asked.state = "releasing";
    expect(prepareOne(asked).code).toBe("refused");
  });

  it("says with whom a volume is shared, and asks no plugin", () => {
    const one = new Asked("a").usedBy("s1");
    one.mode = "ro";
    expect(prepareOne(one).stories).toBe("shared: shares a with run/s1");
    expect(world.calls()).toBe("Mount 0; stage 0 ro");
    const two = new Asked("a").usedBy("s1", "multi-writer").usedBy("s2", "multi-writer");
    two.access = "multi-writer";
    expect(prepareOne(two).stories).toBe("shared: shares a with run/s1 and 1 other");
  });

  it("does not take the scope itself for another user", () => {
    expect(prepareOne(new Asked("a").usedBy("me")).stories).toBe(
      "re-attached: re-attached a (not used on this node before)",
    );
  });

  it("does not take the files of a running workload from it", () => {
    const user = '{"uid":2000,"gid":2000}';
    const modes = ["root-dir", "recursive"];
    for (let i = 0; i < modes.length; i++) {
      world.reset();
      const asked = new Asked("a").usedBy("s1");
      asked.mode = "ro";
      asked.ownership = modes[i];
      const outcome = prepare([asked], user);
      expect(outcome.notes).toBe(
        'volume "a" (driver rexray) keeps the owners of its files (ownership ' +
          modes[i] +
          " is left out): run/s1 uses it",
      );
      holds(world.transcript(), '"ownership":"none"');
      // A folder of its own is another thing, and so is a mapping, which changes no file.
      world.reset();
      asked.subpath = "mine";
      expect(prepare([asked], user).notes).toBe("");
      holds(world.transcript(), '"ownership":"' + modes[i] + '"');
      world.reset();
      asked.subpath = "";
      asked.ownership = "idmap";
      expect(prepare([asked], user).notes).toBe("");
      holds(world.transcript(), '"ownership":"idmap"');
      // The same workload, that is prepared once more.
      world.reset();
      const again = new Asked("a").usedBy("me");
      again.ownership = modes[i];
      expect(prepare([again], user).notes).toBe("");
      holds(world.transcript(), '"ownership":"' + modes[i] + '"');
    }
  });
});
