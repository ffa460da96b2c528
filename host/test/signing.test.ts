import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

import { withManifest } from "../src/manifest.ts";
import { readSecretKey, scryptCost, secretKeyText, generateKey, isEncrypted } from "../src/minisign.ts";
import { policyModule } from "./modules.ts";

const TOOL = resolve("build/host/dvdi-policy.mjs");
const folder = mkdtempSync(join(tmpdir(), "dvdi-signing-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string): string => join(folder, name);
const BLOB = withManifest(policyModule(), { name: "house", version: "1.2.3", description: "" });

function run(program: string, args: string[], input = ""): { status: number | null; out: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: "utf8", input });
  return { status, out: stdout + stderr };
}
const tool = (...args: string[]): ReturnType<typeof run> => run(process.execPath, [TOOL, ...args]);
function done(result: ReturnType<typeof run>): string {
  assert.equal(result.status, 0, result.out);
  return result.out;
}
const no = run("minisign", ["-v"]).status === 0 ? false : "minisign is not installed";

/** A pair of keys, not encrypted, and a blob. */
function prepared(name: string): { secret: string; open: string; blob: string } {
  const [secret, open, blob] = [at(`${name}.key`), at(`${name}.pub`), at(`${name}.wasm`)];
  done(tool("keygen", "--secret-key", secret, "--public-key", open, "--no-password"));
  writeFileSync(blob, BLOB);
  return { secret, open, blob };
}

test("what is signed here holds here, and says what it is", () => {
  const { secret, open, blob } = prepared("own");
  assert.equal(statSync(secret).mode & 0o777, 0o600);
  assert.match(
    done(tool("sign", blob, "--key", secret)),
    /own\.wasm\.minisig: house 1\.2\.3, signed by the key [0-9A-F]{16}/,
  );
  assert.match(
    done(tool("verify", blob, "--key", open)),
    /file:own\.wasm\thashed\tpolicy:house 1\.2\.3\tsha256:[0-9a-f]{64}/,
  );
  // Keys are rotated: one of several is enough, as a file or as its line.
  const other = prepared("other").open;
  const line = readFileSync(open, "utf8").split("\n")[1] ?? "";
  done(tool("verify", blob, "--key", other, "--key", line));
  // The blob may stand behind a key.
  done(tool("verify", "--key", other, "--key", open, blob));
  assert.match(done(tool("inspect", "--key", open, blob)), /\(holds\)/);
  const wrong = tool("verify", blob, "--key", other);
  assert.equal(wrong.status, 1);
  assert.match(wrong.out, /is signed by the key [0-9A-F]{16}, not by [0-9A-F]{16}/);
});

test("what was changed does not hold", () => {
  const { secret, open, blob } = prepared("changed");
  done(tool("sign", blob, "--key", secret, "--comment", "für alle"));
  const signature = readFileSync(`${blob}.minisig`, "utf8");
  writeFileSync(`${blob}.minisig`, signature.replace("für alle", "für jeden"));
  assert.match(tool("verify", blob, "--key", open).out, /the signature's trusted comment was changed/);
  writeFileSync(`${blob}.minisig`, signature.replace("für alle", "\u001b[2J"));
  assert.match(tool("verify", blob, "--key", open).out, /a trusted comment that holds control characters/);
  assert.match(
    tool("sign", blob, "--key", secret, "--comment", "\u001b[2J").out,
    /the comment holds control characters/,
  );
  writeFileSync(`${blob}.minisig`, signature);
  done(tool("verify", blob, "--key", open));
  writeFileSync(blob, Buffer.concat([BLOB, Buffer.from([0, 1, 0])]));
  const wrong = tool("verify", blob, "--key", open);
  assert.equal(wrong.status, 1);
  assert.match(wrong.out, /the file or the signature was changed/);
  const inspected = tool("inspect", blob, "--key", open);
  assert.equal(inspected.status, 3);
  assert.match(inspected.out, /signed +by the key [0-9A-F]{16} \(it is not what the key/);
});

test("inspect shows the signature that lies beside", () => {
  const { secret, open, blob } = prepared("beside");
  assert.doesNotMatch(done(tool("inspect", blob)), /^signed/m);
  done(tool("sign", blob, "--key", secret));
  assert.match(done(tool("inspect", blob)), /^signed +by the key [0-9A-F]{16} \(not checked/m);
  assert.match(done(tool("inspect", blob, "--key", open)), /^signed +by the key [0-9A-F]{16} \(holds\)$/m);
  const { signature } = JSON.parse(done(tool("inspect", blob, "--json", "--key", open))) as {
    signature: { verified: boolean };
  };
  assert.equal(signature.verified, true);
  rmSync(`${blob}.minisig`);
  const none = tool("inspect", blob, "--key", open);
  assert.equal(none.status, 1);
  assert.match(none.out, /beside\.wasm\.minisig cannot be read[^]*sign the blob first/);
  assert.doesNotMatch(none.out, /name its signature/, "inspect has no option for it");
});

test("no folder is made for a slip in a file's name", () => {
  const { secret, blob } = prepared("slip");
  const lost = at("no-such-folder");
  const signed = tool("sign", blob, "--key", secret, "--out", join(lost, "x.minisig"));
  assert.equal(signed.status, 1);
  assert.match(signed.out, /x\.minisig cannot be written: there is no folder \S+no-such-folder\n/);
  const made = tool("keygen", "--secret-key", join(lost, "a"), "--public-key", at("slip2.pub"), "--no-password");
  assert.equal(made.status, 1);
  assert.match(made.out, /cannot be written: there is no folder/);
  assert.ok(!existsSync(lost));
});

test("minisign takes what is made here", { skip: no }, () => {
  const { secret, open, blob } = prepared("taken");
  done(tool("sign", blob, "--key", secret));
  assert.match(done(run("minisign", ["-V", "-m", blob, "-p", open])), /Signature and comment signature verified/);
  // Its program signs with our key too.
  done(run("minisign", ["-S", "-s", secret, "-m", blob, "-x", at("by-minisign.minisig")]));
  done(tool("verify", blob, "--key", open, "--signature", at("by-minisign.minisig")));
});

test("what minisign makes is taken here", { skip: no }, () => {
  const blob = at("foreign.wasm");
  writeFileSync(blob, BLOB);
  done(run("minisign", ["-G", "-W", "-p", at("foreign.pub"), "-s", at("foreign.key")]));
  done(run("minisign", ["-S", "-s", at("foreign.key"), "-m", blob, "-t", "by hand"]));
  assert.match(done(tool("verify", blob, "--key", at("foreign.pub"))), /by hand/);
  done(tool("sign", blob, "--key", at("foreign.key")));
  done(run("minisign", ["-V", "-m", blob, "-p", at("foreign.pub")]));
  // The older kind of signature, over the file itself, is told apart.
  done(run("minisign", ["-S", "-l", "-s", at("foreign.key"), "-m", blob]));
  assert.match(tool("verify", blob, "--key", at("foreign.pub")).out, /is a signature of the kind "Ed"/);
});

test("a password protects the key, with minisign's own cost", () => {
  assert.deepEqual(scryptCost(33_554_432n, 1_073_741_824n), { cost: 1 << 20, blockSize: 8, parallelization: 1 });
  assert.deepEqual(scryptCost(524_288n, 16_777_216n), { cost: 1 << 14, blockSize: 8, parallelization: 1 });
  const key = generateKey();
  const text = secretKeyText(key, "sesam");
  assert.equal(isEncrypted(text, "it"), true);
  assert.deepEqual(readSecretKey(text, "sesam", "it"), key);
  assert.throws(() => readSecretKey(text, "simsalabim", "it"), /the password does not fit it/);
});

test("a key with a password signs, and minisign reads it", { skip: no }, () => {
  const blob = at("locked.wasm");
  writeFileSync(blob, BLOB);
  writeFileSync(at("password"), "offen\n", { mode: 0o600 });
  done(
    tool(
      "keygen",
      "--secret-key",
      at("locked.key"),
      "--public-key",
      at("locked.pub"),
      "--password-file",
      at("password"),
    ),
  );
  done(run("minisign", ["-S", "-s", at("locked.key"), "-m", blob], "offen\n"));
  done(tool("verify", blob, "--key", at("locked.pub")));
  const wrong = run(process.execPath, [TOOL, "sign", blob, "--key", at("locked.key")], "zu\n");
  assert.equal(wrong.status, 1);
  assert.match(wrong.out, /the password does not fit/);
});

test("secrets are kept: nothing is written over, and a key that others can read is not used", () => {
  const { secret, open, blob } = prepared("kept");
  const again = tool("keygen", "--secret-key", secret, "--public-key", at("new.pub"), "--no-password");
  assert.match(again.out, /kept\.key is there already/);
  const halfway = tool("keygen", "--secret-key", at("new.key"), "--public-key", open, "--no-password");
  assert.match(halfway.out, /kept\.pub is there already/);
  assert.equal(existsSync(at("new.key")), false);
  chmodSync(secret, 0o640);
  assert.match(tool("sign", blob, "--key", secret).out, /is open to others \(mode 0640\)[^]*chmod 600/);
  chmodSync(secret, 0o600);
  writeFileSync(blob, policyModule());
  assert.match(tool("sign", blob, "--key", secret).out, /is not signed: the engine would refuse it/);
  for (const [file, text] of [
    [secret, "no key"],
    [open, "no key either"],
  ] as const) {
    writeFileSync(file, text);
    writeFileSync(blob, BLOB);
    const verb = file === secret ? ["sign", blob, "--key", secret] : ["verify", blob, "--key", open];
    writeFileSync(`${blob}.minisig`, "x");
    assert.equal(tool(...verb).status, 1);
  }
});

test("what is signed can be verified: a comment has a bound, and a long one within it holds", () => {
  const { secret, open, blob } = prepared("long");
  done(tool("sign", blob, "--key", secret, "--comment", "é".repeat(4000)));
  assert.match(done(tool("verify", blob, "--key", open)), /é{4000}/);
  const { status, out } = tool("sign", blob, "--key", secret, "--comment", "x".repeat(8001));
  assert.equal(status, 1);
  assert.match(out, /^dvdi-policy: the comment has 8001 bytes; at most 8000 are taken\n/);
  done(tool("verify", blob, "--key", open));
});

test("no more than a first line of standard input is read for a password", async () => {
  const files = ["--secret-key", at("endless.key"), "--public-key", at("endless.pub")];
  const child = spawn(process.execPath, [TOOL, "keygen", ...files], { timeout: 30_000, killSignal: "SIGKILL" });
  child.stdin.on("error", () => undefined).write("x".repeat(1 << 16)); // and it stays open
  const said = (await child.stderr.setEncoding("utf8").toArray()).join("");
  assert.match(said, /^dvdi-policy: the password has more than 4096 bytes\n/);
  assert.ok(!existsSync(at("endless.key")));
});
