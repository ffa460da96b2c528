// The exports of a policy (docs/abi.md). A house's main.ts re-exports all of this and puts its own policy in place.
import { runCanary } from "../lifecycle/canary";
import { runCleanup, runConfigure, runParse, runPrepare, runRecover } from "../lifecycle/operations";

/** Marks the blob as one that speaks version 1 of the ABI. */
export const dvdi_abi_1: i32 = 1;

/** Room for `len` bytes that the engine fills. Never freed: an instance lives for one operation. */
export function dvdi_alloc(len: i32): i32 {
  return <i32>heap.alloc(<usize>(<u32>len));
}

export function configure(ptr: i32, len: i32): u64 {
  return runConfigure(ptr, len).packed();
}

export function parse(ptr: i32, len: i32): u64 {
  return runParse(ptr, len).packed();
}

export function prepare(ptr: i32, len: i32): u64 {
  return runPrepare(ptr, len).packed();
}

export function cleanup(ptr: i32, len: i32): u64 {
  return runCleanup(ptr, len).packed();
}

export function recover(ptr: i32, len: i32): u64 {
  return runRecover(ptr, len).packed();
}

export function canary(ptr: i32, len: i32): u64 {
  return runCanary(ptr, len).packed();
}
