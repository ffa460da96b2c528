import assert from "node:assert/strict";
import { test } from "node:test";

import { inspectionText, inspectPolicy } from "../src/inspect.ts";
import { textProblem, withManifest } from "../src/manifest.ts";
import { withCustomSection } from "../src/wasm.ts";
import { policyModule, section, text, type Shape } from "./modules.ts";

const TEXT = { name: "stock", version: "1.2.3", description: "a policy" };
const problems = (shape: Shape): string => inspectPolicy(withManifest(policyModule(shape), TEXT)).problems.join("; ");
const withManifestText = (json: string): string =>
  inspectPolicy(withCustomSection(policyModule(), "dvdi.manifest", new TextEncoder().encode(json))).problems.join("; ");

test("a policy of the right shape with its manifest has no problems", () => {
  const blob = withManifest(policyModule(), TEXT);
  const inspection = inspectPolicy(blob);
  assert.deepEqual(inspection.problems, []);
  assert.deepEqual(inspection.manifest, { ...TEXT, abi: 1, imports: ["log"] });
  assert.deepEqual(inspection.memory, { min_pages: 1, max_pages: null });
  assert.equal(inspection.size, blob.length);
  assert.match(inspection.sha256, /^[0-9a-f]{64}$/);
  assert.match(inspectionText(inspection), /^policy +stock 1\.2\.3 \(ABI 1\)$[^]*^engine +would take it$/m);
});

test("the manifest's imports are those of module dvdi, each once, sorted", () => {
  const imports: Shape["imports"] = [
    ["dvdi", "stage", 0],
    ["env", "abort", 2],
    ["dvdi", "log", 0],
    ["dvdi", "stage", 0],
  ];
  assert.deepEqual(inspectPolicy(withManifest(policyModule({ imports }), TEXT)).manifest?.imports, ["log", "stage"]);
});

test("what the engine would refuse is said", () => {
  assert.match(problems({ start: true }), /start function/);
  assert.match(problems({ imports: [["wasi_snapshot_preview1", "fd_write", 0]] }), /fd_write is not offered/);
  assert.match(problems({ imports: [["dvdi", "unmount", 0]] }), /import dvdi\.unmount is not offered/);
  // In the words of the source, which has no `env.seed`.
  assert.match(problems({ imports: [["env", "seed", 0]] }), /import env\.seed \(Math\.random in the source\) is not/);
  assert.match(problems({ imports: [["env", "console.log", 0]] }), /\(console\.log in the source\) is not offered/);
  assert.match(problems({ imports: [["dvdi", "log", 1]] }), /dvdi\.log is \(i32\) -> i32, not \(i32, i32\) -> i64/);
  assert.match(problems({ without: ["cleanup"] }), /does not export cleanup/);
  assert.match(problems({ without: ["dvdi_abi_1"] }), /exports no dvdi_abi_1/);
  assert.match(problems({ without: ["memory"] }), /exports no memory/);
  assert.match(problems({ operationType: 3 }), /export prepare is \(\) -> nothing, not \(i32, i32\) -> i64/);
  assert.match(
    problems({
      memories: [
        [0, 1],
        [0, 1],
      ],
    }),
    /2 memories/,
  );
  assert.match(problems({ memories: [[4, 1]] }), /64-bit/);
  assert.match(problems({ memories: [[3, 1, 2]] }), /shared/);
  assert.match(problems({ memories: [[0, 0x81, 0x08]] }), /begins with 1025 pages of 64 KiB; the limit is 1024/);
});

test("a blob over the size limit is said to be", () => {
  const blob = withManifest(withCustomSection(policyModule(), "pad", new Uint8Array(4 << 20)), TEXT);
  assert.match(inspectPolicy(blob).problems.join(), /the limit is 4194304/);
});

test("a manifest that is not there, not JSON, not whole, or untrue is said", () => {
  assert.match(inspectPolicy(policyModule()).problems.join(), /0 custom sections dvdi\.manifest/);
  assert.match(withManifestText("{"), /not JSON/);
  assert.match(withManifestText('{"name":"x"}'), /has not the members/);
  const whole = { name: "x", version: "1.0.0", abi: 1, description: "", imports: ["log"] };
  assert.equal(withManifestText(JSON.stringify(whole)), "");
  assert.match(withManifestText(JSON.stringify({ ...whole, abi: 2 })), /says ABI 2/);
  assert.match(withManifestText(JSON.stringify({ ...whole, imports: [] })), /imports dvdi\.log, which its manifest/);
  assert.match(
    withManifestText(JSON.stringify({ ...whole, imports: ["log", "exec"] })),
    /"exec", which is not offered/,
  );
  assert.match(withManifestText(JSON.stringify({ ...whole, version: "new" })), /must be three numbers/);
  assert.match(withManifestText(JSON.stringify({ ...whole, version: "1.02.0" })), /must be three numbers/);
  assert.match(withManifestText(JSON.stringify({ ...whole, imports: ["log", "now"] })), /its code does not import/);
  const two = [...withManifest(policyModule(), TEXT), ...section(0, [...text("dvdi.manifest"), 0x7b, 0x7d])];
  assert.match(inspectPolicy(Uint8Array.from(two)).problems.join(), /2 custom sections dvdi\.manifest/);
});

test("bytes that are no module are a problem, not an exception", () => {
  assert.match(inspectPolicy(new Uint8Array()).problems.join(), /not a WebAssembly module/);
  const wrongBody = policyModule();
  wrongBody[wrongBody.length - 2] = 0x1a; // drop on an empty stack: well-formed, not valid
  assert.match(inspectPolicy(withManifest(wrongBody, TEXT)).problems.join(), /not valid WebAssembly/);
});

test("a name in a blob cannot move the terminal's cursor", () => {
  const blob = policyModule({ imports: [["dvdi", "\u001b[2J", 0]] });
  assert.equal(inspectionText(inspectPolicy(blob)).includes("\u001b"), false);
});

test("a manifest's texts are checked before they are written", () => {
  assert.equal(textProblem(TEXT), null);
  assert.match(textProblem({ ...TEXT, name: "Stock Policy" }) ?? "", /name "Stock Policy"/);
  assert.match(textProblem({ ...TEXT, version: "1.2" }) ?? "", /version "1\.2"/);
  assert.match(textProblem({ ...TEXT, description: "two\nlines" }) ?? "", /one line/);
});
