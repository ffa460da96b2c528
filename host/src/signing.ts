// `dvdi-policy keygen`, `sign` and `verify`: minisign's files for policies.
import { rm } from "node:fs/promises";
import { basename } from "node:path";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";

import { LIMITS } from "./abi.ts";
import { UserError } from "./errors.ts";
import { readBounded, writeNew, writeWhole } from "./files.ts";
import { inspectPolicy, type Inspection } from "./inspect.ts";
import {
  generateKey,
  isEncrypted,
  keyIdText,
  publicKeyText,
  readPublicKey,
  readSecretKey,
  readSignature,
  secretKeyText,
  signatureProblem,
  signatureText,
  signFile,
  type PublicKey,
  type Signature,
} from "./minisign.ts";

const MAX_KEY_BYTES = 4096;
/** As an engine takes them: their comments may be long. */
const MAX_SIGNATURE_BYTES = 64 << 10;
const BLOB_HINT = "name a policy blob (.wasm)";

export const readBlob = (file: string): Promise<Uint8Array> => readBounded(file, LIMITS.blobBytes * 4, BLOB_HINT);

/** A blob that is to decide something, and what is in it. @throws UserError where an engine would refuse it */
export async function readSoundBlob(file: string): Promise<{ blob: Uint8Array; inspection: Inspection }> {
  const blob = await readBlob(file);
  const inspection = inspectPolicy(blob);
  const problem = inspection.problems[0];
  if (problem !== undefined) throw new UserError(`${file}: an engine would refuse it: ${problem}`, BLOB_HINT);
  return { blob, inspection };
}

const readText = async (file: string, hint: string, secret = false): Promise<string> =>
  Buffer.from(await readBounded(file, MAX_KEY_BYTES, hint, { secret })).toString("utf8");

export interface KeygenFlags {
  secretKey: string;
  publicKey: string;
  password: boolean;
  passwordFile?: string;
}

/** A new pair of keys in two files that must not be there yet. Returns what to tell. */
export async function keygen(flags: KeygenFlags): Promise<string> {
  const key = generateKey();
  const password = flags.password ? await askPassword(flags.passwordFile, true) : null;
  await writeNew(flags.secretKey, secretKeyText(key, password), 0o600);
  try {
    await writeNew(flags.publicKey, publicKeyText(key), 0o644);
  } catch (error) {
    await rm(flags.secretKey, { force: true });
    throw error;
  }
  const line = publicKeyText(key).split("\n")[1] ?? "";
  return (
    `key ${keyIdText(key.id)}\n  secret  ${flags.secretKey}${password === null ? " (not encrypted)" : ""}\n` +
    `  public  ${flags.publicKey}\n          ${line}\n`
  );
}

export interface SignFlags {
  key: string;
  out?: string;
  comment?: string;
  passwordFile?: string;
}

/** Signs a blob that an engine would take; the signature lies beside it. Returns what to tell. */
export async function sign(file: string, flags: SignFlags): Promise<string> {
  const blob = await readBlob(file);
  const { manifest, problems, sha256 } = inspectPolicy(blob);
  if (manifest === null || problems.length > 0) {
    throw new UserError(`${file} is not signed: the engine would refuse it: ${problems.join("; ")}`, BLOB_HINT);
  }
  const text = await readText(flags.key, "name the secret key that keygen wrote (--key)", true);
  const password = isEncrypted(text, flags.key) ? await askPassword(flags.passwordFile, false) : null;
  const key = readSecretKey(text, password, flags.key);
  const stamp = `timestamp:${Math.floor(Date.now() / 1000)}\tfile:${basename(file)}\thashed`;
  const comment = flags.comment ?? `${stamp}\tpolicy:${manifest.name} ${manifest.version}\tsha256:${sha256}`;
  const out = flags.out ?? `${file}.minisig`;
  await writeWhole(out, signatureText(signFile(blob, key, comment)));
  return `${out}: ${manifest.name} ${manifest.version}, signed by the key ${keyIdText(key.id)}\n`;
}

/** Public keys by file name, or as the base64 line itself. */
export async function readKeys(keys: string[]): Promise<PublicKey[]> {
  return await Promise.all(
    keys.map(async (key) =>
      /^RW[A-Za-z0-9+/]{54}$/.test(key)
        ? readPublicKey(key, "the key")
        : readPublicKey(await readText(key, "name the public key that keygen wrote (--key)"), key),
    ),
  );
}

/** @param hint what to do where it cannot be read */
export const readSignatureFile = async (file: string, hint: string): Promise<Signature> =>
  readSignature(Buffer.from(await readBounded(file, MAX_SIGNATURE_BYTES, hint)).toString("utf8"), file);

/** Why no key of these made the signature; null where one did. */
export function problemWithKeys(blob: Uint8Array, signature: Signature, keys: PublicKey[]): string | null {
  const by = keys.find((key) => key.id.equals(signature.keyId));
  if (by !== undefined) return signatureProblem(blob, signature, by);
  const ids = keys.map((key) => keyIdText(key.id)).join(", ");
  return `it is signed by the key ${keyIdText(signature.keyId)}, not by ${ids}`;
}

/** Checks a signature. Returns what to tell; throws where it does not hold. */
export async function verify(file: string, flags: { key: string[]; signature?: string }): Promise<string> {
  const blob = await readBlob(file);
  const signature = await readSignatureFile(
    flags.signature ?? `${file}.minisig`,
    "sign the blob first (`dvdi-policy sign`), or name its signature (--signature)",
  );
  const problem = problemWithKeys(blob, signature, await readKeys(flags.key));
  if (problem !== null) throw new UserError(`${file}: ${problem}`, "install nothing of it; ask who made it");
  return `${file}: signed by the key ${keyIdText(signature.keyId)}\n${signature.trustedComment}\n`;
}

/** From a file's first line, from the terminal without showing it, or from standard input's first line. */
async function askPassword(file: string | undefined, twice: boolean): Promise<string> {
  if (file !== undefined) return firstLine(await readText(file, "name the file with the password", true));
  if (!process.stdin.isTTY) {
    // No more than its first line: what comes behind that may have no end.
    let text = Buffer.alloc(0);
    for await (const chunk of process.stdin) {
      text = Buffer.concat([text, chunk as Buffer]);
      if (text.includes(10) || text.length > MAX_KEY_BYTES) break;
    }
    const line = firstLine(text.toString("utf8"));
    if (Buffer.byteLength(line) <= MAX_KEY_BYTES) return line;
    throw new UserError(`the password has more than ${MAX_KEY_BYTES} bytes`, "give it as standard input's first line");
  }
  const first = await prompt("password: ");
  if (twice && (await prompt("again: ")) !== first) throw new UserError("the two passwords differ", null);
  return firstLine(first);
}

function firstLine(text: string): string {
  const line = text.split(/\r?\n/)[0] ?? "";
  if (line === "") throw new UserError("the password is empty", "give one, or make a key with --no-password");
  return line;
}

function prompt(question: string): Promise<string> {
  process.stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silent, terminal: true });
  return new Promise((resolve) => {
    lines.question("", (answer) => {
      lines.close();
      process.stderr.write("\n");
      resolve(answer);
    });
  });
}
