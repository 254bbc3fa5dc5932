//! Streamed layers: tars, blobs, seek indexes.

use sha2::{Digest as _, Sha256};

use super::super::{gzip, stream, tar::seal};
use super::limits;
use crate::seek::{SeekIndex, Spans};
use crate::stream::Compression;
use crate::{BlobOffset, UnitId};

/// A seek index, as it is and with its checksum made good.
pub fn seek_index(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let blob = gzip(&[7; 5000]);
    for _ in 0..2 {
        if let Ok(index) = SeekIndex::parse(&bytes[..]) {
            let (mut blob_end, mut stream_end) = (BlobOffset(0), 0);
            for unit in (0..index.unit_count()).map(UnitId) {
                let (range, stream) = (index.blob_range(unit), index.stream_range(unit));
                assert!(range.start <= range.end && range.end >= blob_end && range.end <= index.end().blob);
                assert!(stream.start == stream_end && stream.end >= stream.start);
                (blob_end, stream_end) = (range.end, stream.end);
                let _ = index.span_digest(unit);
                // Whatever the index claims, more bytes than asked for do not come.
                let mut output = vec![0; 6000];
                let _ = Spans::new(&index, unit, &blob[10..]).and_then(|mut span| span.fill(&mut output));
                let _ = Spans::new(&index, unit, &[]).and_then(|mut span| span.fill(&mut output));
            }
            assert_eq!(stream_end, index.end().stream);
        }
        if let Some((body, checksum)) = bytes.split_last_chunk_mut::<32>() {
            *checksum = Sha256::digest(body).into();
        }
    }
}

/// A tar, as it is and with the checksums of its headers made good.
pub fn tar(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for _ in 0..2 {
        any_cut_gives_the_same(&bytes, Compression::None);
        for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
            seal(block);
        }
    }
}

/// A blob that says itself how it is compressed.
pub fn blob(bytes: &[u8]) {
    any_cut_gives_the_same(bytes, Compression::Unknown);
}

/// Cut into pieces or not, a blob is refused, or gives the same layer.
fn any_cut_gives_the_same(bytes: &[u8], announced: Compression) {
    let whole = stream(bytes, announced, &limits(), &mut || usize::MAX);
    let mut seed = Sha256::digest(bytes).into_iter().cycle();
    let mut cut = || usize::from(seed.next().unwrap_or(1)) * 7;
    match (whole, stream(bytes, announced, &limits(), &mut cut)) {
        (Ok(whole), Ok(cut)) => {
            assert!(whole.bytes == cut.bytes && whole.data == cut.data && whole.diff_id == cut.diff_id);
            whole.check_decoding(bytes);
        }
        (whole, cut) => assert!(whole.is_err() && cut.is_err(), "{:?} {:?}", whole.err(), cut.err()),
    }
}
