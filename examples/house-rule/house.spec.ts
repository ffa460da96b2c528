import { use } from "../../assembly/library";
import { Asked, Outcome, calls, exists, holds, prepareAs, reset } from "../../assembly/testing";
import { House } from "./house";

/** What scope `id` of user `uid` is answered that asks for a volume with these options. */
function ask(options: string, id: string = "web", uid: i32 = 1000): Outcome {
  const asked = new Asked("data");
  asked.options = options;
  return prepareAs([asked], id, uid);
}

describe("the house rule", () => {
  beforeEach(() => {
    reset();
    use(new House());
  });

  it("creates nothing without a size", () => {
    exists(0, false);
    holds(ask("{}").message, "volume data does not exist yet, and none is created without a size");
    expect(calls().includes("Create")).toBe(false);
    expect(ask('{"size":"5"}').code).toBe("");
    expect(calls().includes('Create 0 {"size":"5"}')).toBe(true);
  });

  it("leaves volumes that exist alone", () => {
    expect(ask("{}").code).toBe("");
    expect(ask("{}").notes).toBe("decided by the house rule, for 1 volume(s)");
  });

  it("takes sizes up to the cap, whatever their unit", () => {
    const taken = ["500", "500g", "512000m", "64MiB"];
    for (let i = 0; i < taken.length; i++) expect(ask('{"size":"' + taken[i] + '"}').code).toBe("", taken[i]);
    const refused = ["501", "1t", "500.5g", "a lot"];
    for (let i = 0; i < refused.length; i++) {
      reset();
      const outcome = ask('{"size":"' + refused[i] + '"}');
      expect(outcome.code).toBe("refused", refused[i]);
      holds(outcome.message, "with size " + refused[i] + ", which is not within 500 GB");
      expect(calls()).toBe("", "nobody is asked");
    }
  });

  it("is not got round by another spelling", () => {
    exists(0, false);
    expect(ask('{"Size":"501"}').code).toBe("refused");
    expect(ask('{"SIZE":"5"}').code).toBe("");
    expect(ask('{"Encrypted":"false"}', "payments-db").code).toBe("refused");
    reset();
    const twice = ['{"size":"5","Size":"5000"}', '{"size":"5","encrypted":"true","Encrypted":"false"}'];
    for (let i = 0; i < twice.length; i++) {
      holds(ask(twice[i], "payments-db").message, ", which are one option");
      expect(calls()).toBe("", "nobody is asked");
    }
  });

  it("gives the payments team encrypted volumes only, by its name and by its user", () => {
    const wrong = ["{}", '{"encrypted":"false"}', '{"encrypted":{"secret":"s"}}'];
    for (let i = 0; i < wrong.length; i++) {
      holds(ask(wrong[i], "payments-db").message, "run/payments-db is of the payments team, and volume data is not");
      expect(ask(wrong[i], "3f2a", 7000).code).toBe("refused");
      expect(ask(wrong[i]).code).toBe("");
    }
    expect(ask('{"encrypted":"true","size":"100"}', "payments-db").code).toBe("");
    holds(ask('{"encrypted":"true","size":"101"}', "payments-db").message, "not within 100 GB");
  });
});
