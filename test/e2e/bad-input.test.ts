// Bad input from the command line, from documents and from the environment: one line that says what is wrong and what would
// be right, no driver asked, nothing started.
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { ScriptedPlugin } from "./lib/plugin.ts";
import type { Options, Result } from "./lib/process.ts";
import { skip, World } from "./lib/world.ts";

interface Place {
  world: World;
  /** Runs `dvdi` with these arguments; it must fail with `code`, in one line, before anything happens. */
  refuses: (args: string[], code: number, options?: Options) => Promise<Result>;
}

async function place(t: TestContext): Promise<Place> {
  const world = await World.make(t);
  const plugin = await ScriptedPlugin.serve(world, "plain", { volumes: ["data"] });
  const marker = join(world.home, "started");
  const refuses = async (args: string[], code: number, options: Options = {}): Promise<Result> => {
    const done = await world.dvdi(args[0] === "run" ? [...args, "--", "touch", marker] : args, options);
    assert.equal(done.code, code, done.all);
    assert.match(done.err, /^dvdi: [^\n]*\n$/, `one line:\n${done.all}`);
    // eslint-disable-next-line no-control-regex -- that none is there is what it looks for
    assert.doesNotMatch(done.err, /[\u0000-\u0009\u000b-\u001f\u007f]/, "no control characters");
    assert.ok(done.err.length < 4000, "a line to read, however long the input was");
    assert.equal(done.out, "");
    assert.ok(!existsSync(marker), "nothing was started");
    assert.deepEqual(plugin.calls, [], "no driver was asked");
    return done;
  };
  return { world, refuses };
}

test("the command line", { skip }, async (t) => {
  const { world, refuses } = await place(t);
  const target = world.target("d");
  const wrong: [string[], number, RegExp][] = [
    [["frobnicate"], 2, /not expected: frobnicate/],
    [["ls", "--frobnicate"], 2, /--frobnicate/],
    [["run", "--frobnicate", "-v", `data:${target}`], 125, /--frobnicate/],
    [["run"], 125, /no volume was asked for/],
    [["run", "--timeout", "soon", "-v", `data:${target}`], 125, /"soon" is no duration/],
    [["run", "--timeout", "99999h", "-v", `data:${target}`], 125, /longer than a week/],
    [["run", "--user", "no-such-user-here", "-v", `data:${target}`], 125, /no-such-user-here/],
    [["run", "--config", "/no/such/file", "-v", `data:${target}`], 125, /no settings file/],
    [["run", "--statement", "/no/such/file"], 125, /\/no\/such\/file/],
    [["run", "--statement", "/etc"], 125, /\/etc/],
    [["run", "--statement", "/dev/zero"], 125, /\/dev\/zero|long|large/],
    [["run", "--statement", "-", "--mesos", "-"], 125, /only one of the files can be -/],
    [["inspect"], 2, /VOLUME/],
    [["inspect", "nothing"], 13, /no volume nothing/],
    [["unmount", "nothing"], 13, /nothing/],
    [["forget", "nothing"], 13, /nothing/],
    [["mount"], 2, /takes either/],
    [["mount", "x", "-v", `data:${target}`], 2, /takes either/],
    [["explain", "--last", "-1"], 2, /--last/],
    [["policy", "install", "/no/such/file"], 17, /\/no\/such\/file/],
  ];
  for (const [args, code, says] of wrong) assert.match((await refuses(args, code)).err, says);
  // The options of `docker run`, nearly right.
  const volumes: [string, RegExp][] = [
    ["data", /no ":\/path"/],
    ["data:", /path|empty/],
    [":/data", /name/],
    ["data:relative", /absolute|relative/],
    ["/host:/data", /host/],
    ["data:/", /root|system/],
    ["data:/a/../b", /\.\./],
    [`data:${target}:rx`, /rx/],
    [`data:${target}:ro:rw`, /ro:rw|too many|rw/],
    ["data:/a\nb", /control/],
    ["a\u001b[31mb:/data", /control/],
    [`${"x".repeat(300)}:/data`, /255|long/],
    [`data:/${"x/".repeat(3000)}`, /long|4095/],
    ["../data:/data", /host|slash|name/],
  ];
  for (const [text, says] of volumes) {
    assert.match((await refuses(["run", "--volume-driver", "plain", "-v", text], 125)).err, says, text);
  }
  const mounts: [string, RegExp][] = [
    ["", /empty|source|target/],
    ["type=bind,src=/a,dst=/b", /bind/],
    ["type=tmpfs,dst=/b", /tmpfs/],
    ["type=volume,src=data", /target/],
    ["type=volume,dst=/data", /source/],
    ["type=volume,src=data,dst=/data,bogus=1", /bogus/],
    ["type=volume,src=data,dst=/data,readonly=perhaps", /perhaps/],
    ["type=volume,src=data,dst=/data,volume-opt=novalue", /novalue/],
    ['type=volume,src=data,"dst=/data', /quot/],
    ["type=volume,src=data,src=other,dst=/data", /twice|source|src/],
    ["type=volume,src=data,dst=/data,volume-driver=../x", /\.\.\/x|driver/],
  ];
  for (const [text, says] of mounts) assert.match((await refuses(["run", "--mount", text], 125)).err, says, text);
});

test("documents", { skip }, async (t) => {
  const { world, refuses } = await place(t);
  const nested = (depth: number): string => `{"volumes":${"[".repeat(depth)}${"]".repeat(depth)}}`;
  const one = (members: string): string => `{"volumes":[{"name":"v","container_path":"/srv/d",${members}}]}`;
  const documents: [string, RegExp][] = [
    ["", /./],
    ["{", /JSON/],
    ["[]", /./],
    ["{}", /volumes/],
    ['{"volumes":{}}', /volumes/],
    ['{"volumes":[{}]}', /name/],
    ['{"volumes":[{"name":"v"}]}', /container_path/],
    ['{"volumes":[],"volumes":[]}', /twice/],
    [one('"nmae":"w"'), /nmae/],
    [one('"mode":"rwx"'), /rwx/],
    [one('"size":-1'), /size/],
    [one('"size":1e999'), /size|number|range/],
    [one('"options":{"a":{"b":1}}'), /options/],
    [one('"options":{"a":"\\u0000"}'), /./],
    [one('"driver":"\\ud800"'), /./],
    [one('"driver":"a\\nb"'), /driver/],
    [one('"driver":"p","class":{"media":"ssd"}'), /class/],
    [one('"subpath":"../x"'), /subpath/],
    [nested(200), /deep|levels/],
    [nested(200_000), /./],
    [`{"volumes":[${'{"name":"v","container_path":"/srv/d"},'.repeat(1100)}{}]}`, /1024/],
    [`{"volumes":"${"x".repeat(5 << 20)}"}`, /./],
    ["volumes: &a\n  - *a\n", /anchor|alias/],
    ["volumes: !!python/object []\n", /tag/],
    ["volumes:\n\t- x\n", /./],
    ["a: 1\n---\nb: 2\n", /document/],
    ["volumes: []\nvolumes: []\n", /twice|duplicate/],
    ["\u0000\u0001\u0002", /./],
    ["\ufeff{}", /./],
  ];
  const path = join(world.home, "document");
  for (const [text, says] of documents) {
    writeFileSync(path, text);
    assert.match((await refuses(["run", "--statement", path], 125)).err, says, text.slice(0, 60));
  }
  writeFileSync(path, Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]));
  await refuses(["run", "--statement", path], 125);
  const others: [string, string, RegExp][] = [
    ["--marathon", "not json", /JSON/],
    [
      "--marathon",
      '{"id":"/a","container":{"volumes":[{"containerPath":"/d","mode":"RW","external":{"name":"v","provider":"csi","options":{"dvdi/driver":"plain"}}}]}}',
      /csi/,
    ],
    [
      "--marathon",
      '{"id":"/a","container":{"volumes":[{"containerPath":"/d","mode":"RW","external":{"name":"v","provider":"dvdi","options":{}}}]}}',
      /dvdi\/driver/,
    ],
    ["--mesos", "[]", /./],
    [
      "--mesos",
      '{"type":"MESOS","volumes":[{"mode":"RW","source":{"type":"DOCKER_VOLUME","docker_volume":{"name":"v"}}}]}',
      /container_?[pP]ath/,
    ],
    [
      "--mesos",
      '{"type":"MESOS","volumes":[{"container_path":"/d","mode":"XX","source":{"type":"DOCKER_VOLUME","docker_volume":{"name":"v"}}}]}',
      /XX/,
    ],
  ];
  for (const [option, text, says] of others) {
    writeFileSync(path, text);
    assert.match((await refuses(["run", option, path], 125)).err, says, text.slice(0, 100));
  }
});

test("the environment", { skip }, async (t) => {
  const { world, refuses } = await place(t);
  const target = world.target("d");
  const set = { DVDI_VOLUME_NAME: "v", DVDI_VOLUME_DRIVER: "plain", DVDI_VOLUME_CONTAINERPATH: target };
  const wrong: [Record<string, string>, RegExp][] = [
    [{ ...set, DVDI_VOLUME_DVDCLI: "/bin/sh" }, /DVDI_VOLUME_DVDCLI/],
    [{ ...set, DVDI_VOLUME_OPTS: "size" }, /DVDI_VOLUME_OPTS/],
    [{ ...set, DVDI_VOLUME_OPTS: "=5" }, /DVDI_VOLUME_OPTS/],
    [{ ...set, DVDI_VOLUME_EXPLICITCREATE: "perhaps" }, /perhaps/],
    [{ ...set, DVDI_VOLUME_CONTAINERPATH: "/etc" }, /\/etc/],
    [{ ...set, DVDI_VOLUME_CONTAINERPATH: "/a/../b" }, /\.\./],
    [{ ...set, DVDI_VOLUME_NAME10: "w" }, /DVDI_VOLUME_NAME10/],
    [{ ...set, DVDI_VOLUME_NAME0: "w" }, /DVDI_VOLUME_NAME0/],
    [{ ...set, DVDI_VOLUME_BOGUS: "w" }, /DVDI_VOLUME_BOGUS/],
    [{ DVDI_VOLUME_DRIVER: "plain", DVDI_VOLUME_CONTAINERPATH: target }, /DVDI_VOLUME_NAME/],
    [{ ...set, DVDI_VOLUME_DRIVER2: "plain" }, /DVDI_VOLUME_NAME2/],
    [{ ...set, DVDI_VOLUME_NAME: "a/../b" }, /./],
    [{ ...set, DVDI_VOLUME_NAME: "a\nb" }, /./],
    [{ ...set, DVDI_VOLUME_DRIVER: "../../etc/x" }, /./],
    [
      { ...set, DVDI_VOLUME_NAME1: "w", DVDI_VOLUME_DRIVER1: "plain", DVDI_VOLUME_CONTAINERPATH1: target },
      /two volumes/,
    ],
  ];
  for (const [env, says] of wrong) {
    assert.match((await refuses(["run", "--env"], 125, { env })).err, says, JSON.stringify(env));
  }
});
