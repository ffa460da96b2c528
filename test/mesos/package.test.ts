// The module's Debian package: what is in it, what it wants, and that an agent loads what it installs.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { must } from "../e2e/lib/process.ts";
import { BUILD } from "../e2e/lib/world.ts";
import { Cluster, skip } from "./lib/cluster.ts";
import { docker } from "./lib/framework.ts";

test("an agent loads the module from its Debian package", { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "dvdi-mesos-package-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const out = ["-D", "CPACK_COMPONENTS_ALL=mesos", "-D", `CPACK_PACKAGE_DIRECTORY=${folder}`];
  await must(["cpack", "-G", "DEB", ...out], { cwd: BUILD });
  const packages = readdirSync(folder).filter((name) => name.endsWith(".deb"));
  assert.equal(packages.length, 1, packages.join(", "));
  const file = join(folder, packages[0] ?? "");

  const depends = await must(["dpkg-deb", "--field", file, "Depends"]);
  assert.match(depends, /libdvdi \(>= /, "the helper is in another package");
  assert.doesNotMatch(depends, /mesos|glog|protobuf/, "the agent brings these, whichever way it was installed");

  const root = join(folder, "root");
  await must(["dpkg-deb", "--extract", file, root]);
  const library = join(root, "usr/lib/mesos/modules/libdvdi_mesos.so");
  assert.equal(statSync(library).mode & 0o022, 0, "nobody else may write what root loads");
  await Cluster.with(t, [{ library }], async (cluster) => {
    const framework = await cluster.framework();
    await framework.must({ id: "task", command: "echo it > data/f", volumes: [docker("data", "data")] });
    assert.match(cluster.agent.log, /created new volume data/);
    await cluster.settled();
  });
});
