// What the tests of a policy are written with (as-pect): prepare against a scripted world (__tests__/world.mjs).
export { Asked, Outcome, holds, lacks, prepare, prepareOne } from "./__tests__/operation";
export { answer, calls, exists, logs, reset, scope } from "./__tests__/world";
