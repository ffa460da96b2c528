// What the tests of a policy are written with (as-pect): parse, and prepare in the fake world (__tests__/world.mjs).
export { Asked, Outcome, holds, lacks, prepare, prepareAs, prepareOne } from "./__tests__/operation";
export { Parsed, parseWith, source } from "./__tests__/parsing";
export { answer, calls, exists, logs, reset, scope } from "./__tests__/world";
