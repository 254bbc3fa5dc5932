//! Everything that the daemon counts, in one answer: for `peel stats` and for the metrics alike.

use peel_proto::peel::control::v1::StatsResponse;
use tonic::Status;

use crate::{generations::Generations, layers::LazyLayers};

/// Where the numbers are.
#[derive(Debug, Clone)]
pub struct Numbers {
    layers: LazyLayers,
    generations: Generations,
}

impl Numbers {
    /// Of `layers`, and of what the filesystem answered.
    #[must_use]
    pub fn new(layers: LazyLayers, generations: Generations) -> Self {
        Self { layers, generations }
    }

    /// The numbers of now. Reads metadata and the mount table, off the runtime's threads.
    ///
    /// # Errors
    /// `Internal`: they cannot be read.
    pub async fn read(&self) -> Result<StatsResponse, Status> {
        let Self { layers, generations } = self.clone();
        let read = move || {
            let mut stats = layers.stats()?;
            stats.stranded_snapshots = generations.stranded()?;
            Ok::<_, anyhow::Error>(stats)
        };
        let mut stats = off_the_runtime(read).await?;
        if let Some(counters) = self.generations.counters() {
            let counted = counters.snapshot();
            stats.pending_reads = counted.pending_reads;
            stats.events.insert("fuse_panics".to_owned(), counted.panics);
            stats.events.insert("fuse_reads_failed".to_owned(), counted.failed_reads);
            stats.fuse_requests = counted
                .requests
                .into_iter()
                .map(|(opcode, count)| (format!("{opcode:?}").to_lowercase(), count))
                .collect();
        }
        stats.generation = self.generations.current().get();
        stats.lost_connections = self.generations.lost();
        Ok(stats)
    }

    /// Whether new containers can be served.
    ///
    /// # Errors
    /// What is amiss, for people.
    pub async fn health(&self) -> Result<(), String> {
        let Self { layers, generations } = self.clone();
        if generations.counters().is_none() {
            return Err(format!("FUSE connection {} has ended", generations.current()));
        }
        off_the_runtime(move || layers.check_metadata().map_err(Into::into))
            .await
            .map_err(|status| format!("the metadata cannot be read: {}", status.message()))
    }
}

/// Runs what blocks on the disk.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| Status::internal(format!("{error:#}")))
}
