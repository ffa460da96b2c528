// Documents that are meant to hurt: whatever comes, the shipped blob answers with an error of its own. A trap would be a
// refusal too, but one that tells a user nothing.
import assert from "node:assert/strict";
import { test } from "node:test";

import type { Operation } from "../../assembly/testing/fake.mjs";
import { Blob, methodsOf, prepareInput, volume, worldOf, type Json } from "./instance.ts";

const blob = Blob.shipped();
const OPERATIONS: Operation[] = ["configure", "parse", "prepare", "cleanup", "recover", "canary"];
const CODES = new Set(["invalid", "refused", "not-found", "unavailable", "driver", "policy", "timeout", "unsupported"]);

const deep = (open: string, close: string, depth: number): string => open.repeat(depth) + close.repeat(depth);

/** No JSON at all, or JSON that no reader should take. */
const DOCUMENTS = [
  "",
  " ",
  "\u0000",
  "\ufeff{}",
  "{",
  "}",
  "[",
  "]",
  '"',
  "'a'",
  "nul",
  "nulll",
  "tru",
  "-",
  "+1",
  "01",
  "1.",
  ".5",
  "1e",
  "1e+",
  "0x10",
  "NaN",
  "Infinity",
  "{} {}",
  "{}x",
  "[1,]",
  "[,1]",
  '{"a"}',
  '{"a":}',
  '{"a":1,}',
  '{,"a":1}',
  "{a:1}",
  '{"a":1 "b":2}',
  '{"a":1,"a":2}',
  '{"a":{"b":1,"c":2,"b":3}}',
  '{"\\u0061":1}',
  '"\\x41"',
  '"\\u12"',
  '"\\u12g4"',
  '"\n"',
  '"\t"',
  "/* c */{}",
  "// c\n{}",
  "[1\u00a0]",
  deep("[", "]", 33),
  deep("[", "]", 300),
  deep("[", "]", 100_000),
  "[".repeat(100_000),
  deep('{"a":', "}", 5_000),
  `{"a":${"9".repeat(100_000)}`,
  `{${Array.from({ length: 5_000 }, (_, i) => `"k${i}":1`).join(",")}}`,
  `[${"1,".repeat(70_000)}1]`,
  `{"${"k".repeat(2_000)}":1}`,
];

/** JSON of the wrong shape. */
const SHAPES = [
  "null",
  "true",
  "0",
  "-0",
  "1e999",
  "-1e999",
  '"text"',
  "[]",
  "[[]]",
  '{"config":[]}',
  '{"config":"x"}',
  '{"config":{"retry":{"attempts":1.5}}}',
  '{"config":{"retry":{"attempts":"7"}}}',
  '{"config":{"retry":{"attempts":99999999999999999999}}}',
  '{"config":{"retry":{"attempts":-1}}}',
  '{"config":{"retry":{"base_ms":10,"max_ms":5}}}',
  '{"config":{"pools":{}}}',
  '{"config":{"pools":[null]}}',
  '{"config":{"pools":[{"name":"a","driver":"../x"}]}}',
  '{"config":{"unknown":1}}',
  '{"settings":[],"sources":{},"volumes":{},"pending":{},"config":7}',
  '{"settings":{"unknown":1},"sources":[7],"volumes":[7],"pending":[7],"config":7}',
  '{"settings":7,"config":{"default_driver":"a b"}}',
];

function answered(operation: Operation, input: Json): { code: string; text: string } | null {
  const run = blob.run(operation, input);
  const { ok, error } = run.answer;
  if (error === undefined) {
    assert.notEqual(ok, undefined, run.text);
    return null;
  }
  assert.ok(CODES.has(error["code"] as string), run.text);
  const message = error["message"];
  assert.ok(typeof message === "string" && message.length > 0 && message.length < 5_000, run.text.slice(0, 300));
  // eslint-disable-next-line no-control-regex -- these are what must not be there
  assert.doesNotMatch(message, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
  return { code: error["code"] as string, text: run.text };
}

test("what is no JSON is an error of every operation", () => {
  for (const operation of OPERATIONS) {
    for (const document of DOCUMENTS) {
      assert.notEqual(
        answered(operation, document),
        null,
        `${operation} took ${JSON.stringify(document.slice(0, 60))}`,
      );
    }
  }
});

test("what has the wrong shape is an error, or harmless", () => {
  for (const operation of OPERATIONS) for (const document of SHAPES) answered(operation, document);
  for (const document of SHAPES.slice(0, 9)) assert.notEqual(answered("parse", document), null, document);
});

test("every cut of a real input is answered", () => {
  const whole = JSON.stringify(prepareInput([volume(0, { name: "dä🙂" })]));
  for (let cut = 0; cut < whole.length; cut++) {
    const text = whole.slice(0, cut);
    // Not between the halves of a surrogate pair: what comes over the border is UTF-8.
    if (!/[\ud800-\udbff]$/.test(text)) assert.notEqual(answered("prepare", text), null, `cut at ${cut}`);
  }
});

test("every byte of a real input may be another", () => {
  const whole = JSON.stringify(prepareInput([volume(0)]));
  for (let at = 0; at < whole.length; at++) {
    for (const other of ['"', "\\", "{", "}", "[", "]", ",", ":", "0", "-", "e", " ", "\n", "\u0000"]) {
      answered("prepare", whole.slice(0, at) + other + whole.slice(at + 1));
    }
  }
});

test("every form of parse answers documents that are meant to hurt", () => {
  const texts = [
    ...DOCUMENTS,
    ...SHAPES,
    ":",
    "::",
    "a:",
    ":/a",
    "a:/b:c:d",
    "a:/b\u0000",
    "a:/../../etc",
    "a:relative",
    "type=",
    "type=volume,,",
    "type=volume,source=a,target=/b,target=/c",
    "=".repeat(1000),
    ",".repeat(10_000),
    "\\u0000",
    "\ud83d\ude42".repeat(5_000),
    JSON.stringify({ volumes: [{ name: "a", container_path: "/x", driver: "\u202e" }] }),
    JSON.stringify({ volumes: Array.from({ length: 3_000 }, (_, i) => ({ name: `v${i}`, container_path: `/v${i}` })) }),
    JSON.stringify({ container: { volumes: [{ external: null }, { external: [] }] } }),
    JSON.stringify({ volumes: [{ source: { type: "DOCKER_VOLUME", docker_volume: null } }] }),
  ];
  for (const form of ["volume", "mount", "statement", "marathon", "mesos", "env", "none", ""]) {
    for (const text of texts) answered("parse", { config: {}, sources: [{ form, text }] });
  }
  const names = ["NAME", "DRIVER", "OPTS", "CONTAINERPATH", "EXPLICITCREATE", "DVDCLI", "", "NAME0", "NAME10", "NAME1"];
  for (const name of names) {
    for (const value of ["", "\u0000", "a=b=c", "=", ",,,", "x".repeat(100_000), "\ud83d\ude42", 7, null, [], {}]) {
      answered("parse", { config: {}, sources: [{ form: "env", env: { [`DVDI_VOLUME_${name}`]: value } }] });
    }
  }
  assert.equal(
    answered("parse", `{"config":{},"sources":[{"form":"volume","text":"\\ud800:/a"}]}`)?.code,
    "invalid",
    "half a surrogate pair",
  );
});

test("plugins' answers cannot hurt either", () => {
  const nasty: Json[] = [
    null,
    7,
    "text",
    [],
    {},
    { kind: 7 },
    { kind: "maybe" },
    { kind: "ok", mountpoint: 7 },
    { kind: "ok", implements: {} },
    { kind: "ok", implements: [7] },
    { kind: "ok", volumes: [7, { name: null }] },
    { kind: "error" },
    { kind: "error", error: "\u001b[2J\nroot#" },
    { kind: "error", error: "x".repeat(1_000_000) },
    { kind: "unknown" },
    { kind: "unknown", reason: "\u0000", error: "", sent: "yes" },
    { kind: "refused" },
    { kind: "ok", status: JSON.parse(deep("[", "]", 1_000)) as Json },
  ];
  for (const method of ["Activate", "Capabilities", "Get", "List", "Create", "Mount"]) {
    const asked = new Set<string>();
    for (const given of nasty) {
      for (const missing of [[], [0]]) {
        const volumes = [volume(0)];
        const fake = worldOf(volumes, missing);
        fake.script(method, given, { times: 0 });
        // Nothing is tried again.
        fake.state.clock = fake.state.left = 0;
        const run = blob.run("prepare", prepareInput(volumes), fake);
        methodsOf(run).forEach((called) => asked.add(called));
        const { answer, text } = run;
        assert.ok(answer.ok !== undefined || answer.error !== undefined, text);
        const message = answer.error?.["message"];
        // eslint-disable-next-line no-control-regex -- these are what must not be there
        if (typeof message === "string") assert.doesNotMatch(message, /[\u0000-\u001f\u007f]/);
      }
    }
    assert.ok(asked.has(method), `${method} was never called`);
  }
});
