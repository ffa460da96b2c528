// The functions that the engine gives to a policy (docs/abi.md). AssemblyScript takes the name of this file as
// the name of the module that they come from: "dvdi". Only those that a policy uses become imports of its blob.
// Each takes a request in UTF-8 JSON and returns its answer as `ptr << 32 | len`.

/** Calls to plugins, side by side. */
export declare function plugin_call(ptr: usize, len: usize): u64;
/** Stages for the workload, after their Mounts. */
export declare function stage(ptr: usize, len: usize): u64;
/** Attachment and history of a volume, as they are now. */
export declare function query(ptr: usize, len: usize): u64;
/** A line for the engine's log. */
export declare function log(ptr: usize, len: usize): u64;
/** Wall time, and what is left until the operation's deadline. */
export declare function now(ptr: usize, len: usize): u64;
/** Waits. */
export declare function sleep(ptr: usize, len: usize): u64;
/** 32 random bits. */
export declare function random(ptr: usize, len: usize): u64;
