//! The messages of the gRPC API, and a client of it for the tests, made from `proto/`.
//!
//! protox reads the files, so that a build needs no `protoc`.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let schema = protox::compile(FILES, [FOLDER])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        .build_server(false)
        .build_client(false)
        // Derived, it would print a token.
        .skip_debug(["dev.sigstore.fulcio.v2.Credentials"])
        .compile_fds(schema.clone())?;
    let client = out.join("client");
    fs::create_dir_all(&client)?;
    tonic_prost_build::configure().build_server(false).out_dir(client).compile_fds(schema)?;
    Ok(())
}

const FOLDER: &str = "proto";
const FILES: [&str; 2] = ["fulcio.proto", "health.proto"];
