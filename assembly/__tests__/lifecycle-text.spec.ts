import { existsAlready, heldElsewhere, transient } from "../lifecycle/failures";
import { Config } from "../model/config";
import { Policy } from "../lifecycle/policy";
import { ago } from "../lifecycle/text";

/** What waits the stock policy gives after the first, second, … try. */
function waits(kind: string): string {
  const policy = new Policy();
  const config = new Config();
  const out: string[] = [];
  for (let attempt = 1; attempt < 50; attempt++) {
    const ms = policy.retry(kind, attempt, config);
    if (ms < 0) break;
    out.push(ms.toString());
  }
  return out.join(" ");
}

describe("words", () => {
  it("tell how long ago something was", () => {
    expect(ago(-5)).toBe("just now");
    expect(ago(999)).toBe("just now");
    expect(ago(1000)).toBe("1 second ago");
    expect(ago(59_999)).toBe("59 seconds ago");
    expect(ago(60_000)).toBe("1 minute ago");
    expect(ago(3_599_999)).toBe("59 minutes ago");
    expect(ago(7_200_000)).toBe("2 hours ago");
    expect(ago(40 * 86_400_000)).toBe("40 days ago");
  });
});

describe("a plugin's errors", () => {
  it("are told apart by their words", () => {
    expect(heldElsewhere("Volume is IN USE by node-b")).toBe(true);
    expect(heldElsewhere("no such volume")).toBe(false);
    expect(transient("RequestLimitExceeded: too many requests")).toBe(true);
    expect(transient("dial tcp: connection refused")).toBe(true);
    expect(transient("device busy, try again")).toBe(false);
    expect(transient("permission denied")).toBe(false);
    expect(existsAlready("VolumeExists")).toBe(true);
    expect(existsAlready("no space")).toBe(false);
  });
});

describe("the stock policy's retries", () => {
  it("are by kind of error", () => {
    expect(waits("unreachable")).toBe("1000 2000 4000 5000");
    expect(waits("not-found")).toBe("1000 2000 4000 5000");
    expect(waits("breaker-open")).toBe("1000 2000 4000 5000");
    expect(waits("lost")).toBe("200 400 800 1600");
    expect(waits("timeout")).toBe("200 400 800 1600");
    expect(waits("transient")).toBe("200 400 800 1600");
    expect(waits("not-json")).toBe("200");
    expect(waits("malformed")).toBe("200");
    expect(waits("too-large")).toBe("");
    expect(waits("invalid")).toBe("");
  });
});
