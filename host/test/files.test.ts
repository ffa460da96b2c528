// What is written where a person says.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open, type FileHandle } from "node:fs/promises";
import { after, test } from "node:test";

import { writeNew, writeWhole } from "../src/files.ts";

const folder = mkdtempSync(join(tmpdir(), "dvdi-files-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

test("a file is replaced whole, and nothing is left beside it", async () => {
  writeFileSync(at("old"), "old");
  await writeWhole(at("old"), "new");
  await writeWhole(at("fresh"), Uint8Array.of(1, 2));
  assert.equal(readFileSync(at("old"), "utf8"), "new");
  assert.deepEqual([...readFileSync(at("fresh"))], [1, 2]);
  assert.deepEqual(readdirSync(folder).sort(), ["fresh", "old"]);
  await assert.rejects(writeWhole(at("none/file"), "x"), /cannot be written: there is no folder/);
  assert.deepEqual(readdirSync(folder).sort(), ["fresh", "old"]);
});

test("a link that somebody put beside it is not followed", async () => {
  writeFileSync(at("victim"), "precious");
  symlinkSync(at("victim"), at(`page.${process.pid}.tmp`));
  await writeWhole(at("page"), "page");
  assert.equal(readFileSync(at("victim"), "utf8"), "precious");
  assert.ok(lstatSync(at("page")).isFile());
  assert.equal(readFileSync(at("page"), "utf8"), "page");
});

test("what is no file is written to, and stays", async () => {
  assert.equal(spawnSync("mkfifo", [at("fifo")]).status, 0);
  const reader = spawn("cat", [at("fifo")], { stdio: ["ignore", "pipe", "inherit"] });
  const read = reader.stdout.setEncoding("utf8").toArray();
  await writeWhole(at("fifo"), "through");
  const stays = lstatSync(at("fifo")).isFIFO();
  // A reader of a FIFO that is gone would wait for ever.
  if (!stays) reader.kill();
  assert.equal((await read).join(""), "through");
  assert.ok(stays);

  symlinkSync(at("behind"), at("link"));
  await writeWhole(at("link"), "by the link");
  assert.ok(lstatSync(at("link")).isSymbolicLink());
  assert.equal(readFileSync(at("behind"), "utf8"), "by the link");
});

/** Instead of a method of every open file. */
async function instead<Name extends "sync" | "writeFile">(name: Name, work: FileHandle[Name]): Promise<() => void> {
  const probe = await open(at("."));
  const all = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  const before = all[name];
  all[name] = work;
  return () => (all[name] = before);
}

test("what is written is on the disk before it has its name", async () => {
  writeFileSync(at("kept"), "old");
  const seen: string[] = [];
  const restore = await instead("sync", () => {
    seen.push(readFileSync(at("kept"), "utf8"));
    return Promise.resolve();
  });
  await writeWhole(at("kept"), "new").finally(restore);
  assert.deepEqual(seen, ["old"]);
});

test("a new file that cannot be written whole is none", async () => {
  const restore = await instead("writeFile", () => Promise.reject(new Error("no space")));
  await assert.rejects(writeNew(at("secret"), "half", 0o600), /no space/).finally(restore);
  await writeNew(at("secret"), "whole", 0o600);
  assert.equal(readFileSync(at("secret"), "utf8"), "whole");
  assert.equal(lstatSync(at("secret")).mode & 0o777, 0o600);
  await assert.rejects(writeNew(at("secret"), "again", 0o600), /is there already/);
});
