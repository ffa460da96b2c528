//! Re-exports the C API so that its symbols are kept in the static library, and adds what it lacks.
use std::thread::{available_parallelism, Builder, JoinHandle};

use rayon_core::ThreadPoolBuilder;
use sha2::{Digest, Sha256};
pub use wasmtime_c_api::*;

/// An agent has other work than the compilation of a policy.
const MOST_THREADS: usize = 4;

/// See dvdi_wasmtime.h.
///
/// # Safety
/// `bytes` are `len` readable ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvdi_wasmtime_sha256(bytes: *const u8, len: usize, out: &mut [u8; 32]) {
    let bytes = if len == 0 {
        &[]
    } else {
        unsafe { std::slice::from_raw_parts(bytes, len) }
    };
    out.copy_from_slice(&Sha256::digest(bytes));
}

/// See dvdi_wasmtime.h.
///
/// # Safety
/// As `wasmtime_module_new`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dvdi_wasmtime_module_new(
    engine: &wasm_engine_t,
    wasm: *const u8,
    len: usize,
    threads: usize,
    stack_bytes: usize,
    out: &mut *mut wasmtime_module_t,
    error: &mut Option<Box<wasmtime_error_t>>,
) -> bool {
    let threads = if threads == 0 {
        available_parallelism()
            .map_or(1, |n| n.get())
            .min(MOST_THREADS)
    } else {
        threads
    };
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .spawn_handler(|thread| {
            let run = Builder::new()
                .name("dvdi-compile".into())
                .stack_size(stack_bytes);
            running.push(run.spawn(move || thread.run())?);
            Ok(())
        })
        .build();
    let built = pool.map(|pool| {
        // Raw pointers do not cross threads by themselves; the caller of this function waits for the pool.
        let (engine, wasm) = (engine as *const wasm_engine_t as usize, wasm as usize);
        let (failed, module) = pool.install(|| {
            let mut module = std::ptr::null_mut();
            let engine = unsafe { &*(engine as *const wasm_engine_t) };
            let failed =
                unsafe { wasmtime_module_new(engine, wasm as *const u8, len, &mut module) };
            (failed.map(|e| Box::into_raw(e) as usize), module as usize)
        });
        *out = module as *mut wasmtime_module_t;
        *error = failed.map(|e| unsafe { Box::from_raw(e as *mut wasmtime_error_t) });
    });
    // The pool is gone, so its threads end: none of them outlives the call.
    for thread in running {
        let _ = thread.join();
    }
    built.is_ok()
}
