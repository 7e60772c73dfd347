//! How the programs are linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The launcher waits as long as its container runs. Addresses that the linker has filled in are
    // pages of the file, which all launchers share; those that the loader fills in are each one's
    // own (docs/decisions/0017-supervisor.md).
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu") {
        println!("cargo::rustc-link-arg-bin=updater-launch=-no-pie");
    }
}
