// The stock policy: the library's exports, with the hooks at their defaults. A house rule is a file like this one,
// with a class of its own (docs/policies.md).
export { dvdi_abi_1, dvdi_alloc, configure, parse, prepare, cleanup, recover, canary } from "./abi/exports";
