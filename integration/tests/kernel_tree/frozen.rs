//! The daemon is halted: what containers have had of their image goes on as if nothing had happened.

use anyhow::{Result, ensure};

use super::ground::{Ground, Reader, bounded, layer_mounts};

/// Reads once more what was read: names, attributes, xattrs, contents, programs.
const AGAIN: &str =
    "ls -lR /data /app /etc /bin && stat /data/003 && sha256sum /data/000 && cat /app/variant";

pub(crate) fn containers_go_on(ground: &mut Ground) -> Result<()> {
    let (_, image) = ground.pull("frozen")?;
    let node = &mut ground.node;
    let container = node.start_container(&image, &[])?;
    ensure!(!layer_mounts(node)?.is_empty(), "no layer is mounted: {}", node.peel()?.log_tail(20));
    let rootfs = container.rootfs.clone();
    let again = |node: &peel_integration::node::Node| -> Result<[String; 4]> {
        let exec = node.exec(&container, &["sh", "-c", AGAIN])?;
        ensure!(exec.exit_code == 0, "{exec:?}");
        // Without access times: nothing else of a tree may change.
        Ok([
            exec.text().lines().filter(|line| !line.starts_with("Access: 2")).collect(),
            bounded("ls", &["-lR"], &rootfs)?,
            bounded("getfattr", &["-Rhdm-"], &rootfs.join("data"))?,
            bounded("sha256sum", &[], &rootfs.join("data/000"))?,
        ])
    };
    let before = again(node)?;
    node.peel()?.freeze(true)?;
    let after = again(node)?;
    ensure!(before == after, "{before:#?}\nbecame\n{after:#?}");
    // What is not here waits: it ends by SIGKILL, or goes on with the daemon.
    let killed = Reader::start(&rootfs.join("data/002"))?;
    let mut patient = Reader::start(&rootfs.join("data/003"))?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    killed.kill()?;
    patient.ensure_waits()?;
    ensure!(again(node)? == before, "readers that wait changed what others see");
    node.peel()?.freeze(false)?;
    patient.finish()?;
    let sums = node.exec(&container, &["sh", "-c", "cat /data/* | wc -c"])?;
    ensure!(sums.text() == "4194304", "{sums:?}");
    node.remove(&container)
}
