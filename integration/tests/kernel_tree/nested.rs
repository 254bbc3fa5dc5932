//! overlayfs inside a container, on what the container sees of its image: as Docker in a pod does it.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use peel_integration::{cri::ContainerSpec, process::run};
use peel_proto::runtime::v1::Mount;

use super::ground::Ground;

/// Upper and work directory are on a volume, since overlayfs takes no other overlay for them.
const SCRIPT: &str = "busybox mount -t overlay overlay -o lowerdir=/data,upperdir=upper,workdir=work merged && \
    busybox cmp merged/000 /data/000 && echo changed >merged/000 && rm merged/001 && ls merged && \
    cat merged/000 && busybox umount merged";

pub(crate) fn overlay_in_a_container(ground: &Ground) -> Result<()> {
    let node = &ground.node;
    let (_, image) = ground.pull("nested")?;
    let scratch = node.dir().make("scratch")?;
    let mut spec = ContainerSpec::new(&image, &[]);
    spec.mounts.push(Mount {
        container_path: "/scratch".into(),
        host_path: scratch.display().to_string(),
        ..Mount::default()
    });
    let container = node.start(&spec)?;
    let script = format!("cd /scratch && mkdir upper work merged && {SCRIPT}");
    // The container's namespaces with the test's capabilities: a privileged pod needs some that a build machine lacks.
    let mut command = std::process::Command::new("timeout");
    command.args(["--signal=KILL", "20", "nsenter", "--mount", "--root", "--target"]);
    command.arg(container.pid.to_string()).args(["/bin/busybox", "sh", "-c"]).arg(script);
    let printed = run(&mut command)?;
    ensure!(printed == "000\n002\n003\nchanged\n", "{printed:?}");
    let upper = |name: &str| fs::symlink_metadata(Path::new(&scratch).join("upper").join(name));
    ensure!(upper("000")?.is_file() && !upper("001")?.is_file(), "the upper directory is not the volume's");
    node.remove(&container)
}
