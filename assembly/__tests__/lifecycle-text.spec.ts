import { pack, textAt, unpack } from "../abi/memory";
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

describe("text over the border", () => {
  it("comes back as it was, whatever its length and script", () => {
    const units = ["a", "\u007f", "\u0080", "ä", "中", "🙂"];
    for (let i = 0; i < units.length; i++) {
      for (let length = 0; length < 40; length++) {
        // What pack() answers is a bare address, as the engine has it: here, unlike in the blob, a collector runs now and then,
        // which knows of no address. It does not within so few steps after it has run.
        __collect();
        const text = "x".repeat(length) + units[i] + "y".repeat(length % 7);
        expect(unpack(pack(text))).toBe(text);
        expect(unpack(pack(units[i].repeat(length)))).toBe(units[i].repeat(length));
      }
    }
    expect(unpack(pack(""))).toBe("");
  });

  it("is UTF-8 in memory", () => {
    const packed = pack("ä€🙂z");
    expect(<i32>(packed & 0xffff_ffff)).toBe(10);
    const ptr = <usize>(packed >> 32);
    expect(load<u8>(ptr)).toBe(0xc3);
    expect(load<u8>(ptr, 9)).toBe(0x7a);
    expect(textAt(ptr, 2)).toBe("ä");
  });
});

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
