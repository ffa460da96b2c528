// The page of `dvdi-policy replay --html`, in a real browser: what it shows, and that nothing in records can do anything there.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { exported, recordOf } from "../../host/test/records.ts";
import { ROOT, SHIPPED } from "./instance.ts";

const CHROMIUM = "/usr/bin/chromium";
const found = spawnSync(CHROMIUM, ["--version"], { encoding: "utf8" });
const skip = found.status === 0 ? false : `${CHROMIUM} cannot be run: the Debian package chromium is missing`;

const folder = mkdtempSync(join(tmpdir(), "dvdi-page-test-"));
const PAGE = join(folder, "page.html");
after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

const UNSIZED = "type=volume,src=data,dst=/data,volume-driver=nfs";
const EVIL = `<script>document.title='taken'</script><img src=x onerror="document.title='taken'">`;

/** What a measuring script writes into the page's title. */
interface Measured {
  openHeight: number;
  closedHeight: number;
  sideBySide: boolean;
  bars: number[];
  gone: string;
  wide: number;
  window: number;
}

/** The page as the browser has it in the end. */
function dom(file: string): string {
  const args = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1200,900"];
  const own = [`--user-data-dir=${join(folder, "profile")}`, "--host-resolver-rules=MAP * ~NOTFOUND"];
  const { status, stdout, stderr } = spawnSync(CHROMIUM, [...args, ...own, "--dump-dom", `file://${file}`], {
    encoding: "utf8",
    timeout: 120_000,
  });
  assert.equal(status, 0, stderr);
  return stdout;
}

before(() => {
  const records = join(folder, "records.jsonl");
  const stock = readFileSync(SHIPPED);
  const all = [
    recordOf(stock, {}, { scope: "kept" }),
    recordOf(stock, { text: UNSIZED, missing: ["data"] }, { scope: EVIL, operation: EVIL, kind: EVIL }),
    recordOf(stock, { text: UNSIZED, missing: ["data"], faults: 0.3, seed: 3 }, { scope: "retried" }),
  ];
  writeFileSync(records, exported(all));
  const policy = join(ROOT, "build/house.wasm");
  const args = ["replay", records, "--policy", policy, "--html", PAGE];
  const told = spawnSync(process.execPath, [join(ROOT, "build/host/dvdi-policy.mjs"), ...args], { encoding: "utf8" });
  assert.equal(told.status, 4, told.stderr);
});

test("the page needs nothing else, and says who decided what", { skip }, () => {
  const page = readFileSync(PAGE, "utf8");
  assert.doesNotMatch(page, /<(link|script|img|iframe)\b|https?:|url\(/);
  const shown = dom(PAGE);
  assert.match(shown, /<title>house 1\.0\.0, replayed<\/title>/, "no script of a record's ran");
  assert.doesNotMatch(shown, /<script|<img/);
  assert.match(shown, /&lt;script&gt;document\.title/, "it is shown as it is");
  assert.match(shown, /prepare: ok → refused, no Create/);
  assert.match(shown, /Create data: was made, and would not be/);
  assert.match(shown, /refused: house rule: volume data does not exist yet/);
});

test("an operation opens to its calls in time, beside what was decided again", { skip }, () => {
  // The page forbids scripts: in this copy alone one may measure it.
  const measure = `const it = document.getElementById("record-2");
    const closedHeight = it.getBoundingClientRect().height;
    for (const one of document.querySelectorAll("details")) one.open = true;
    const at = (part) => it.querySelector(part).getBoundingClientRect();
    const [, then, now] = it.querySelectorAll(".differs th, .differs td");
    document.title = JSON.stringify({
      closedHeight, openHeight: it.getBoundingClientRect().height,
      sideBySide: then.getBoundingClientRect().right <= now.getBoundingClientRect().left + 1 && at(".timeline").width > 500,
      bars: [...it.querySelectorAll(".timeline rect")].map((one) => one.getBoundingClientRect().left),
      gone: [...it.querySelectorAll("tr.gone td:nth-child(2)")].map((one) => one.textContent).join("; "),
      wide: document.documentElement.scrollWidth, window: innerWidth,
    });`;
  const copy = join(folder, "measured.html");
  const page = readFileSync(PAGE, "utf8").replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, "");
  writeFileSync(copy, page.replace("</body>", `<script>${measure}</script></body>`));
  const [, title = ""] = /<title>(.*?)<\/title>/.exec(dom(copy)) ?? [];
  const seen = JSON.parse(title.replaceAll("&quot;", '"').replaceAll("&gt;", ">").replaceAll("&amp;", "&")) as Measured;
  assert.ok(seen.openHeight > 2 * seen.closedHeight, title);
  assert.ok(seen.sideBySide, title);
  assert.ok(seen.wide <= seen.window, title);
  assert.ok(seen.bars.length >= 5, title);
  assert.deepEqual(
    seen.bars,
    [...seen.bars].sort((a, b) => a - b),
    "later calls are further right",
  );
  assert.match(seen.gone, /^Create data.*; Mount data; stage data rw$/);
});

test("the browser holds to the page's rule against scripts", { skip }, () => {
  const copy = join(folder, "forced.html");
  writeFileSync(copy, readFileSync(PAGE, "utf8").replace("</body>", "<script>document.title='taken'</script></body>"));
  assert.match(dom(copy), /<title>house 1\.0\.0, replayed<\/title>/);
});
