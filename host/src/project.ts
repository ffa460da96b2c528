// `dvdi-policy new`: a policy of one's own to start from. `dvdi-policy test`: its tests.
import { spawn } from "node:child_process";
import { access, mkdir, readdir, readFile, realpath, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";

import { JSON_AS } from "./build.ts";
import { UserError, whyFailed } from "./errors.ts";
import { textProblem } from "./manifest.ts";

interface Package {
  name?: string;
  version?: string;
  devDependencies?: Record<string, string>;
  overrides?: Record<string, string>;
}

/** What a policy is compiled and tested with: these work together in these versions only. */
const TOOLS = ["@as-pect/cli", "assemblyscript", "json-as"];

/** The package that this tool is part of: `tool` is build/host/dvdi-policy.mjs in it. */
async function ownPackage(tool: string): Promise<{ root: string; json: Package }> {
  const root = resolve(dirname(await realpath(tool)), "../..");
  const json = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Package;
  return { root, json };
}

/**
 * Where the library came from, as `folder`'s package.json can say it: the tarball or URL that npm notes beside what it
 * installs, or the library's own folder. Never a version alone: no registry has this package, and who took its name
 * there would be run.
 */
async function librarySource(root: string, folder: string): Promise<string> {
  const modules = dirname(root);
  const noted = await readFile(join(modules, ".package-lock.json"), "utf8").catch(() => "{}");
  const { packages } = JSON.parse(noted) as { packages?: Record<string, { resolved?: string } | undefined> };
  const from = packages?.[`node_modules/${basename(root)}`]?.resolved;
  if (from !== undefined && !from.startsWith("file:")) return from;
  const tarball = resolve(dirname(modules), from?.slice("file:".length) ?? "");
  const there =
    from !== undefined &&
    (await access(tarball).then(
      () => true,
      () => false,
    ));
  return `file:${relative(folder, there ? tarball : root)}`;
}

/**
 * Makes the project's files in a folder that is empty or not there. Returns what to tell.
 * @param tool the file of this tool
 * @param flags.library: what package.json is to say of the library; else where it came from
 */
export async function newProject(folder: string, flags: { library?: string }, tool: string): Promise<string> {
  const name = basename(resolve(folder));
  const wrong = textProblem({ name, version: "0.1.0", description: "" });
  if (wrong !== null)
    throw new UserError(`${folder} cannot be a policy's folder: ${wrong}`, "its name is the policy's");
  const there = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new UserError(`${folder} cannot be used: ${whyFailed(error)}`, "name a new folder");
  });
  if (there.length > 0) throw new UserError(`${folder} is not empty`, "name a new folder");
  const { root, json } = await ownPackage(tool);
  const library = flags.library ?? (await librarySource(root, resolve(folder)));
  for (const [file, text] of Object.entries(projectFiles(name, library, json))) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), text);
  }
  return (
    `${folder}: a policy that creates no volume without a size\n` +
    `  its rule     ${join(folder, "assembly/house.ts")}\n  its tests    ${join(folder, "assembly/__tests__/house.spec.ts")}\n` +
    `next: cd ${folder} && npm install && npm test && npm run build\n`
  );
}

/** The files of a new project, by their paths. */
export function projectFiles(name: string, library: string, own: Package): Record<string, string> {
  const tools = Object.fromEntries(TOOLS.map((tool) => [tool, own.devDependencies?.[tool] ?? "*"]));
  const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  return {
    "package.json": json({
      name,
      version: "0.1.0",
      private: true,
      type: "module",
      scripts: {
        build: `dvdi-policy build --name ${name} --description "No volume without a size" --out build/${name}.wasm`,
        test: "dvdi-policy test",
        lint: `dvdi-policy lint build/${name}.wasm`,
      },
      devDependencies: { ...tools, dvdi: library },
      overrides: own.overrides ?? {},
    }),
    "asconfig.json": json({
      entries: ["assembly/main.ts"],
      options: {
        transform: ["json-as", "./node_modules/dvdi/assembly/transform/lazy-start.mjs"],
        exportStart: "_start",
        runtime: "stub",
        bindings: "raw",
        optimizeLevel: 3,
        shrinkLevel: 0,
        converge: true,
        // Names of functions, so that what a node says of a trap is one: the code is the same, the blob a tenth larger.
        debug: true,
      },
    }),
    "as-pect.asconfig.json": json({
      targets: { noCoverage: { transform: ["json-as", "@as-pect/transform"] } },
      options: {
        runtime: "incremental",
        exportMemory: true,
        exportRuntime: true,
        exportTable: true,
        exportStart: "_start",
        outFile: "output.wasm",
        bindings: "raw",
        use: ["RTRACE=1"],
        debug: true,
      },
      entries: ["./node_modules/@as-pect/assembly/assembly/index.ts"],
    }),
    "as-pect.config.js": AS_PECT,
    "assembly/main.ts": MAIN,
    "assembly/house.ts": HOUSE,
    "assembly/__tests__/house.spec.ts": SPEC,
    ".github/workflows/policy.yml": WORKFLOW,
    ".gitignore": "build/\nnode_modules/\n*.key\n",
  };
}

const AS_PECT = `// The world that the tests script is the library's own.
import { createWorld } from "dvdi/assembly/__tests__/world.mjs";

export default {
  entries: ["assembly/__tests__/**/*.spec.ts"],
  include: [],
  disclude: [/node_modules/],
  outputBinary: false,
  async instantiate(memory, createImports, instantiate, binary) {
    const world = createWorld();
    const result = instantiate(binary, createImports({ env: { memory }, ...world.imports }));
    world.attach(await result);
    return result;
  },
};
`;

const MAIN = `// The policy: the library's operations with this house's rule in place.
import { use } from "dvdi/assembly/library";
import { House } from "./house";

export { dvdi_abi_1, dvdi_alloc, configure, parse, prepare, cleanup, recover, canary } from "dvdi/assembly/abi/exports";

use(new House());
`;

const HOUSE = `// The house's rule. Every hook is described in the library's docs/policies.md; what is not overridden stays as it is.
import { Failure, Policy, Volume } from "dvdi/assembly/library";

export class House extends Policy {
  mayCreate(volume: Volume): Failure | null {
    if (volume.request.options.has("size")) return null;
    const message = "house rule: volume " + volume.name + " does not exist yet, and none is created without a size";
    return new Failure("refused", message, "give it one, as in --mount …,volume-opt=size=64m");
  }
}
`;

const SPEC = `import { use } from "dvdi/assembly/library";
import { Asked, calls, exists, prepareOne, reset } from "dvdi/assembly/testing";
import { House } from "../house";

describe("the house's rule", () => {
  beforeEach(() => {
    reset();
    use(new House());
  });

  it("refuses to create a volume without a size, and touches nothing", () => {
    exists(0, false);
    const asked = new Asked("data");
    asked.options = "{}";
    const outcome = prepareOne(asked);
    expect(outcome.code).toBe("refused");
    expect(outcome.message).toBe("house rule: volume data does not exist yet, and none is created without a size");
    expect(calls().includes("Create")).toBe(false);
  });

  it("leaves volumes that exist alone", () => {
    const asked = new Asked("data");
    asked.options = "{}";
    expect(prepareOne(asked).code).toBe("");
  });
});
`;

const WORKFLOW = `name: policy
on: [push, pull_request]
jobs:
  policy:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-node@v4
        with:
          node-version: 20
      - run: npm ci
      - run: npm test
      - run: npm run build
      - run: npm run lint
      - uses: actions/upload-artifact@v4
        with:
          name: policy
          path: build/*.wasm
`;

/** Runs the project's tests with as-pect. Returns whether all passed; none at all is a failure. */
export async function testProject(root: string): Promise<boolean> {
  const config = join(root, "as-pect.config.js");
  await access(config).catch(() => {
    throw new UserError(
      `${root} has no as-pect.config.js`,
      "run this in the folder of a policy (`dvdi-policy new` makes one)",
    );
  });
  const program = join(root, "node_modules/@as-pect/cli/bin/asp.js");
  await access(program).catch(() => {
    throw new UserError(`@as-pect/cli is not installed in ${root}`, "npm install");
  });
  const child = spawn(process.execPath, [program, "--no-logo", "--config", "as-pect.config.js"], {
    cwd: root,
    env: { ...process.env, ...JSON_AS },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (text: string) => {
    process.stdout.write(text);
    output += text;
  });
  const code = await new Promise<number | null>((done, failed) => {
    child.on("error", failed);
    child.on("close", done);
  });
  // as-pect calls it a pass where there is no test.
  const tests = [...output.matchAll(/Pass: \d+ \/ (\d+)/g)].reduce((sum, [, all]) => sum + Number(all), 0);
  if (code === 0 && tests === 0)
    throw new UserError("there is no test", "write one in assembly/__tests__/NAME.spec.ts");
  return code === 0;
}
