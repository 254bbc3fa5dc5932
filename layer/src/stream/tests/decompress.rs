//! Decompressing: every compression, cut anywhere, and everything that is refused.

use super::super::{Compression, StreamError, units::SPACING};
use super::support::*;
use crate::testing::{gzip, stream_whole, tar};

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::bulk::compress(bytes, 3).unwrap()
}

#[test]
fn any_cut_gives_the_same() {
    let content = bytes(300_000, 1);
    let two = |pack: fn(&[u8]) -> Vec<u8>| [pack(&content[..100_000]), pack(&content[100_000..])].concat();
    for (blob, compression) in
        [(two(gzip), Compression::Gzip), (two(zstd), Compression::Zstd), (content.clone(), Compression::None)]
    {
        let (whole, units) = decompress(&blob, Compression::Gzip, &mut Cuts::Whole).unwrap();
        assert!(whole == content);
        assert_eq!(units.compression(), compression);
        assert_eq!((units.blob_size(), units.stream_size()), (blob.len() as u64, content.len() as u64));
        for (seed, max) in [2, 3, 10, 1000, 100_000].into_iter().enumerate() {
            let (cut, again) =
                decompress(&blob, Compression::Unknown, &mut Cuts::random(max, seed as u64)).unwrap();
            assert!(cut == content, "{compression:?} {max}");
            assert_eq!((again.stream, again.blob_size), (units.stream.clone(), units.blob_size));
        }
    }
}

#[test]
fn announced_and_found() {
    let found = |blob: &[u8], announced| {
        decompress(blob, announced, &mut Cuts::Whole).map(|(bytes, units)| (bytes.len(), units.compression()))
    };
    for announced in [Compression::Gzip, Compression::Zstd, Compression::Unknown] {
        assert_eq!(found(&gzip(b"x"), announced).unwrap(), (1, Compression::Gzip));
        assert_eq!(found(&zstd(b"x"), announced).unwrap(), (1, Compression::Zstd));
        assert_eq!(found(b"a tar", announced).unwrap(), (5, Compression::None));
        assert_eq!(found(b"", announced).unwrap(), (0, Compression::None));
    }
    let packed = gzip(b"x");
    assert_eq!(found(&packed, Compression::None).unwrap(), (packed.len(), Compression::None));
}

#[test]
fn what_ends_early_is_refused() {
    let content = bytes(10_000, 2);
    for blob in [gzip(&content), zstd(&content)] {
        for end in 1..blob.len() {
            let error = decompress(&blob[..end], Compression::Gzip, &mut Cuts::Whole).unwrap_err();
            assert!(matches!(error, StreamError::Truncated { .. }), "{end}: {error}");
        }
    }
}

#[test]
fn what_follows_is_refused() {
    for blob in [gzip(b"content"), zstd(b"content")] {
        for garbage in [&[0; 1][..], &[0; 512], b"garbage", &[0xff; 20]] {
            let bad = [&blob, garbage].concat();
            let error = decompress(&bad, Compression::Gzip, &mut Cuts::Whole).unwrap_err();
            let at = blob.len() as u64;
            assert!(
                matches!(error, StreamError::Garbage { at: found, .. } if found.0 == at)
                    || (garbage.len() < 4 && matches!(error, StreamError::Truncated { .. })),
                "{error}"
            );
        }
    }
    // What begins like a member and is none.
    let bad = [gzip(b"content"), vec![0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0]].concat();
    let error = decompress(&bad, Compression::Gzip, &mut Cuts::Whole).unwrap_err();
    assert!(matches!(error, StreamError::Corrupt { .. }), "{error}");
}

#[test]
fn every_damaged_byte_is_noticed_or_harmless() {
    let content = bytes(3000, 3);
    let mut with_checksum = ::zstd::bulk::Compressor::new(3).unwrap();
    with_checksum.include_checksum(true).unwrap();
    for blob in [gzip(&content), with_checksum.compress(&content).unwrap()] {
        for at in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[at] ^= 0x10;
            let found = decompress(&damaged, Compression::Gzip, &mut Cuts::Whole);
            // A magic that is none makes it a plain tar; a gzip header has bytes that mean nothing.
            if let Ok((bytes, units)) = found {
                assert!(bytes == content || units.compression() == Compression::None, "{at}");
            }
        }
    }
}

#[test]
fn zstd_frames_are_units_when_they_are_large_enough() {
    let content = bytes(3 << 20, 4);
    let frames: Vec<u8> = content.chunks(400 << 10).flat_map(zstd).collect();
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &frames].concat();
    let (found, units) = decompress(&skippable, Compression::Zstd, &mut Cuts::Whole).unwrap();
    assert!(found == content);
    let starts: Vec<u64> = units.stream.clone();
    assert_eq!(starts, [0, 3 * (400 << 10), 6 * (400 << 10)]);
    for (at, (blob, stream)) in units.blob.iter().zip(&units.stream).enumerate() {
        let blob = usize::try_from(blob.0).unwrap();
        let rest = ::zstd::stream::decode_all(&skippable[blob..]).unwrap();
        assert!(rest == content[usize::try_from(*stream).unwrap()..], "{at}");
    }
}

#[test]
fn a_window_that_is_too_large_is_refused() {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    std::io::Write::write_all(&mut encoder, b"content").unwrap();
    let blob = encoder.finish().unwrap();
    let error = decompress(&blob, Compression::Zstd, &mut Cuts::Whole).unwrap_err();
    assert!(error.to_string().contains("too much memory"), "{error}");
}

#[test]
fn gzip_checkpoints_keep_their_distance() {
    let content = bytes(20 << 20, 5);
    let (found, units) = decompress(&gzip(&content), Compression::Gzip, &mut Cuts::Whole).unwrap();
    assert!(found == content);
    assert_eq!(units.stream[0], 0);
    for pair in units.stream.windows(2) {
        let distance = pair[1] - pair[0];
        assert!((SPACING..SPACING + (1 << 20)).contains(&distance), "{distance}");
    }
    assert_eq!(units.seek.unwrap().count(), units.stream.len());
}

/// An index of nothing can be written, opened and decoded like any other.
#[test]
fn layers_of_nothing() {
    let end = tar(&[]);
    for content in [&b""[..], &end] {
        for blob in [content.to_vec(), gzip(content), zstd(content), [gzip(b""), gzip(content)].concat()] {
            let streamed = stream_whole(&blob).unwrap();
            assert_eq!((streamed.index.chunk_count(), streamed.index.content_size()), (0, 0));
            assert_eq!(streamed.index.blob_size(), blob.len() as u64);
            streamed.check_decoding(&blob);
        }
    }
}
