//! Re-exports the C API so that its symbols are kept in the static library.
pub use wasmtime_c_api::*;
