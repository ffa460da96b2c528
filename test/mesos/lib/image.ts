// A container image in the form of `docker save`, of one static program, for an agent that reads images from a folder.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { must } from "../../e2e/lib/process.ts";
import type { World } from "../../e2e/lib/world.ts";

const BUSYBOX = "/bin/busybox";
const LAYER = "b0".repeat(32);

/** Bound read-only by Mesos in every container that has an image: where the kernel has none, no such container starts. */
export const MASKED = /\/proc\/sysrq-trigger/;

/** Why there can be no image here, or false. */
export const noImage: string | false = existsSync(BUSYBOX) ? false : `needs ${BUSYBOX}`;

/** Makes the image "box" in a folder of the node; the agent's flags for it. */
export async function boxImage(world: World): Promise<string[]> {
  const archives = join(world.home, "images");
  const image = join(world.home, "image");
  const root = join(world.home, "image-root");
  for (const folder of ["bin", "dev", "etc", "proc", "sys", "tmp", "data"])
    mkdirSync(join(root, folder), { recursive: true });
  mkdirSync(archives);
  mkdirSync(join(image, LAYER), { recursive: true });
  await must(["cp", BUSYBOX, join(root, "bin/busybox")]);
  for (const name of ["sh", "cat", "id", "ls", "sleep", "echo", "touch", "true", "grep"]) {
    await must(["ln", "-s", "busybox", join(root, "bin", name)]);
  }
  await must(["tar", "-C", root, "-cf", join(image, LAYER, "layer.tar"), "."]);
  const config = { Cmd: ["/bin/sh"], Env: ["PATH=/bin"] };
  const manifest = {
    id: LAYER,
    created: "2024-01-01T00:00:00Z",
    container_config: config,
    config,
    architecture: "amd64",
    os: "linux",
    Size: 0,
  };
  writeFileSync(join(image, LAYER, "json"), JSON.stringify(manifest));
  writeFileSync(join(image, LAYER, "VERSION"), "1.0");
  writeFileSync(join(image, "repositories"), JSON.stringify({ box: { latest: LAYER } }));
  await must(["tar", "-C", image, "-cf", join(archives, "box.tar"), "."]);
  return [
    `--docker_registry=${archives}`,
    `--docker_store_dir=${join(world.home, "store")}`,
    "--image_providers=docker",
    "--image_provisioner_backend=copy",
  ];
}
