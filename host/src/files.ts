// Files that a person named: bounded, and secrets only where nobody else can read them.
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open, rename, rm, writeFile, type FileHandle } from "node:fs/promises";
import { dirname, resolve } from "node:path";

import { parse as parseYaml } from "yaml";

import { UserError, whyFailed } from "./errors.ts";

/**
 * Reads a file of at most `limit` bytes; a larger one is an error before it is in memory.
 * @param hint what to name instead
 * @param options.secret: it must be this user's, and nobody else may read or write it
 */
export async function readBounded(
  file: string,
  limit: number,
  hint: string,
  options: { secret?: boolean } = {},
): Promise<Uint8Array> {
  // O_NONBLOCK: a FIFO in the file's place must not hold us.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${file} cannot be read: ${whyFailed(error)}`, hint);
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new UserError(`${file} is not a file`, hint);
    if (stat.size > limit) {
      throw new UserError(`${file} has ${stat.size} bytes; at most ${limit} are taken`, hint);
    }
    if (options.secret) {
      const mode = (stat.mode & 0o7777).toString(8).padStart(4, "0");
      if (stat.uid !== process.geteuid?.()) {
        throw new UserError(`${file} holds a secret and belongs to user ${stat.uid}`, "use a key of your own");
      }
      if ((stat.mode & 0o077) !== 0) {
        throw new UserError(`${file} holds a secret and is open to others (mode ${mode})`, `chmod 600 ${file}`);
      }
    }
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

const MAX_STRUCTURED_BYTES = 4 << 20;

/** Without what it announces: the parser shows the place behind a colon. */
const firstLine = (message: string): string => (message.split("\n")[0] ?? "").replace(/:$/, "");

/** What a file of YAML or JSON holds. */
export async function readStructured(file: string): Promise<unknown> {
  const bytes = await readBounded(file, MAX_STRUCTURED_BYTES, "name a file of YAML or JSON");
  try {
    return parseYaml(Buffer.from(bytes).toString()) as unknown; // JSON is YAML
  } catch (error) {
    throw new UserError(`${file} is neither YAML nor JSON: ${firstLine((error as Error).message)}`, null);
  }
}

/** A folder that is not there is a slip of who named it: none is made for it. */
function notWritten(file: string, error: NodeJS.ErrnoException): Error {
  if (error.code !== "ENOENT") return error;
  const folder = dirname(resolve(file));
  return new UserError(`${file} cannot be written: there is no folder ${folder}`, "make it, or name another file");
}

/** Whether there is something that no file is to take the place of: /dev/null, /dev/stdout, a FIFO, somebody's link. */
async function isNoFile(file: string): Promise<boolean> {
  const stat = await lstat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  return stat !== null && !stat.isFile();
}

/**
 * Writes a file so that a reader sees the old one or the new one, never a part. What is there and is no regular file is
 * written to as it is.
 */
export async function writeWhole(file: string, bytes: Uint8Array | string): Promise<void> {
  // Nobody can put a link of his own where this will be, and what is there already is not ours to write or to remove.
  const part = `${file}.${randomBytes(8).toString("hex")}.tmp`;
  let made = false;
  try {
    if (await isNoFile(file)) return await writeFile(file, bytes);
    const handle = await open(part, "wx");
    made = true;
    await written(handle, bytes);
    await rename(part, file);
  } catch (error) {
    if (made) await rm(part, { force: true });
    throw notWritten(file, error as NodeJS.ErrnoException);
  }
}

/** Writes a file that must not be there yet, and of which nothing is left where it cannot be written whole. */
export async function writeNew(file: string, text: string, mode: number): Promise<void> {
  const handle = await open(file, "wx", mode).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw notWritten(file, error);
    throw new UserError(`${file} is there already`, "name another, or move it away");
  });
  await written(handle, text).catch(async (error: NodeJS.ErrnoException) => {
    await rm(file, { force: true });
    throw notWritten(file, error);
  });
}

/** On the disk before anything is done with its name: a loss of power would leave an empty file under it. */
async function written(handle: FileHandle, bytes: Uint8Array | string): Promise<void> {
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
