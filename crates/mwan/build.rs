//! What the linker is told.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=no-unwind-tables.ld");
    // Addresses to be moved when the program is loaded are a bitmap (DT_RELR) instead of 24 bytes each: 0.1 MB of flash less. musl
    // and glibc know it since 2022 (1.2.4, 2.36); older linkers ignore the word.
    argument("-Wl,-z,pack-relative-relocs");
    // A release aborts when it panics (profile.release): the message has the place, and tables that tell how to unwind the stack
    // are 0.45 MB that nobody reads. Without them RUST_BACKTRACE shows nothing; a debug build does.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        argument("-Wl,--no-eh-frame-hdr");
        argument(&format!("{folder}/no-unwind-tables.ld"));
    }
}

fn argument(argument: &str) {
    println!("cargo:rustc-link-arg-bin=mwan={argument}");
}
