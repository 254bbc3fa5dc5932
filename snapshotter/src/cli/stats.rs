//! `peel stats`: what the cache holds and what was fetched.

use peel_proto::peel::control::v1::{StatsRequest, StatsResponse};

use super::{Query, connect, table};

/// Asks and formats.
///
/// # Errors
/// No daemon answers.
pub async fn stats(query: &Query) -> anyhow::Result<String> {
    let stats = connect(&query.control).await?.stats(StatsRequest {}).await?.into_inner();
    Ok(if query.json { serde_json::to_string_pretty(&stats)? + "\n" } else { text(&stats) })
}

fn text(stats: &StatsResponse) -> String {
    let reads = stats.cache_hits + stats.cache_misses;
    let read_bytes = stats.cache_hit_bytes + stats.cache_miss_bytes;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let of = |present, total| format!("{} of {}", table::bytes(present), table::bytes(total));
    let mut rows = vec![
        row("cache", of(stats.cache_bytes, stats.content_bytes)),
        row("cache on disk", table::bytes(stats.cached_disk_bytes)),
        row("reads", format!("{reads}, {} from the cache", percent(stats.cache_hits, reads))),
        row(
            "bytes read",
            format!(
                "{}, {} from the cache",
                table::bytes(read_bytes),
                percent(stats.cache_hit_bytes, read_bytes)
            ),
        ),
        row(
            "received",
            format!("{} in {} requests", table::bytes(stats.fetched_bytes), stats.fetch_requests),
        ),
    ];
    let causes = stats.bytes_by_cause.iter().filter(|(_, bytes)| **bytes > 0);
    rows.extend(causes.map(|(cause, bytes)| row(&format!("fetched, {cause}"), table::bytes(*bytes))));
    let shared = format!("{} in {} chunks", table::bytes(stats.shared_bytes), stats.shared_chunks);
    rows.extend([
        row("saved by sharing", shared),
        row("wrong chunks", stats.wrong_chunks.to_string()),
        row("failed reads", stats.failed_reads.to_string()),
        row("pending reads", stats.pending_reads.to_string()),
        row("layers", stats.layers.to_string()),
        row("snapshots", stats.snapshots.to_string()),
    ]);
    if let Some(disk) = &stats.filesystem {
        let used = format!("{} % of {} in use", disk.used_percent, table::bytes(disk.capacity_bytes));
        rows.push(row("disk", used));
        rows.push(row("eviction", format!("{}, {} freed", stats.gc_state, table::bytes(stats.freed_bytes))));
        let causes = stats.freed_by_cause.iter().filter(|(_, bytes)| **bytes > 0);
        rows.extend(causes.map(|(cause, bytes)| row(&format!("freed, {cause}"), table::bytes(*bytes))));
        if stats.oldest_access > 0 {
            let age = std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_secs());
            let minutes = age.saturating_sub(stats.oldest_access) / 60;
            rows.push(row("not used for longest", format!("{} h {} min", minutes / 60, minutes % 60)));
        }
        rows.push(row("not stored", format!("{} chunks", stats.unstored_chunks)));
    }
    if stats.lost_connections > 0 {
        rows.push(row("lost connections", stats.lost_connections.to_string()));
    }
    rows.extend(stats.stranded_snapshots.iter().map(|snapshot| row("stranded", snapshot.clone())));
    for image in &stats.images {
        let here = of(image.present_bytes, image.total_bytes);
        rows.push(row("image", format!("{}: {here}, {} layers", image.reference, image.layers)));
    }
    for (reason, count) in &stats.ordinary_images {
        rows.push(row("ordinary", format!("{count} × {reason}")));
    }
    let events = stats.events.iter().filter(|(_, count)| **count > 0);
    rows.extend(events.map(|(event, count)| row(&event.replace('_', " "), count.to_string())));
    for (kind, count) in &stats.fuse_requests {
        rows.push(row(&format!("fuse {kind}"), count.to_string()));
    }
    table::columns(&rows)
}

/// With one digit after the point; of nothing, all is there.
fn percent(part: u64, whole: u64) -> String {
    let permille = u128::from(part).saturating_mul(1000).checked_div(whole.into()).unwrap_or(1000);
    format!("{}.{} %", permille / 10, permille % 10)
}
