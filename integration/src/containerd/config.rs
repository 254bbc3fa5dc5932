//! containerd's configuration for a test, in the two dialects (contract §4).
//!
//! What differs from a node's: everything is below the test's folder, nothing listens on TCP, no CNI (pods use the
//! host's network), no NRI socket (its path is the machine's), and scores of the OOM killer are only raised
//! (`restrict_oom_score_adj`): lowering them needs CAP_SYS_RESOURCE, which a build machine may lack.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{
    Version,
    idmapping::{self, HANDLER},
};

/// How Peel is registered with it.
#[derive(Debug, Clone)]
pub struct PeelPlugin {
    /// The snapshots socket.
    pub socket: PathBuf,
    /// What CRI reports as the image filesystem; must exist.
    pub exports_root: PathBuf,
}

/// What a test chooses.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which containerd.
    pub version: Version,
    /// The proxy snapshotter `peel`, when there is one.
    pub peel: Option<PeelPlugin>,
    /// The snapshotter that CRI uses.
    pub snapshotter: &'static str,
    /// The image of sandboxes.
    pub sandbox_image: String,
    /// Whether it uses unpigz where there is one.
    pub pigz: bool,
}

pub(super) fn socket(dir: &Path) -> PathBuf {
    dir.join("containerd.sock")
}

pub(super) fn root(dir: &Path) -> PathBuf {
    dir.join("root")
}

pub(super) fn state(dir: &Path) -> PathBuf {
    dir.join("state")
}

pub(super) fn certs_d(dir: &Path) -> PathBuf {
    dir.join("certs.d")
}

/// The whole file.
pub(super) fn text(dir: &Path, settings: &Settings) -> String {
    let mut out = common(dir, if settings.version.is_2() { 3 } else { 2 });
    if let Some(peel) = &settings.peel {
        out += &proxy_plugin(peel);
    }
    if settings.version.is_2() {
        out += &cri_3(dir, settings);
        out += &transfer(settings);
    } else {
        out += &cri_2(dir, settings);
    }
    out
}

fn common(dir: &Path, version: u8) -> String {
    // Snapshotters that need devices or modules only fill the log; tracing has no collector here.
    format!(
        r#"version = {version}
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
"#,
        root = root(dir).display(),
        state = state(dir).display(),
        socket = socket(dir).display(),
        opt = dir.join("opt").display(),
    )
}

fn proxy_plugin(peel: &PeelPlugin) -> String {
    format!(
        r#"[proxy_plugins.peel]
  type = "snapshot"
  address = "{}"
  capabilities = ["remap-ids"]
  [proxy_plugins.peel.exports]
    root = "{}"
    enable_remote_snapshot_annotations = "true"
"#,
        peel.socket.display(),
        peel.exports_root.display(),
    )
}

/// 1.6 and 1.7.
fn cri_2(dir: &Path, settings: &Settings) -> String {
    format!(
        r#"[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
{limits}  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_tcp_service = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    disable_snapshot_annotations = false
    discard_unpacked_layers = false
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{runc}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{HANDLER}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{HANDLER}.options]
        Root = "{runc}"
        BinaryName = "{binary}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{cni}"
"#,
        sandbox = settings.sandbox_image,
        limits = LIMITS,
        snapshotter = settings.snapshotter,
        runc = dir.join("runc").display(),
        binary = idmapping::binary(dir).display(),
        certs = certs_d(dir).display(),
        cni = dir.join("cni").display(),
    )
}

/// 2.x: CRI is two plugins, and the streaming server is the gRPC plugin's.
fn cri_3(dir: &Path, settings: &Settings) -> String {
    let mut out = format!(
        r#"[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_tcp_service = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{}"
  disable_snapshot_annotations = false
  discard_unpacked_layers = false
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{}"
"#,
        settings.snapshotter,
        certs_d(dir).display(),
        settings.sandbox_image,
    );
    let _ = write!(
        out,
        r#"[plugins."io.containerd.cri.v1.runtime"]
  netns_mounts_under_state_dir = true
{LIMITS}  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        Root = "{runc}"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.{HANDLER}]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.{HANDLER}.options]
        Root = "{runc}"
        BinaryName = "{binary}"
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dir = "{cni}"
    conf_dir = "{cni}"
"#,
        runc = dir.join("runc").display(),
        binary = idmapping::binary(dir).display(),
        cni = dir.join("cni").display(),
    );
    out
}

/// Of the runtime's section in both dialects.
const LIMITS: &str = "  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_selinux = false
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
";

/// Listing a snapshotter replaces the default list, so overlayfs is repeated.
fn transfer(settings: &Settings) -> String {
    let mut out = "[plugins.\"io.containerd.transfer.v1.local\"]\n".to_owned();
    for snapshotter in ["overlayfs"].into_iter().chain(settings.peel.as_ref().map(|_| "peel")) {
        let _ = write!(
            out,
            r#"  [[plugins."io.containerd.transfer.v1.local".unpack_config]]
    platform = "linux/amd64"
    snapshotter = "{snapshotter}"
    differ = "walking"
"#
        );
    }
    out
}
