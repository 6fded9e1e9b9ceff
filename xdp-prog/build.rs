//! Compiles the steering program and writes its skeleton.

use std::env;
use std::path::PathBuf;

use libbpf_cargo::SkeletonBuilder;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // The kernel's own headers for this machine's architecture live in a directory of its own.
    let multiarch = format!("/usr/include/{}-linux-gnu", env::consts::ARCH);
    SkeletonBuilder::new()
        .source("src/bpf/steer.bpf.c")
        .clang_args(["-I", &multiarch, "-Wall", "-Werror"])
        .build_and_generate(out.join("steer.skel.rs"))
        .expect("clang and libbpf-dev compile src/bpf/steer.bpf.c; `make setup` installs them");
    println!("cargo::rerun-if-changed=src/bpf");
}
