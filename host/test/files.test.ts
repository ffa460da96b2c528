// What is written where a person says.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { writeWhole } from "../src/files.ts";

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
