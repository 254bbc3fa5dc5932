//! The result: `report.json` for programs, a table and a page for people.

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{machine, plot, samples::Samples};

/// A row as it was measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) unit: &'static str,
    /// Highest ratio that was promised; none where nothing was.
    pub(super) goal: Option<f64>,
    pub(super) peel: Samples,
    pub(super) baseline: Option<Samples>,
}

/// A row of `report.json`. `peel` and `baseline` are costs: less is better, a ratio below 1 is a win.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was measured, from the general to the special: `tree.walk.cold`.
    pub name: String,
    /// Peel's median.
    pub peel: f64,
    /// Median of overlayfs in the same run; null where it has no counterpart.
    pub baseline: Option<f64>,
    /// `peel / baseline`.
    pub ratio: Option<f64>,
    /// Of both costs.
    pub unit: &'static str,
    /// Measurements of each side, the smaller number.
    pub runs: usize,
    /// (largest − smallest) / median, the larger of both sides.
    pub spread: f64,
}

impl Measured {
    pub(super) fn row(&self) -> Row {
        let baseline = self.baseline.as_ref().map(Samples::median);
        let runs = |samples: &Samples| samples.values().len();
        let spread = self.baseline.as_ref().map_or(0.0, Samples::spread);
        Row {
            name: self.name.clone(),
            peel: self.peel.median(),
            baseline,
            ratio: baseline.filter(|&baseline| baseline > 0.0).map(|baseline| self.peel.median() / baseline),
            unit: self.unit,
            runs: self.baseline.as_ref().map_or(usize::MAX, runs).min(runs(&self.peel)),
            spread: spread.max(self.peel.spread()),
        }
    }
}

/// Everything that one run of the benchmark found.
#[derive(Clone, Debug)]
pub struct Report {
    pub(super) machine: String,
    /// Entries and bytes of the tree, once it was looked at.
    pub(super) tree: Option<(u64, u64)>,
    pub(super) measured: Vec<Measured>,
    /// What could not be measured, and why.
    pub(super) skipped: Vec<(String, String)>,
    /// How often the machine was watched before a measurement, and how often it did not become idle.
    pub(super) watched: (usize, usize),
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            machine: machine::description(),
            tree: None,
            measured: Vec::new(),
            skipped: Vec::new(),
            watched: (0, 0),
        }
    }

    pub(super) fn add(&mut self, measured: Measured) {
        self.measured.push(measured);
    }

    pub(super) fn skip(&mut self, what: &str, why: &anyhow::Error) {
        tracing::warn!("{what} is not measured: {why:#}");
        self.skipped.push((what.to_owned(), format!("{why:#}")));
    }

    pub(super) fn count_sample(&mut self, idle: bool) {
        self.watched.0 += 1;
        self.watched.1 += usize::from(!idle);
    }

    /// All rows, in the order in which they were measured.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.measured.iter().map(Measured::row).collect()
    }

    /// Writes `report.json` and `index.html` into `directory`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let json = serde_json::to_string_pretty(&self.rows())? + "\n";
        for (name, text) in [("report.json", json), ("index.html", plot::page(self))] {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// What a reader must know besides the rows, a sentence each.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![self.machine.clone()];
        if let Some((entries, bytes)) = self.tree {
            remarks.push(format!("tree: {entries} entries, {} MB", bytes / 1_000_000));
        }
        if let (watched @ 1.., busy) = self.watched {
            remarks.push(format!("{busy} of {watched} measurements began on a busy machine"));
        }
        let skipped = self.skipped.iter();
        remarks.extend(skipped.map(|(what, why)| format!("{what} was not measured: {why}")));
        remarks
    }
}

/// A cost with as many digits as mean something.
pub(super) fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

/// The same of a number that need not be there.
pub(super) fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), digits)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<28} {:>10} {:>10} {:>6} {:>6}  {:<4} {:>4} {:>7}",
            "row", "Peel", "overlayfs", "ratio", "goal", "unit", "runs", "spread"
        )?;
        for measured in &self.measured {
            let row = measured.row();
            let (baseline, ratio, goal) = (or_dash(row.baseline), or_dash(row.ratio), or_dash(measured.goal));
            writeln!(
                f,
                "{:<28} {:>10} {baseline:>10} {ratio:>6} {goal:>6}  {:<4} {:>4} {:>7.2}",
                row.name,
                digits(row.peel),
                row.unit,
                row.runs,
                row.spread
            )?;
        }
        self.remarks().iter().try_for_each(|remark| writeln!(f, "{remark}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(peel: &[f64], baseline: Option<&[f64]>) -> Row {
        let samples = |values: &[f64]| values.iter().copied().collect::<Samples>();
        Measured {
            name: "x".into(),
            unit: "s",
            goal: None,
            peel: samples(peel),
            baseline: baseline.map(samples),
        }
        .row()
    }

    #[test]
    fn a_row_has_medians_their_ratio_and_the_larger_spread() {
        let row = measured(&[1.0, 1.0, 1.5], Some(&[2.0, 2.0, 4.0, 2.0]));
        assert_eq!((row.peel, row.baseline, row.ratio), (1.0, Some(2.0), Some(0.5)));
        assert_eq!((row.runs, row.spread), (3, 1.0));
    }

    #[test]
    fn without_a_baseline_both_are_null() {
        let row = serde_json::to_value(measured(&[1.0], None)).unwrap_or_default();
        assert!(row["baseline"].is_null() && row["ratio"].is_null());
        assert_eq!(row["runs"], 1);
    }
}
