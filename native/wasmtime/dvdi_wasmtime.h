// What the crate beside this file adds to wasmtime's C API.
#ifndef DVDI_WASMTIME_DVDI_WASMTIME_H_
#define DVDI_WASMTIME_DVDI_WASMTIME_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wasmtime.h>

#ifdef __cplusplus
extern "C" {
#endif

// wasmtime_module_new on threads of its own, which have ended when it returns: the functions of the module
// are compiled side by side, and the compiler, which recurses with the code that it is given, has stacks of
// `stack_bytes`. `threads`: so many, 0 for one for each processor, four at most. False where the threads
// cannot be had; neither `out` nor `error` is set then, and exactly one of them otherwise (the caller's to
// delete).
bool dvdi_wasmtime_module_new(wasm_engine_t* engine, const uint8_t* wasm, size_t len, size_t threads,
                              size_t stack_bytes, wasmtime_module_t** out, wasmtime_error_t** error);

// SHA-256 by the processor's own instructions where it has them. Thread-safe; `bytes` may be null where `len`
// is 0.
void dvdi_wasmtime_sha256(const uint8_t* bytes, size_t len, uint8_t out[32]);

#ifdef __cplusplus
}
#endif

#endif  // DVDI_WASMTIME_DVDI_WASMTIME_H_
