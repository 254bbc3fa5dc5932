//! Compiles the `.proto` files with protox: no `protoc` is needed to build Peel.

use std::{error::Error, path::Path};

const FILES: [&str; 9] = [
    "containerd/services/content/v1/content.proto",
    "containerd/services/leases/v1/leases.proto",
    "containerd/services/snapshots/v1/snapshots.proto",
    "containerd/services/transfer/v1/transfer.proto",
    "containerd/types/transfer/imagestore.proto",
    "containerd/types/transfer/registry.proto",
    "peel/control/v1/control.proto",
    "peel/metadata/v1/metadata.proto",
    "runtime/v1/api.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [root])?;
    tonic_prost_build::configure()
        // Maps are stored and compared: one order for equal contents.
        .btree_map(".")
        // Its own Debug, which shows no secret, is in src/lib.rs.
        .skip_debug(["runtime.v1.AuthConfig"])
        // `peel … --json` prints the answers of the control API as they are.
        .type_attribute(".peel.control.v1", "#[derive(serde::Serialize)]")
        .compile_fds(descriptors)?;
    Ok(())
}
