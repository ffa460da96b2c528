// The formats of minisign (keys and detached signatures, Ed25519 over the BLAKE2b hash of the file), so that its own
// program makes and checks the same files. Bytes and texts only: no files are touched here.
import { blake2b } from "@noble/hashes/blake2";
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  scryptSync,
  sign as signBytes,
  timingSafeEqual,
  verify as verifyBytes,
  type KeyObject,
} from "node:crypto";

import { UserError } from "./errors.ts";

const COMMENT = "untrusted comment: ";
const TRUSTED = "trusted comment: ";
const PURE = "Ed";
/** Of a signature: over the hash of the file. The older kind signs the file itself. */
const HASHED = "ED";
const SCRYPT = "Sc";
const BLAKE2B = "B2";
/** What libsodium calls sensitive: a GiB of memory and some seconds for each guess. */
const OPSLIMIT = 33_554_432;
const MEMLIMIT = 1_073_741_824;
/** A key file that asks for more is not tried. */
const MAX_MEMORY = 2 * MEMLIMIT;

export interface PublicKey {
  /** Eight bytes that tell keys apart. */
  id: Buffer;
  key: Buffer;
}

export interface SecretKey extends PublicKey {
  seed: Buffer;
}

export interface Signature {
  keyId: Buffer;
  signature: Buffer;
  trustedComment: string;
  globalSignature: Buffer;
}

/** As minisign prints it. */
export function keyIdText(id: Buffer): string {
  return Buffer.from(id).reverse().toString("hex").toUpperCase();
}

export function generateKey(): SecretKey {
  const { d, x } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  if (d === undefined || x === undefined) throw new Error("Node made a key without its parts");
  return { id: randomBytes(8), seed: Buffer.from(d, "base64url"), key: Buffer.from(x, "base64url") };
}

export function publicKeyText(key: PublicKey): string {
  const bytes = Buffer.concat([Buffer.from(PURE), key.id, key.key]);
  return `${COMMENT}minisign public key ${keyIdText(key.id)}\n${bytes.toString("base64")}\n`;
}

/** From a key file, or from its second line alone. `name` is what errors call it. */
export function readPublicKey(text: string, name: string): PublicKey {
  const lines = linesOf(text);
  const bytes = fromBase64(lines.length > 1 && lines[0]?.startsWith(COMMENT) ? lines[1] : lines[0]);
  if (bytes?.length !== 42 || bytes.toString("latin1", 0, 2) !== PURE) {
    throw new UserError(`${name} is no minisign public key`, "name the file that keygen wrote beside the secret key");
  }
  return { id: bytes.subarray(2, 10), key: bytes.subarray(10) };
}

/** `password` null: the file's mode alone protects the key. */
export function secretKeyText(key: SecretKey, password: string | null): string {
  const secret = Buffer.concat([key.id, key.seed, key.key, checksum(key)]);
  const header = Buffer.alloc(54);
  header.write(PURE, 0);
  header.write(BLAKE2B, 4);
  if (password !== null) {
    header.write(SCRYPT, 2);
    randomBytes(32).copy(header, 6);
    header.writeBigUInt64LE(BigInt(OPSLIMIT), 38);
    header.writeBigUInt64LE(BigInt(MEMLIMIT), 46);
    mask(secret, password, header);
  }
  const about = password === null ? "minisign secret key" : "minisign encrypted secret key";
  return `${COMMENT}${about}\n${Buffer.concat([header, secret]).toString("base64")}\n`;
}

/** Whether the key in the file is encrypted. */
export function isEncrypted(text: string, name: string): boolean {
  return secretBytes(text, name).toString("latin1", 2, 4) === SCRYPT;
}

export function readSecretKey(text: string, password: string | null, name: string): SecretKey {
  const bytes = secretBytes(text, name);
  const header = bytes.subarray(0, 54);
  const secret = Buffer.from(bytes.subarray(54));
  const encrypted = isEncrypted(text, name);
  if (encrypted) mask(secret, password ?? "", header);
  const key = { id: secret.subarray(0, 8), seed: secret.subarray(8, 40), key: secret.subarray(40, 72) };
  if (encrypted && !timingSafeEqual(checksum(key), secret.subarray(72))) {
    throw new UserError(`the password does not fit ${name}`, "give the one that the key was made with");
  }
  // minisign writes no checksum into a key that is not encrypted.
  if (!publicPart(privateKey(key)).equals(key.key)) {
    throw new UserError(`${name} is damaged: its two halves do not belong together`, "take it from your backup");
  }
  return key;
}

function secretBytes(text: string, name: string): Buffer {
  const bytes = fromBase64(linesOf(text)[1]);
  const kdf = bytes?.toString("latin1", 2, 4);
  const known = kdf === SCRYPT || kdf === "\0\0";
  if (
    bytes?.length !== 158 ||
    bytes.toString("latin1", 0, 2) !== PURE ||
    !known ||
    bytes.toString("latin1", 4, 6) !== BLAKE2B
  ) {
    throw new UserError(`${name} is no minisign secret key`, "name the file that keygen wrote");
  }
  return bytes;
}

function checksum(key: SecretKey): Buffer {
  const bytes = Buffer.concat([Buffer.from(PURE), key.id, key.seed, key.key]);
  return Buffer.from(blake2b(bytes, { dkLen: 32 }));
}

/** Hides the secret, or shows it again, with what scrypt makes of the password. */
function mask(secret: Buffer, password: string, header: Buffer): void {
  const salt = header.subarray(6, 38);
  const { cost, blockSize, parallelization } = scryptCost(header.readBigUInt64LE(38), header.readBigUInt64LE(46));
  const memory = 128 * cost * blockSize;
  if (memory > MAX_MEMORY) {
    throw new UserError("the secret key asks for more memory than any key of minisign's", "take it from your backup");
  }
  const options = { cost, blockSize, parallelization, maxmem: memory + (64 << 20) };
  const stream = scryptSync(password, salt, secret.length, options);
  for (let i = 0; i < secret.length; i++) secret[i] = (secret[i] ?? 0) ^ (stream[i] ?? 0);
}

/** libsodium's limits as scrypt's parameters, as crypto_pwhash_scryptsalsa208sha256 has them. */
export function scryptCost(
  opslimit: bigint,
  memlimit: bigint,
): { cost: number; blockSize: number; parallelization: number } {
  const ops = opslimit < 32768n ? 32768n : opslimit;
  const blockSize = 8;
  const byOps = ops < memlimit / 32n;
  const most = byOps ? ops / BigInt(blockSize * 4) : memlimit / BigInt(blockSize * 128);
  let log = 1n;
  while (log < 63n && 1n << log <= most / 2n) log++;
  const product = byOps ? BigInt(blockSize) : ops / 4n / (1n << log);
  const parallelization = Number((product > 0x3fffffffn ? 0x3fffffffn : product) / BigInt(blockSize));
  return { cost: Number(1n << log), blockSize, parallelization: Math.max(1, parallelization) };
}

/** PKCS #8 of an Ed25519 key, but for its last 32 bytes: the seed. */
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

function privateKey(key: SecretKey): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8, key.seed]), format: "der", type: "pkcs8" });
}

function publicPart(key: KeyObject): Buffer {
  return Buffer.from(createPublicKey(key).export({ format: "jwk" }).x ?? "", "base64url");
}

function hashOf(file: Uint8Array): Buffer {
  return createHash("blake2b512").update(file).digest();
}

/** What a trusted comment may not have: an engine refuses it. Tabs stand between the parts of one. */
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/** Of a comment's line, with what stands before it: minisign's own bound, and an engine's. */
const MAX_COMMENT_LINE = 8192;
/** Room for the line's beginning and end, in each program that reads it. */
const MAX_COMMENT = 8000;

/** `trustedComment` is signed too: one line without control characters but tabs. */
export function signFile(file: Uint8Array, key: SecretKey, trustedComment: string): Signature {
  if (/[\r\n]/.test(trustedComment)) throw new UserError("the comment has more than one line", null);
  if (CONTROL.test(trustedComment)) throw new UserError("the comment holds control characters", null);
  const bytes = Buffer.byteLength(trustedComment);
  if (bytes > MAX_COMMENT) {
    throw new UserError(`the comment has ${bytes} bytes; at most ${MAX_COMMENT} are taken`, "give a shorter one");
  }
  const secret = privateKey(key);
  const signature = signBytes(null, hashOf(file), secret);
  const globalSignature = signBytes(null, Buffer.concat([signature, Buffer.from(trustedComment)]), secret);
  return { keyId: key.id, signature, trustedComment, globalSignature };
}

export function signatureText(signature: Signature): string {
  const bytes = Buffer.concat([Buffer.from(HASHED), signature.keyId, signature.signature]);
  const about = `${COMMENT}signature of a policy by dvdi-policy`;
  const global = signature.globalSignature.toString("base64");
  return `${about}\n${bytes.toString("base64")}\n${TRUSTED}${signature.trustedComment}\n${global}\n`;
}

export function readSignature(text: string, name: string): Signature {
  const [about, first, trusted, second, ...rest] = linesOf(text);
  const bytes = fromBase64(first);
  const globalSignature = fromBase64(second);
  const whole = about?.startsWith(COMMENT) && trusted?.startsWith(TRUSTED) && rest.length === 0;
  const long = Buffer.byteLength(trusted ?? "") > MAX_COMMENT_LINE;
  if (!whole || long || trusted === undefined || bytes?.length !== 74 || globalSignature?.length !== 64) {
    throw new UserError(`${name} is no minisign signature`, "make it with `dvdi-policy sign` or `minisign -S`");
  }
  const kind = bytes.toString("latin1", 0, 2);
  if (kind !== HASHED) {
    throw new UserError(
      `${name} is a signature of the kind ${JSON.stringify(kind)}, not of the file's hash`,
      "sign again",
    );
  }
  const trustedComment = trusted.slice(TRUSTED.length);
  if (CONTROL.test(trustedComment)) {
    throw new UserError(`${name} has a trusted comment that holds control characters`, "sign with another comment");
  }
  return { keyId: bytes.subarray(2, 10), signature: bytes.subarray(10), trustedComment, globalSignature };
}

/** Null where the signature is by that key and fits the file; else why it does not. */
export function signatureProblem(file: Uint8Array, signature: Signature, key: PublicKey): string | null {
  if (!key.id.equals(signature.keyId)) {
    return `it is signed by the key ${keyIdText(signature.keyId)}, not by ${keyIdText(key.id)}`;
  }
  const jwk = { kty: "OKP", crv: "Ed25519", x: key.key.toString("base64url") };
  const by = createPublicKey({ key: jwk, format: "jwk" });
  if (!verifyBytes(null, hashOf(file), by, signature.signature)) {
    return `it is not what the key ${keyIdText(key.id)} signed: the file or the signature was changed`;
  }
  const comment = Buffer.concat([signature.signature, Buffer.from(signature.trustedComment)]);
  if (!verifyBytes(null, comment, by, signature.globalSignature)) return "the signature's trusted comment was changed";
  return null;
}

function linesOf(text: string): string[] {
  const lines = text.split("\n").map((line) => line.replace(/\r$/, ""));
  while (lines.at(-1) === "") lines.pop();
  return lines;
}

/** Null where it is not the base64 of anything, to the letter. */
function fromBase64(text: string | undefined): Buffer | null {
  if (text === undefined) return null;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : null;
}
