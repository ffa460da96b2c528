// The exports of a policy (docs/abi.md). A house's main.ts re-exports all of this and puts its own policy in place.
import { runCanary } from "../lifecycle/canary";
import { runCleanup, runConfigure, runParse, runPrepare, runRecover } from "../lifecycle/operations";
import { allocate, pack, textAt } from "./memory";

/** Marks the blob as one that speaks version 1 of the ABI. */
export const dvdi_abi_1: i32 = 1;

export function dvdi_alloc(len: i32): i32 {
  return allocate(len);
}

export function configure(ptr: i32, len: i32): u64 {
  return pack(runConfigure(textAt(ptr, len)));
}

export function parse(ptr: i32, len: i32): u64 {
  return pack(runParse(textAt(ptr, len)));
}

export function prepare(ptr: i32, len: i32): u64 {
  return pack(runPrepare(textAt(ptr, len)));
}

export function cleanup(ptr: i32, len: i32): u64 {
  return pack(runCleanup(textAt(ptr, len)));
}

export function recover(ptr: i32, len: i32): u64 {
  return pack(runRecover(textAt(ptr, len)));
}

export function canary(ptr: i32, len: i32): u64 {
  return pack(runCanary(textAt(ptr, len)));
}
