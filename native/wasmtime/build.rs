//! Copies the C headers (with the generated `wasmtime/conf.h`) to where CMake looks for them:
//! the folder named by DVDI_WASMTIME_HEADERS.

use std::{env, fs, io, path::Path};

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn main() {
    println!("cargo:rerun-if-env-changed=DVDI_WASMTIME_HEADERS");
    let include = env::var("DEP_WASMTIME_C_API_INCLUDE").expect("wasmtime-c-api names its headers");
    if let Some(target) = env::var_os("DVDI_WASMTIME_HEADERS") {
        copy(Path::new(&include), Path::new(&target)).expect("headers can be copied");
    }
}
