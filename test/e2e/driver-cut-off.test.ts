// A node that loses its storage while it writes, and another one that takes its volume: nothing of the first one gets
// into the second one's data, however late it arrives.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { ask, type Reply } from "./lib/ask.ts";
import { must, until } from "./lib/process.ts";
import { noStorage, Storage } from "./lib/storage.ts";
import { skip, World } from "./lib/world.ts";

const LEASE_SECONDS = 4;

interface Status {
  state: string;
  clean: boolean;
  lost?: string;
  lease: { node: string } | null;
}

test(
  "a node is cut off while it writes; another fences it, and has the data for itself",
  { skip: skip || noStorage },
  async (t) => {
    const a = await World.make(t, { node: "node-a" });
    const b = await World.make(t, { node: "node-b", beside: a });
    const storage = await Storage.make(a);
    const nodes = [a, b];
    const drivers = [];
    for (const node of nodes) {
      const pool = await storage.mount(node);
      drivers.push(await node.driver(node.socket("dvdi"), ["--pool", pool, "--lease-seconds", String(LEASE_SECONDS)]));
    }
    const [driverA] = drivers;
    const call = (node: World, method: string, more: object = {}): Promise<Reply> =>
      ask(node.socket("dvdi"), `/VolumeDriver.${method}`, { Name: "v", ID: node.node, ...more });
    const done = async (reply: Promise<Reply>): Promise<Reply["body"]> => {
      const { status, body } = await reply;
      assert.equal(status, 200, body.Err);
      return body;
    };
    const status = async (node: World): Promise<Status> =>
      ((await done(call(node, "Get")))["Volume"] as { Status: Status }).Status;
    const fence = (): Promise<Reply> => ask(b.socket("dvdi"), "/DvdiDriver.Fence", { Name: "v" });
    const onA = join(a.mountRoot, "v");
    const onB = join(b.mountRoot, "v");
    const write = (name: string): string[] => [
      "sh",
      "-c",
      'printf %s "$1" > "$0" && sync "$0"',
      name,
      `content of ${name}`,
    ];

    await done(call(a, "Create", { Opts: { size: "64m" } }));
    await done(call(a, "Mount"));
    await a.must(write(join(onA, "kept")));
    // Writes and syncs file after file, until it may not.
    const script =
      'i=0; while dd if=/dev/urandom of="$0/f$i" bs=64k count=1 conv=fsync status=none; do echo $((i += 1)); done';
    const writer = a.serve(["sh", "-c", script, onA]);
    await writer.says(/^3$/m);
    const refused = await call(b, "Mount");
    assert.match(refused.body.Err, /in use on node node-a/);
    const alive = await fence();
    assert.match(alive.body.Err, /node-a is alive/, "a node that renews its lease is not fenced");

    await a.must(["dd", "if=/dev/urandom", `of=${join(onA, "dirty")}`, "bs=1M", "count=8", "status=none"]);
    await storage.link(a, "down");
    const fencing = fence();
    let over = false;
    void fencing.finally(() => (over = true));
    await until("B says what it does", async () => (await status(b)).state === "fencing");
    await done(ask(b.socket("dvdi"), "/VolumeDriver.Create", { Name: "other" }));
    assert.ok(!over, "other requests are answered meanwhile");
    const fenced = await done(fencing);
    assert.equal(fenced["From"], "node-a");
    assert.ok(Number(fenced["WaitedMs"]) >= LEASE_SECONDS * 1000, "it waited for the lease's end");
    assert.match(driverA?.err ?? "", /its filesystem is shut down now/, "A has given up before B took over");

    // What A still tries fails at once; what it has under way waits for the link.
    const late = await a.run(["dd", "if=/dev/zero", `of=${join(onA, "late")}`, "count=1", "status=none"]);
    assert.notEqual(late.code, 0);
    assert.match(late.err, /Input\/output error/);
    await done(call(b, "Mount"));
    assert.equal(await b.must(["cat", join(onB, "kept")]), `content of ${join(onA, "kept")}`);
    await b.must(write(join(onB, "from-b")));
    await b.must(["dd", "if=/dev/urandom", `of=${join(onB, "much")}`, "bs=1M", "count=8", "conv=fsync", "status=none"]);
    const sum = await b.must(["sha256sum", join(onB, "much")]);

    await storage.link(a, "up");
    const ended = await writer.end();
    assert.match(ended.err, /Input\/output error/, "A's workload got EIO");
    assert.match((await call(a, "Mount", { ID: "another" })).body.Err, /was shut down on this node/);
    // What was under way has arrived when the unmount ends.
    await done(call(a, "Unmount"));
    assert.match((await call(a, "Mount")).body.Err, /in use on node node-b/);

    assert.equal(await b.must(["sha256sum", join(onB, "much")]), sum);
    await done(call(b, "Unmount"));
    await must(["e2fsck", "-f", "-n", join(storage.folder, "v/image")]);
    await done(call(a, "Mount"));
    assert.equal(await a.must(["cat", join(onA, "from-b")]), `content of ${join(onB, "from-b")}`);
    assert.equal((await a.must(["sha256sum", join(onA, "much")])).split(" ")[0], sum.split(" ")[0]);
    await done(call(a, "Unmount"));
    assert.equal((await status(a)).clean, true);
  },
);
