//! Rows `handover.pause_ms*`: what a reader notices of a daemon that is killed.
//!
//! `peel supervise` runs the daemon; two readers read files of a container past the page cache, without end. Measured is
//! the time from `kill -9` to the end of a read that began right after it: the daemon's start, and the hand-over of the
//! connection.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use rustix::{
    fs::{Advice, fadvise},
    process::Signal,
};

use super::{
    Options, machine,
    nodes::Front,
    report::{Measured, Report},
    samples::Samples,
};
use crate::{
    containerd::Version,
    node::{App, Images, Node},
    peel::Run,
    wait,
};

const ROWS: [(&str, Front); 2] =
    [("handover.pause_ms", Front::Erofs), ("handover.pause_ms.fuse", Front::Fuse)];

/// Kills in each round.
const KILLS: u64 = 10;
/// Between two of them: a daemon that served for less than 100 ms is made to wait by its supervisor.
const LIFE: Duration = Duration::from_millis(400);
const LIMIT: Duration = Duration::from_secs(20);

/// Measures the selected rows.
///
/// # Errors
/// When the node does not come up, or a read fails.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    for (name, front) in ROWS {
        if options.selection.wants(name) {
            let peel = pauses(front, options, report)?;
            report.add(Measured { name: name.into(), unit: "ms", goal: None, peel, baseline: None });
        }
    }
    Ok(())
}

fn pauses(front: Front, options: &Options, report: &mut Report) -> Result<Samples> {
    let images = Images::start()?;
    let app = App::push(&images, "handover")?;
    let mut node = Node::builder(Version::Debian12)
        .images(&images)
        .peel_config(front.settings())
        .run_peel(Run::Supervised)
        .start()?;
    let image = app.image(&node);
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &[])?;
    let files: Arc<[PathBuf]> =
        (0..4).map(|number| container.rootfs.join(format!("data/{number:03}"))).collect();
    files.iter().try_for_each(|file| read_anew(file))?;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (1..3)
        .map(|first| {
            let (files, stop) = (Arc::clone(&files), Arc::clone(&stop));
            thread::spawn(move || {
                let mut unending = files.iter().cycle().skip(first).take_while(|_| !stop.load(Relaxed));
                unending.try_for_each(|file| read_anew(file))
            })
        })
        .collect();
    let mut pause = || -> Result<f64> {
        thread::sleep(LIFE);
        let killed = wait::until("a serving process", LIMIT, || {
            Ok(node.peel()?.signal_server(Signal::KILL).ok().map(|()| Instant::now()))
        })?;
        read_anew(&files[0])?;
        Ok(killed.elapsed().as_secs_f64() * 1e3)
    };
    let mut samples = Vec::new();
    for _ in 0..options.runs {
        report.count_sample(machine::wait_until_idle(Duration::ZERO)?);
        for _ in 0..KILLS {
            samples.push(pause()?);
        }
    }
    stop.store(true, Relaxed);
    for reader in readers {
        reader.join().map_err(|_| anyhow!("a reader panicked"))??;
    }
    Ok(samples.into_iter().collect())
}

/// Reads a file whose pages the kernel was asked to forget.
fn read_anew(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    ensure!(content.len() == 1 << 20, "{} has {} bytes", path.display(), content.len());
    Ok(())
}
