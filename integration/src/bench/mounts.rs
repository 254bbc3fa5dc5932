//! Rows `mount.*`: what a mounted layer costs, whatever is in it.
//!
//! An image as `peel-erofs` writes it, mounted by mount(2) as Peel does it. The data file is a sparse one on disk
//! instead of one under FUSE: the kernel only opens it, so that this measures the mount and not the daemon.

use std::{
    ffi::CString,
    fs::File,
    io::{BufWriter, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};
use peel_erofs::{Metadata, NodeKind, Tree, write_image};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{
    Options, machine,
    report::{Measured, Report},
    samples::Samples,
};
use crate::guard::TestDir;

/// Mounts whose memory is looked at together: one is lost in what the kernel does meanwhile.
const TOGETHER: u32 = 200;

/// Rows and the files of the layer that each mounts.
const TIMES: [(&str, u32); 2] = [("mount.ms.1k", 1_000), ("mount.ms.1m", 1_000_000)];
const MEMORY: &str = "mount.kib";

/// Measures the selected rows.
///
/// # Errors
/// When the kernel has no EROFS, or none over files.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let dir = TestDir::new()?;
    for (name, files) in TIMES {
        if options.selection.wants(name) {
            let layer = Layer::write(&dir, name, files)?;
            let peel =
                (0..options.runs).map(|_| layer.mount_time(options, report)).collect::<Result<Samples>>()?;
            report.add(Measured { name: name.into(), unit: "ms", goal: None, peel, baseline: None });
        }
    }
    if options.selection.wants(MEMORY) {
        let layer = Layer::write(&dir, MEMORY, 1_000)?;
        let peel =
            (0..options.runs).map(|_| layer.memory(&dir, options, report)).collect::<Result<Samples>>()?;
        report.add(Measured { name: MEMORY.into(), unit: "KiB", goal: None, peel, baseline: None });
    }
    Ok(())
}

/// A tree image with its data file.
struct Layer {
    image: PathBuf,
    data: PathBuf,
    mount_point: PathBuf,
}

impl Layer {
    /// Files of 4 KiB, a thousand to a directory.
    fn write(dir: &TestDir, name: &str, files: u32) -> Result<Self> {
        let root = || Metadata { permissions: 0o755, ..Metadata::default() };
        let mut tree = Tree::new(root());
        let mut directory = tree.root();
        for file in 0..files {
            if file % 1000 == 0 {
                let name = format!("{:04}", file / 1000);
                directory = tree.insert(tree.root(), name.as_bytes(), NodeKind::Directory, root())?;
            }
            let kind = NodeKind::File { size: 4096, start_block: file };
            tree.insert(directory, format!("{file:07}").as_bytes(), kind, root())?;
        }
        let folder = dir.make(name)?;
        let (image, data) = (folder.join("tree.erofs"), folder.join("data"));
        let mut out = BufWriter::new(File::create(&image)?);
        write_image(&tree, files.into(), &mut out)?;
        out.flush()?;
        File::create(&data)?.set_len(u64::from(files) * 4096)?;
        Ok(Self { image, data, mount_point: dir.make(&format!("{name}/mnt"))? })
    }

    fn mount_on(&self, point: &Path) -> Result<()> {
        let options = CString::new([b"device=", self.data.as_os_str().as_bytes()].concat())?;
        mount(&self.image, point, "erofs", MountFlags::RDONLY, options.as_c_str())
            .with_context(|| format!("mounting {} as EROFS", self.image.display()))
    }

    /// Milliseconds of mount(2), nothing of the image in the page cache.
    fn mount_time(&self, options: &Options, report: &mut Report) -> Result<f64> {
        machine::drop_caches()?;
        report.count_sample(machine::wait_until_idle(options.patience)?);
        let begin = Instant::now();
        self.mount_on(&self.mount_point)?;
        let elapsed = begin.elapsed();
        unmount(&self.mount_point, UnmountFlags::empty())?;
        Ok(elapsed.as_secs_f64() * 1e3)
    }

    /// KiB of unreclaimable kernel memory per mount.
    fn memory(&self, dir: &TestDir, options: &Options, report: &mut Report) -> Result<f64> {
        let points =
            (0..TOGETHER).map(|number| dir.make(&format!("many/{number}"))).collect::<Result<Vec<_>>>()?;
        machine::drop_caches()?;
        report.count_sample(machine::wait_until_idle(options.patience)?);
        let kernel = || machine::meminfo(&["SUnreclaim", "Percpu", "KernelStack"]);
        let before = kernel()?;
        points.iter().try_for_each(|point| self.mount_on(point))?;
        let after = kernel()?;
        points.iter().try_for_each(|point| unmount(point, UnmountFlags::empty()))?;
        let kib =
            u32::try_from(after.saturating_sub(before)).context("the kernel's memory grew by terabytes")?;
        Ok(f64::from(kib) / f64::from(TOGETHER))
    }
}
