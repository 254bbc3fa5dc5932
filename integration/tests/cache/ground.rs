//! A node whose Peel has 200 MiB, and three images that do not fit together.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use peel_integration::{
    containerd::Version,
    images::{EntryKind, HandMade, Image, Layer, Layout, artefact, small_app},
    node::{Container, Images, Node},
    peel::Run,
    wait,
};
use rustix::fs::{Advice, fadvise};
use serde_json::Value;

/// Longest wait for something that takes a round of housekeeping or two.
pub(crate) const SOON: Duration = Duration::from_secs(90);
const DISK_MIB: u64 = 200;
/// Files of 1 MiB in each image: three images are 96 % of the disk.
pub(crate) const FILES: u64 = 64;

/// See the module's header.
pub(crate) struct Ground {
    pub(crate) node: Node,
    pub(crate) images: Vec<String>,
    pub(crate) containers: Vec<Container>,
}

impl Ground {
    /// A container of each image, of whose data nothing was read yet.
    pub(crate) fn start(run: Run) -> Result<Self> {
        let registry = Images::start()?;
        let settings =
            "[cache]\nhigh_percent = 80\nlow_percent = 75\nmin_bytes = \"8MiB\"\ninterval = \"1s\"";
        let node = Node::builder(Version::Sid)
            .images(&registry)
            .peel_config(settings.parse()?)
            .peel_disk(DISK_MIB)
            .run_peel(run)
            .start()?;
        let mut ground = Self { node, images: Vec::new(), containers: Vec::new() };
        for number in 0..3 {
            let name = format!("big{number}:1");
            registry.push(&image(number)?, &name)?;
            let image = ground.node.image(&name);
            ground.node.cri().pull(&image)?;
            ground.containers.push(ground.node.start_container(&image, &[])?);
            ground.images.push(image);
        }
        Ok(ground)
    }

    pub(crate) fn root(&mut self) -> Result<PathBuf> {
        Ok(self.node.peel()?.root())
    }

    pub(crate) fn stats(&mut self) -> Result<Value> {
        self.node.peel()?.json("stats")
    }

    /// No reader was ever failed or fed something wrong.
    pub(crate) fn check_stats(&mut self) -> Result<()> {
        let stats = self.stats()?;
        ensure!(stats["failed_reads"] == 0 && stats["wrong_chunks"] == 0, "{stats}");
        Ok(())
    }

    /// Waits until eviction has nothing to do, or is stuck.
    pub(crate) fn wait_for_state(&mut self, stuck: bool) -> Result<()> {
        wait::until("the state of eviction", SOON, || {
            let state = self.stats()?["gc_state"].as_str().unwrap_or_default().to_owned();
            Ok((state.starts_with("stuck") == stuck).then_some(()))
        })
    }
}

/// An image of [`FILES`] files; kept in the harness's cache.
fn image(number: u64) -> Result<Layout> {
    let made = artefact(&format!("cache-ground-{number}"), |directory| {
        HandMade::default().image(&plain_image(number, FILES)?)?.write(directory).map(drop)
    });
    made.map(Layout::open)
}

/// One of so many files whose layers have no index.
pub(crate) fn plain_image(number: u64, files: u64) -> Result<Image> {
    let layers = vec![small_app::base_layer()?, data(number, files)];
    Ok(Image::new(layers, &["/bin/sleep", "1000000"]))
}

fn data(number: u64, files: u64) -> Layer {
    small_app::data_layer("data", 50 + number, files)
}

/// Reads the data of a container from the host; all of it has to be what the image has.
pub(crate) fn read_all(container: &Container, number: u64) -> Result<()> {
    read_files(container, number, FILES)
}

/// The same, of an image of so many files.
pub(crate) fn read_files(container: &Container, number: u64, files: u64) -> Result<()> {
    for entry in data(number, files).entries() {
        let EntryKind::File(content) = &entry.kind else { continue };
        let mut expected = Vec::new();
        content.copy_to(&mut expected)?;
        let path = container.rootfs.join(OsStr::from_bytes(&entry.path));
        let mut file = File::open(&path)?;
        // From Peel, not from the page cache.
        fadvise(&file, 0, None, Advice::DontNeed)?;
        let mut found = Vec::new();
        file.read_to_end(&mut found).with_context(|| format!("reading {}", path.display()))?;
        ensure!(found == expected, "{} has wrong bytes", path.display());
    }
    Ok(())
}

/// Percent in use as the kubelet has it, to a hundredth.
pub(crate) fn used_percent(root: &Path) -> Result<f64> {
    let stat = rustix::fs::statvfs(root)?;
    let (free, all) = (u32::try_from(stat.f_bavail)?, u32::try_from(stat.f_blocks)?);
    Ok(100.0 - f64::from(free) * 100.0 / f64::from(all))
}

/// Does `work`, and gives the highest usage seen meanwhile.
pub(crate) fn highest_usage(root: &Path, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| -> Result<f64> {
            let mut most = 0.0_f64;
            while !stop.load(Relaxed) {
                most = most.max(used_percent(root)?);
                thread::sleep(Duration::from_millis(2));
            }
            Ok(most)
        });
        let done = work();
        stop.store(true, Relaxed);
        let most = sampler.join().map_err(|_| anyhow!("the sampler panicked"))??;
        done.map(|()| most)
    })
}

/// Writes until the disk has no room, or `most` bytes. Says how many it were.
pub(crate) fn write_foreign(root: &Path, most: u64) -> Result<u64> {
    let mut file = File::options().append(true).create(true).open(root.join("foreign"))?;
    let block = vec![1; 64 << 10];
    let mut written = 0;
    while written < most {
        match file.write(&block) {
            Ok(0) => break,
            Ok(bytes) => written += bytes as u64,
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
            Err(error) => return Err(error.into()),
        }
    }
    file.sync_all()?;
    Ok(written)
}
