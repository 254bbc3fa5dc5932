//! `peel fsck`: asks the daemon to check its state directory, or checks it where none runs.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use peel_proto::peel::control::v1::{FsckFinding, FsckProgress, FsckRequest};
use serde::Serialize;

use super::{Query, connect, table};
use crate::{layers::fsck::check_directory, lock};

/// State directory of a daemon that nobody configured otherwise.
const ROOT: &str = "/var/lib/peel";
/// Longest silence of the daemon: it says something every few MiB, and waits for eviction to be over once.
const SILENCE: Duration = Duration::from_secs(600);

/// A check of all that is on the disk.
#[derive(Debug, Clone, clap::Args)]
pub struct Fsck {
    /// Remove what is damaged: it is fetched or resolved again
    #[arg(long)]
    pub repair: bool,
    /// State directory; by default that of the daemon that answers, and where none does, /var/lib/peel
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// How to ask.
    #[command(flatten)]
    pub query: Query,
}

/// All that a check said.
#[derive(Debug, Default, Serialize)]
struct Report {
    layers: u64,
    chunks: u64,
    bytes: u64,
    findings: Vec<FsckFinding>,
}

/// Checks, and prints with `print`.
///
/// # Errors
/// It cannot be checked, or something was found that was not repaired.
pub async fn fsck(options: &Fsck, print: fn(String) -> Result<()>) -> Result<()> {
    let report = check(options).await?;
    let text = if options.query.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.text() };
    print(text)?;
    let left = report.findings.iter().filter(|finding| !finding.repaired).count();
    let remedy = if options.repair { "" } else { "; peel fsck --repair removes it, to be fetched again" };
    ensure!(left == 0, "{left} of {} findings are not repaired{remedy}", report.findings.len());
    Ok(())
}

async fn check(options: &Fsck) -> Result<Report> {
    let control = &options.query.control;
    if options.root.is_none() && tokio::net::UnixStream::connect(control).await.is_ok() {
        return online(options, String::new()).await;
    }
    let root = options.root.as_deref().unwrap_or_else(|| Path::new(ROOT));
    let root = fs::canonicalize(root).with_context(|| format!("nothing to check: {}", root.display()))?;
    if let Some(_lock) = lock::try_lock(&root)? {
        let mut report = Report::default();
        check_directory(&root, options.repair, &mut |progress| {
            report.add(progress);
            ControlFlow::Continue(())
        })?;
        return Ok(report);
    }
    if tokio::net::UnixStream::connect(control).await.is_err() {
        bail!(
            "a daemon uses {}, and none answers at {}: name its socket with --control, or stop it",
            root.display(),
            control.display()
        );
    }
    online(options, root.display().to_string()).await
}

async fn online(options: &Fsck, root: String) -> Result<Report> {
    let request = FsckRequest { repair: options.repair, root };
    let answer = connect(&options.query.control).await?.fsck(request).await;
    let mut answers = answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner();
    let mut report = Report::default();
    loop {
        let next = tokio::time::timeout(SILENCE, answers.message()).await;
        match next.context("the daemon says nothing any more")?? {
            Some(progress) => report.add(progress),
            None => return Ok(report),
        }
    }
}

impl Report {
    fn add(&mut self, progress: FsckProgress) {
        let FsckProgress { layers, of_layers, chunks, bytes, finding } = progress;
        (self.layers, self.chunks, self.bytes) = (layers, chunks, bytes);
        self.findings.extend(finding);
        let mut terminal = std::io::stderr();
        if terminal.is_terminal() {
            let bytes = table::bytes(bytes);
            let _ = write!(terminal, "\r{layers} of {of_layers} layers, {chunks} chunks, {bytes} \x1b[K");
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if std::io::stderr().is_terminal() {
            text.push('\n');
        }
        for finding in &self.findings {
            let repaired = if finding.repaired { "repaired: " } else { "" };
            text += &format!("{repaired}{}: {}\n", finding.path, finding.detail);
            if !finding.layer.is_empty() {
                let image = if finding.image.is_empty() { "no image" } else { &finding.image };
                text += &format!("    layer {} of {image}\n", finding.layer);
            }
        }
        let (layers, chunks) = (self.layers, self.chunks);
        text += &format!("{layers} layers, {chunks} chunks, {} checked, ", table::bytes(self.bytes));
        text + &format!("{} findings\n", self.findings.len())
    }
}
