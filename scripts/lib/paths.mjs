// Where things are: in the checkout, and outside of it what is slow to make and outlives a checkout.
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
// Absolute: cargo and others run in folders of their own.
export const CACHE = resolve(process.env.DVDI_CACHE || join(homedir(), ".cache/dvdi"));

export const POLICY = join(ROOT, "build/policy.wasm");
export const HOUSE_POLICY = join(ROOT, "build/house.wasm");
export const WILD_POLICY = join(ROOT, "build/wild.wasm");
export const HOST_TOOL = join(ROOT, "build/host/dvdi-policy.mjs");
export const NATIVE = join(ROOT, "build/native");
export const WASMTIME = join(ROOT, "native/wasmtime");

/** The programs of a native build folder. */
export const programs = (build = NATIVE) => ({
  dvdi: join(build, "native/cli/dvdi"),
  driver: join(build, "native/driver/dvdi-driver"),
});
