//! Rows `tree.*` and `fusetree.*`: cached content, against overlayfs on the same image.
//!
//! ```text
//!  round: workload 1: [overlayfs cold warm warm] [erofs cold warm warm] [fuse cold warm warm]
//!         workload 2: [erofs …] [fuse …] [overlayfs …]                          and so on
//! ```
//!
//! Cold is the first run after the caches were dropped, warm are the two that follow it. Who begins changes from
//! workload to workload and from round to round.

use anyhow::{Context as _, Result, ensure};

use super::{
    Options, image, machine,
    nodes::{Front, LAZY, PLAIN, Subject},
    report::{Measured, Report},
    samples::Samples,
    work::Done,
    workload::{Caches, Workload},
};
use crate::node::Images;

/// The tree that the promises are about.
const LEAST_FILES: u64 = 20_000;
const LEAST_BYTES: u64 = 800_000_000;

/// Warm runs after each cold one.
const WARM_RUNS: usize = 2;

fn row(front: Front, workload: Workload, caches: Caches) -> String {
    format!("{}.{}.{caches}", front.prefix(), workload.name())
}

fn wants(options: &Options, front: Front, workload: Workload) -> bool {
    Caches::ALL.iter().any(|&caches| options.selection.wants(&row(front, workload, caches)))
}

/// Measures the selected rows.
///
/// # Errors
/// When a part of the baseline fails, or a filesystem shows another tree than overlayfs does. A front end that
/// cannot be started is left out and said so.
pub(super) fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let wanted = |front| Workload::ALL.iter().any(|&workload| wants(options, front, workload));
    let fronts: Vec<Front> = Front::ALL.into_iter().filter(|&front| wanted(front)).collect();
    if fronts.is_empty() {
        return Ok(());
    }
    tracing::info!("preparing the image");
    let (plain, lazy) = image::images()?;
    let images = Images::start()?;
    images.push(&plain, PLAIN)?;
    images.push(&lazy, LAZY)?;
    tracing::info!("starting overlayfs");
    let overlayfs = Subject::overlayfs(&images).context("overlayfs")?;
    report.tree = Some(check_tree(&overlayfs)?);
    let mut sides = vec![Side::new(None, overlayfs)];
    for front in fronts {
        tracing::info!("starting {}", front.prefix());
        match Subject::peel(&images, front) {
            Ok(subject) => sides.push(Side::new(Some(front), subject)),
            Err(error) => report.skip(front.prefix(), &error),
        }
    }
    // With nobody to compare, the baseline is no news.
    if sides.len() > 1 {
        rounds(options, report, &mut sides)?;
    }
    collect(options, report, &sides)
}

/// The tree as overlayfs shows it: entries and bytes.
fn check_tree(overlayfs: &Subject) -> Result<(u64, u64)> {
    let entries = overlayfs.perform(Workload::Walk)?.items;
    let files = overlayfs.perform(Workload::Readall)?;
    ensure!(
        files.items >= LEAST_FILES && files.bytes >= LEAST_BYTES,
        "the image is too small: {} files, {} bytes",
        files.items,
        files.bytes
    );
    Ok((entries, files.bytes))
}

/// One filesystem and what was measured of it.
struct Side {
    /// None for overlayfs.
    front: Option<Front>,
    subject: Subject,
    cells: Vec<(Workload, Cell)>,
}

#[derive(Default)]
struct Cell {
    cold: Samples,
    warm: Samples,
    /// What the workload did; always the same.
    done: Option<Done>,
}

impl Side {
    fn new(front: Option<Front>, subject: Subject) -> Self {
        let cells = Workload::ALL.into_iter().map(|workload| (workload, Cell::default())).collect();
        Self { front, subject, cells }
    }

    fn cell(&self, workload: Workload) -> Option<&Cell> {
        self.cells.iter().find(|(of, _)| *of == workload).map(|(_, cell)| cell)
    }

    fn wants(&self, options: &Options, workload: Workload) -> bool {
        match self.front {
            Some(front) => wants(options, front, workload),
            None => Front::ALL.into_iter().any(|front| wants(options, front, workload)),
        }
    }

    /// A cold run, and the warm ones after it.
    fn measure(&mut self, workload: Workload) -> Result<()> {
        let Some((_, cell)) = self.cells.iter_mut().find(|(of, _)| *of == workload) else { return Ok(()) };
        machine::drop_caches()?;
        let cold = self.subject.perform(workload)?;
        cell.cold.add(cold.cost);
        for _ in 0..WARM_RUNS {
            let warm = self.subject.perform(workload)?;
            ensure!((warm.items, warm.bytes) == (cold.items, cold.bytes), "warm and cold runs differ");
            cell.warm.add(warm.cost);
        }
        cell.done = Some(cold);
        Ok(())
    }
}

fn rounds(options: &Options, report: &mut Report, sides: &mut [Side]) -> Result<()> {
    for round in 0..options.runs {
        tracing::info!("round {} of {}", round + 1, options.runs);
        for (turn, workload) in Workload::ALL.into_iter().enumerate() {
            for position in 0..sides.len() {
                let side = (position + turn + round) % sides.len();
                let side = &mut sides[side];
                if side.wants(options, workload) {
                    report.count_sample(machine::wait_until_idle(options.patience)?);
                    side.measure(workload)?;
                }
            }
        }
    }
    Ok(())
}

fn collect(options: &Options, report: &mut Report, sides: &[Side]) -> Result<()> {
    let Some((overlayfs, fronts)) = sides.split_first() else { return Ok(()) };
    for side in fronts {
        let Some(front) = side.front else { continue };
        for workload in Workload::ALL {
            let (Some(peel), Some(baseline)) = (side.cell(workload), overlayfs.cell(workload)) else {
                continue;
            };
            let (Some(one), Some(other)) = (peel.done, baseline.done) else { continue };
            ensure!(
                (one.items, one.bytes) == (other.items, other.bytes),
                "{}.{}: Peel's tree is not overlayfs': {one:?}, {other:?}",
                front.prefix(),
                workload.name()
            );
            for caches in Caches::ALL {
                let of = |cell: &Cell| match caches {
                    Caches::Cold => cell.cold.clone(),
                    Caches::Warm => cell.warm.clone(),
                };
                let name = row(front, workload, caches);
                if options.selection.wants(&name) {
                    report.add(Measured {
                        name,
                        unit: workload.unit(),
                        goal: (front == Front::Erofs).then(|| workload.goal(caches)),
                        peel: of(peel),
                        baseline: Some(of(baseline)),
                    });
                }
            }
        }
    }
    Ok(())
}
