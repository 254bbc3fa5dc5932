//! One run of the benchmark: its parts one after the other, so that none disturbs another.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    content, daemon, first_pull, gc, handover, index, mounts, report::Report, selection::Selection, update,
};
use crate::peel;

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which rows.
    pub selection: Selection,
    /// Rounds; each gives one cold and two warm measurements of a workload.
    pub runs: usize,
    /// How long a measurement waits for an idle machine before it begins all the same.
    pub patience: Duration,
}

/// Measures the selected rows.
///
/// # Errors
/// When Peel was not built, the baseline fails, or nothing could be measured. A part that this machine cannot do is
/// left out; the report says why.
pub fn run(options: &Options) -> Result<Report> {
    // Before the minutes of preparing, not after.
    tracing::info!("with {}", peel::binary()?.display());
    let mut report = Report::new();
    type Part = fn(&Options, &mut Report) -> Result<()>;
    let parts: [(&str, Part); 8] = [
        ("mount", mounts::measure),
        ("index", index::measure),
        ("daemon", daemon::measure),
        ("first_pull", first_pull::measure),
        ("handover", handover::measure),
        ("update", update::measure),
        ("gc", gc::measure),
        ("content", content::measure),
    ];
    for (name, measure) in parts {
        if let Err(error) = measure(options, &mut report) {
            report.skip(name, &error);
        }
    }
    ensure!(!report.rows().is_empty(), "nothing was measured:\n{}", report.remarks().join("\n"));
    Ok(report)
}
