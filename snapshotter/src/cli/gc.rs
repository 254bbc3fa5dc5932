//! `peel gc` and `peel evict`: makes room now.

use std::time::Duration;

use peel_proto::peel::control::v1::{EvictRequest, EvictedLayer, GcRequest, GcResponse};

use super::{Query, connect_for, table};

/// Longest wait: evicting a whole large cache is many holes.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A round of eviction.
#[derive(Debug, Clone, clap::Args)]
pub struct Gc {
    /// Percent of the filesystem in use to go down to; by default cache.low_percent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub to: Option<u32>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// How to ask.
    #[command(flatten)]
    pub query: Query,
}

/// Everything of an image or a layer.
#[derive(Debug, Clone, clap::Args)]
pub struct Evict {
    /// An image reference or manifest digest, or a layer's digest; of a digest, twelve hex digits are enough
    #[arg(value_name = "IMAGE|LAYER")]
    pub what: String,
    /// How to ask.
    #[command(flatten)]
    pub query: Query,
}

/// Asks and formats.
///
/// # Errors
/// No daemon answers, or it cannot look at the disk.
pub async fn gc(options: &Gc) -> anyhow::Result<String> {
    let request = GcRequest { to_percent: options.to, dry_run: options.dry_run };
    let mut client = connect_for(&options.query.control, TIMEOUT).await?;
    let answer = client.gc(request).await?.into_inner();
    Ok(if options.query.json {
        serde_json::to_string_pretty(&answer)? + "\n"
    } else {
        text(&answer, options.dry_run)
    })
}

/// Asks and formats.
///
/// # Errors
/// No daemon answers, nothing goes by that name, or a layer cannot be evicted from.
pub async fn evict(options: &Evict) -> anyhow::Result<String> {
    let mut client = connect_for(&options.query.control, TIMEOUT).await?;
    let answer = client.evict(EvictRequest { what: options.what.clone() }).await;
    let evicted = answer.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner().evicted;
    Ok(if options.query.json { serde_json::to_string_pretty(&evicted)? + "\n" } else { layers(&evicted) })
}

fn text(answer: &GcResponse, dry_run: bool) -> String {
    let disk = answer.filesystem.unwrap_or_default();
    let mut text = format!(
        "{} % of {} were in use, {} of it by the cache; {} had to go\n",
        disk.used_percent,
        table::bytes(disk.capacity_bytes),
        table::bytes(answer.cached_bytes),
        table::bytes(answer.wanted_bytes)
    );
    text += &layers(&answer.evicted);
    let verb = if dry_run { "would be freed" } else { "freed" };
    text += &format!("{} {verb}\n", table::bytes(answer.freed_bytes));
    if answer.freed_bytes < answer.wanted_bytes {
        text += "the goal is not reached: what is left is other data, or cache.min_bytes\n";
    }
    text
}

fn layers(evicted: &[EvictedLayer]) -> String {
    let mut rows = vec![["LAYER", "CHUNKS", "BYTES"].map(str::to_owned).to_vec()];
    for layer in evicted {
        let digest = layer.digest.get(..19).unwrap_or("-").to_owned();
        rows.push(vec![digest, layer.chunks.to_string(), table::bytes(layer.bytes)]);
    }
    table::columns(&rows)
}
