//! Layers that the kernel mounts: what goes on without the daemon, what a read without an answer holds up, what
//! stays behind, and the same tree through every front end.
//!
//! ```text
//! cargo test -p peel-integration --test kernel_tree    # as root, on Debian 12, with peel built
//! ```

mod damaged;
mod frozen;
mod ground;
mod held;
mod layers;
mod nested;
mod removal;
mod scale;
mod unmountable;
mod user_namespaces;

use anyhow::{Result, ensure};
use peel_integration::{
    containerd::Version,
    equality::pods_see_the_same,
    images::{EStargz, Layout, equality::equality_image},
};

use self::ground::{Ground, loop_devices_only, unused_go_at_once};

fn scenarios(mut ground: Ground) -> Result<()> {
    frozen::containers_go_on(&mut ground)?;
    held::nobody_else_waits(&mut ground)?;
    nested::overlay_in_a_container(&ground)?;
    damaged::tree_images_are_built_again(&mut ground)?;
    damaged::cut_bytes_are_fetched_again(&mut ground)?;
    removal::nothing_is_left(&mut ground.node)
}

#[test]
fn on_1_6() -> Result<()> {
    scenarios(Ground::start(Version::Debian12, unused_go_at_once())?)
}

#[test]
fn on_2() -> Result<()> {
    scenarios(Ground::start(Version::Sid, unused_go_at_once())?)
}

#[test]
fn layers_that_cannot_be_mounted() -> Result<()> {
    let mut ground = Ground::start(Version::Sid, unused_go_at_once())?;
    unmountable::shown_through_fuse_or_refused(&mut ground)?;
    removal::nothing_is_left(&mut ground.node)
}

#[test]
fn through_loop_devices() -> Result<()> {
    scenarios(Ground::start(Version::Sid, loop_devices_only())?)
}

fn equality_layout() -> Result<Layout> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    EStargz::default().convert(&equality_image()?.write(directory.path())?)
}

fn equality_through_fuse(version: Version) -> Result<()> {
    let mut config = unused_go_at_once();
    config.insert("tree".into(), "fuse".into());
    let mut node = pods_see_the_same(version, &equality_layout()?, config)?;
    ensure!(ground::layer_mounts(&mut node)?.is_empty(), "EROFS, though FUSE was asked for");
    removal::nothing_is_left(&mut node)
}

#[test]
fn equality_through_fuse_on_1_6() -> Result<()> {
    equality_through_fuse(Version::Debian12)
}

#[test]
fn equality_through_fuse_on_2() -> Result<()> {
    equality_through_fuse(Version::Sid)
}

fn equality_through_loop_devices(version: Version) -> Result<()> {
    let mut node = pods_see_the_same(version, &equality_layout()?, loop_devices_only())?;
    let (mounts, devices) = (ground::layer_mounts(&mut node)?.len(), ground::loop_devices(&mut node)?.len());
    ensure!(mounts > 0 && devices == 2 * mounts, "{mounts} layers on {devices} loop devices");
    removal::nothing_is_left(&mut node)
}

#[test]
fn equality_through_loop_devices_on_1_6() -> Result<()> {
    equality_through_loop_devices(Version::Debian12)
}

#[test]
fn equality_through_loop_devices_on_2() -> Result<()> {
    equality_through_loop_devices(Version::Sid)
}
