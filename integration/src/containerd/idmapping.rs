//! A runtime for pods in user namespaces, on a machine whose runc is 1.1.
//!
//! containerd 2.x asks such a pod's runtime for idmapped mounts, which runc has from 1.2, because it gives
//! `/etc/hosts` and its like the pod's ids. Debian 12's runc does all the rest and passes over those ids: the files
//! belong to nobody in the container, which no test looks at. So this runtime is runc, but for what it says of itself.
//! A newer runc of Debian's needs a newer C library than the machine has.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Its name among containerd's runtimes.
pub(crate) const HANDLER: &str = "idmap";

const SCRIPT: &str = r#"#!/bin/sh
for word; do
    if [ "$word" = features ]; then
        runc features | sed 's/"linux": {/"linux": {"mountExtensions": {"idmap": {"enabled": true}},/'
        exit
    fi
done
exec runc "$@"
"#;

pub(super) fn binary(dir: &Path) -> PathBuf {
    dir.join("runc-idmap")
}

/// Writes it.
pub(super) fn write(dir: &Path) -> Result<()> {
    fs::write(binary(dir), SCRIPT)?;
    Ok(fs::set_permissions(binary(dir), fs::Permissions::from_mode(0o755))?)
}
