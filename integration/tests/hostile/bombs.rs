//! Chunks that inflate to more than they say.

use anyhow::{Result, ensure};
use peel_layer::testing::{EStargzWriter, TarEntry};
use serde_json::json;

use super::{defects::made, node::Victim};

/// A file that claims a hundred bytes, from a stream that inflates to 256 MiB. The TOC is in order, so the pull
/// works; no more is inflated than was claimed, and what comes has another digest.
pub(crate) fn bomb_in_a_chunk(victim: &mut Victim) -> Result<()> {
    let zeros = vec![0; 256 << 20];
    let writer = EStargzWriter::new()
        .chunk_size(zeros.len())
        .entry(&TarEntry::file("bomb", &zeros))
        .entry(&TarEntry::file("f", b"honest"));
    let layer = writer.finish_edited(|toc| {
        toc[0]["size"] = json!(100);
        toc[0]["chunkSize"] = json!(0);
        toc[0]["chunkDigest"] = toc[1]["chunkDigest"].clone();
    });
    drop(zeros);
    let image = victim.push("bomb", vec![made(&layer)])?;
    victim.node.cri().pull(&image.reference)?;
    let printed = victim.run(&image, "cat /f; stat -c ' %s' /bomb; cat /bomb; cat /f")?;
    ensure!(printed == "honest 100\ncat: read error: Input/output error\nhonest", "{printed}");
    let stats = victim.node.peel()?.json("stats")?;
    ensure!(stats["wrong_chunks"].as_u64() > Some(0) && stats["failed_reads"].as_u64() > Some(0), "{stats}");
    ensure!(victim.layers(&image.layer(1)?)?[0]["ours"] == true);
    Ok(())
}

/// Chunks as large as they may be, of next to nothing, all wanted at once: one by one they are decoded, stored and
/// handed out.
pub(crate) fn largest_chunks_at_once(victim: &mut Victim) -> Result<()> {
    const FILES: u64 = 6;
    const LENGTH: usize = 64 << 20;
    let mut zeros = vec![0; LENGTH];
    let mut writer = EStargzWriter::new().chunk_size(LENGTH);
    for number in 0..FILES {
        // Each differs: content that is here already is copied, not decoded.
        zeros[0] = u8::try_from(number)?;
        writer = writer.entry(&TarEntry::file(&format!("big/{number}"), &zeros));
    }
    let image = victim.push("largest", vec![made(&writer.finish())])?;
    victim.node.cri().pull(&image.reference)?;
    // A byte needs the whole chunk.
    let script = "for file in /big/*; do head -c 1 $file | wc -c & done; wait";
    let printed = victim.run(&image, script)?;
    ensure!(printed.lines().filter(|line| *line == "1").count() == usize::try_from(FILES)?, "{printed}");
    let growth = victim.growth()?;
    ensure!(growth <= 3 * LENGTH as u64, "anonymous memory grew by {} MiB", growth >> 20);
    Ok(())
}
