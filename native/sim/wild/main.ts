//   dvdi-policy build --entry native/sim/wild/main.ts --name wild --version 1.0.0 --out build/wild.wasm
import { runCleanup, runPrepare, runRecover } from "../../../assembly/lifecycle/operations";
import { use } from "../../../assembly/library";
import { Wild, wildly } from "./wild";

export { dvdi_abi_1, dvdi_alloc, configure, parse, canary } from "../../../assembly/abi/exports";

export function prepare(ptr: i32, len: i32): u64 {
  return wildly(runPrepare, ptr, len);
}

export function cleanup(ptr: i32, len: i32): u64 {
  return wildly(runCleanup, ptr, len);
}

export function recover(ptr: i32, len: i32): u64 {
  return wildly(runRecover, ptr, len);
}

use(new Wild());
