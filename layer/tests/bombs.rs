//! Small inputs that claim or inflate to a lot: refused or decoded in little memory. A process of its own, for it looks at
//! the most memory that it ever had.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use peel_layer::testing::{EStargzWriter, TarEntry, decode_chunk};
use peel_layer::{ChunkId, Limits};
use serde_json::json;

/// Bytes that each bomb inflates to.
const LARGE: usize = 96 << 20;

/// The most resident memory so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Runs `body` in a process of its own, which compares its peak memory before and after.
fn with_little_memory(body: impl FnOnce()) {
    // Resets the peak to what is resident now (proc(5), clear_refs 5).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    body();
    let grown = peak() - before;
    assert!(grown < LARGE / 4, "{grown} bytes more");
}

/// One test, not several: they would share the peak.
#[test]
fn bombs() {
    let limits = Limits::default();

    // White space around an empty list of entries.
    let mut text = b"{\"entries\":[".to_vec();
    text.resize(LARGE, b' ');
    text.extend(b"]}");
    let layer = EStargzWriter::new().finish_raw(&text);
    drop(text);
    let layer = without_toc_text(layer);
    with_little_memory(|| assert_eq!(layer.index(&limits).unwrap().built.summary.entries, 0));

    // One endless string, of a field that nobody knows.
    let mut text = b"{\"x\":\"".to_vec();
    text.resize(LARGE, b'x');
    text.extend(b"\",\"entries\":[]}");
    let layer = EStargzWriter::new().finish_raw(&text);
    drop(text);
    let layer = without_toc_text(layer);
    with_little_memory(|| drop(layer.index(&limits).unwrap_err()));

    // A small chunk in the middle of a large member; and the member's rest is not inflated.
    let content = vec![0; LARGE];
    let layer = EStargzWriter::new().chunk_size(LARGE).entry(&TarEntry::file("f", &content));
    let layer = layer.finish_edited(|entries| {
        entries[0]["size"] = json!(1000);
        entries[0]["chunkDigest"] = json!(peel_layer::ChunkDigest::of(&[0; 1000]));
        entries[0]["innerOffset"] = json!(LARGE - 1000);
        let entry = entries[0].as_object_mut().unwrap();
        entry.remove("chunkSize");
    });
    drop(content);
    let layer = without_toc_text(layer);
    with_little_memory(|| {
        let index = layer.index(&limits).unwrap().index;
        let chunk = decode_chunk(&index, ChunkId(0), layer.range(index.blob_range(ChunkId(0)))).unwrap();
        assert_eq!(chunk.unwrap().bytes(), [0; 1000]);
    });
}

/// The same layer without the copy of its TOC that a test might want.
fn without_toc_text(layer: peel_layer::testing::EStargz) -> peel_layer::testing::EStargz {
    peel_layer::testing::EStargz { toc: Vec::new(), ..layer }
}
