//! Lets the program need nothing but libc. Rust's standard library asks for libgcc_s, an unwinder, which magent never
//! uses because it aborts on a panic; a linker script of that name takes what little is asked for from the archive that
//! comes with every gcc instead.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=packaging/build.rs");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let directory = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
        let script = Path::new(&directory).join("libgcc_s.so");
        fs::write(&script, "INPUT(-lgcc_eh)\n").expect("OUT_DIR can be written to");
        println!("cargo::rustc-link-search=native={directory}");
    }
}
