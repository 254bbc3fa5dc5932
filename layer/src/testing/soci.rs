//! SOCI layers: blobs of any compressor, with ztocs made as SOCI's own builder makes them (layer-formats.md, B.3).

use super::ztoc::{Ztoc, ZtocEntry, checkpoints_with_windows, tar_info};
use super::{File, IndexBytes, TarEntry, tar};
use crate::inflate::sys::{Status, Stream};
use crate::seek::SeekIndex;
use crate::soci::{IndexError, build_index};
use crate::{LayerDigest, LayerIndex, Limits, SpanDigest, TocDigest};

/// A blob and its ztoc.
#[derive(Debug, Clone)]
pub struct SociLayer {
    /// As the registry has it.
    pub blob: Vec<u8>,
    /// What describes it; may be changed.
    pub ztoc: Ztoc,
}

impl SociLayer {
    /// Of `blob`, which is `tar(entries)` compressed with gzip, in any number of members.
    #[must_use]
    pub fn gzip(blob: Vec<u8>, entries: &[TarEntry], span_size: u64) -> Self {
        let rows = checkpoints(&blob, span_size);
        let bounds: Vec<_> = rows.iter().map(|row| (row.0 - usize::from(row.2 != 0), row.0)).collect();
        let span = |number: usize| {
            let end = bounds.get(number + 1).map_or(blob.len(), |next| next.1);
            SpanDigest::of(&blob[bounds[number].0..end]).to_string()
        };
        let span_digests: Vec<_> = (0..rows.len()).map(span).collect();
        let ztoc = Ztoc {
            compressed_size: i64::try_from(blob.len()).unwrap(),
            uncompressed_size: i64::try_from(tar(entries).len()).unwrap(),
            entries: places(entries),
            algorithm: 1,
            last_span: i32::try_from(rows.len()).unwrap() - 1,
            span_digests,
            checkpoints: checkpoints_with_windows(&rows),
        };
        Self { blob, ztoc }
    }

    /// Of an uncompressed tar.
    #[must_use]
    pub fn plain(entries: &[TarEntry], span_size: usize) -> Self {
        let blob = tar(entries);
        let size = i64::try_from(blob.len()).unwrap();
        let span_digests: Vec<_> =
            blob.chunks(span_size).map(|span| SpanDigest::of(span).to_string()).collect();
        let ztoc = Ztoc {
            compressed_size: size,
            uncompressed_size: size,
            entries: places(entries),
            algorithm: 2,
            last_span: i32::try_from(span_digests.len()).unwrap() - 1,
            span_digests,
            checkpoints: tar_info(i64::try_from(span_size).unwrap(), size),
        };
        Self { blob, ztoc }
    }

    /// Its index, and the files of it.
    ///
    /// # Errors
    /// As [`build_index`].
    pub fn index(&self, limits: &Limits) -> Result<(LayerIndex<Vec<u8>>, IndexBytes), IndexError> {
        let (ztoc, layer) = (self.ztoc.to_bytes(), LayerDigest::of(&self.blob));
        let mut bytes = IndexBytes::default();
        let size = self.blob.len() as u64;
        build_index(layer, size, &ztoc, TocDigest::of(&ztoc), limits, &mut bytes.files())?;
        let seek = SeekIndex::parse(bytes.seek.clone()).unwrap();
        let index = LayerIndex::parse(bytes.table.clone()).unwrap().with_seek(seek).unwrap();
        Ok((index, bytes))
    }
}

/// First full byte, output so far, bits, window: behind every header or block after which a span is long enough.
fn checkpoints(blob: &[u8], span_size: u64) -> Vec<(usize, u64, u8, Vec<u8>)> {
    let (mut stream, mut output) = (Stream::gzip().unwrap(), vec![0; 32 << 10]);
    let (mut read, mut written, mut found) = (0, 0, Vec::<(usize, u64, u8, Vec<u8>)>::new());
    while read < blob.len() {
        let step = stream.inflate_block(&blob[read..], &mut output);
        read += step.consumed;
        written += step.produced as u64;
        assert!(step.status != Status::Corrupt && step.consumed + step.produced > 0);
        let due = found.last().is_none_or(|last| written - last.1 > span_size);
        if let Some(bits) = step.block
            && due
        {
            let mut window = stream.window();
            window.splice(0..0, std::iter::repeat_n(0, (32 << 10) - window.len()));
            found.push((read, written, bits, window));
        }
        if step.status == Status::Ended {
            assert!(stream.restart_gzip());
        }
    }
    found
}

/// What a TOC says of these entries of a tar.
fn places(entries: &[TarEntry]) -> Vec<ZtocEntry> {
    let mut at = 0;
    let place = |entry: &TarEntry| {
        at += entry.header().len();
        let size = entry.content().len();
        let (kind, (major, minor)) = match entry.file {
            File::Directory => ("dir", (0, 0)),
            File::Regular(_) => ("reg", (0, 0)),
            File::Symlink(_) => ("symlink", (0, 0)),
            File::HardLink(_) => ("hardlink", (0, 0)),
            File::CharDevice(major, minor) => ("char", (major, minor)),
            File::BlockDevice(major, minor) => ("block", (major, minor)),
            File::Fifo => ("fifo", (0, 0)),
        };
        let placed = ZtocEntry {
            link: entry.link_name().as_bytes().to_vec(),
            mode: entry.mode.into(),
            uid: entry.uid,
            gid: entry.gid,
            modified: super::estargz::rfc3339(entry.mtime),
            major: major.into(),
            minor: minor.into(),
            pax: entry
                .xattrs
                .iter()
                .map(|(name, value)| (format!("SCHILY.xattr.{name}").into_bytes(), value.clone()))
                .collect(),
            ..ZtocEntry::new(&entry.name, kind, i64::try_from(at).unwrap(), i64::try_from(size).unwrap())
        };
        at += size.next_multiple_of(512);
        placed
    };
    entries.iter().map(place).collect()
}
