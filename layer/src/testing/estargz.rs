//! Writes eStargz blobs.

use std::io::Write as _;

use base64::Engine as _;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use super::IndexBytes;
use super::tar::{File, TarEntry, pad};
use crate::estargz::{BuiltIndex, IndexError, TocLocation, build_index, footer};
use crate::{BlobOffset, ChunkDigest, DiffId, LayerDigest, LayerIndex, Limits, TocDigest};

/// Which footer a blob gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Footer {
    /// 51 bytes.
    EStargz,
    /// 47 bytes, as stargz wrote it.
    Legacy,
    /// 46 bytes: the TOC is elsewhere.
    External,
    /// Whatever.
    Raw(Vec<u8>),
}

/// A finished blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EStargz {
    /// All bytes.
    pub blob: Vec<u8>,
    /// The TOC's JSON.
    pub toc: Vec<u8>,
    /// What the manifest's annotation should say.
    pub toc_digest: TocDigest,
    /// sha256 of the uncompressed tar.
    pub diff_id: DiffId,
}

impl EStargz {
    /// sha256 of the blob.
    #[must_use]
    pub fn layer(&self) -> LayerDigest {
        LayerDigest::of(&self.blob)
    }

    /// Where its footer says that the TOC is.
    #[must_use]
    pub fn location(&self, limits: &Limits) -> TocLocation {
        footer(&self.blob, self.blob.len() as u64, limits).unwrap()
    }

    /// Bytes of the blob.
    #[must_use]
    pub fn range(&self, range: std::ops::Range<BlobOffset>) -> &[u8] {
        let index = |offset: BlobOffset| usize::try_from(offset.0).unwrap();
        &self.blob[index(range.start)..index(range.end)]
    }

    /// Its index.
    ///
    /// # Errors
    /// As [`build_index`].
    pub fn index(&self, limits: &Limits) -> Result<Indexed, IndexError> {
        let location = self.location(limits);
        let member = self.range(location.range());
        let mut bytes = IndexBytes::default();
        let built =
            build_index(self.layer(), &location, member, self.toc_digest, limits, &mut bytes.files())?;
        Ok(Indexed { index: LayerIndex::parse(bytes.table.clone()).unwrap(), bytes, built })
    }
}

/// The index of a blob.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// Its files.
    pub bytes: IndexBytes,
    /// Its chunk table, opened.
    pub index: LayerIndex<Vec<u8>>,
    /// Numbers.
    pub built: BuiltIndex,
}

/// Makes a blob, entry by entry.
#[derive(Clone, Debug)]
pub struct EStargzWriter {
    blob: Vec<u8>,
    tar: Vec<u8>,
    /// Uncompressed bytes of the member that is being written.
    member: Vec<u8>,
    entries: Vec<Value>,
    chunk_size: usize,
    pack: usize,
    odd_headers: bool,
    footer: Footer,
}

impl Default for EStargzWriter {
    fn default() -> Self {
        Self {
            blob: Vec::new(),
            tar: Vec::new(),
            member: Vec::new(),
            entries: Vec::new(),
            chunk_size: 4 << 20,
            pack: 0,
            odd_headers: false,
            footer: Footer::EStargz,
        }
    }
}

impl EStargzWriter {
    /// With chunks of 4 MiB, one to a member.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Largest chunk in bytes.
    #[must_use]
    pub fn chunk_size(self, chunk_size: usize) -> Self {
        Self { chunk_size, ..self }
    }

    /// Members are filled with at least so many uncompressed bytes: chunks get an `innerOffset`.
    #[must_use]
    pub fn pack(self, pack: usize) -> Self {
        Self { pack, ..self }
    }

    /// Members of content carry a name, a comment and an extra field in their gzip headers.
    #[must_use]
    pub fn odd_headers(self) -> Self {
        Self { odd_headers: true, ..self }
    }

    /// Ends with another footer.
    #[must_use]
    pub fn footer(self, footer: Footer) -> Self {
        Self { footer, ..self }
    }

    /// Adds an entry to tar and TOC.
    #[must_use]
    pub fn entry(mut self, entry: &TarEntry) -> Self {
        self.member.extend(entry.header());
        let mut toc = toc_entry(entry);
        let content = entry.content();
        for (number, chunk) in content.chunks(self.chunk_size).enumerate() {
            if self.member.len() >= self.pack || entry.name.ends_with(".landmark") {
                self.end_member();
            }
            if number > 0 {
                toc = Map::from_iter([("name".into(), json!(entry.name)), ("type".into(), json!("chunk"))]);
            }
            let mut set = |key: &str, value: usize| {
                if value > 0 {
                    toc.insert(key.into(), json!(value));
                }
            };
            set("offset", self.blob.len());
            set("innerOffset", self.member.len());
            set("chunkOffset", number * self.chunk_size);
            // As stargz' writer: the last chunk has no size of its own.
            set("chunkSize", if chunk.len() == self.chunk_size { chunk.len() } else { 0 });
            toc.insert("chunkDigest".into(), json!(ChunkDigest::of(chunk)));
            self.entries.push(Value::Object(std::mem::take(&mut toc)));
            self.member.extend_from_slice(chunk);
        }
        if content.is_empty() {
            self.entries.push(Value::Object(toc));
        }
        // To a block of the tar, not of the member, which may have begun in the middle of the file.
        self.member.resize(self.member.len() + content.len().next_multiple_of(512) - content.len(), 0);
        self
    }

    /// Adds entries.
    #[must_use]
    pub fn entries<'a>(self, entries: impl IntoIterator<Item = &'a TarEntry>) -> Self {
        entries.into_iter().fold(self, Self::entry)
    }

    /// The blob with its own TOC.
    #[must_use]
    pub fn finish(self) -> EStargz {
        self.finish_edited(|_| {})
    }

    /// The blob with a TOC that was changed: `edit` gets the array of entries.
    #[must_use]
    pub fn finish_edited(mut self, edit: impl FnOnce(&mut Vec<Value>)) -> EStargz {
        edit(&mut self.entries);
        let toc = json!({ "version": 1, "entries": self.entries });
        let mut text = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        toc.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format)).unwrap();
        self.finish_raw(&text)
    }

    /// The blob with this text for a TOC.
    #[must_use]
    pub fn finish_raw(mut self, toc: &[u8]) -> EStargz {
        self.end_member();
        let offset = self.blob.len();
        let mut tar = TarEntry::file("stargz.index.json", toc).mtime(0).header();
        tar.extend_from_slice(toc);
        pad(&mut tar);
        tar.resize(tar.len() + 1024, 0);
        self.blob.extend(gzip(GzBuilder::new(), &tar));
        self.tar.extend_from_slice(&tar);
        self.blob.extend(footer_bytes(&self.footer, offset));
        EStargz {
            toc: toc.to_vec(),
            toc_digest: TocDigest::of(toc),
            diff_id: DiffId::of(&self.tar),
            blob: self.blob,
        }
    }

    fn end_member(&mut self) {
        if self.member.is_empty() {
            return;
        }
        let builder = if self.odd_headers {
            GzBuilder::new().filename("a name").comment("a comment").extra(*b"XY\x02\0ab").mtime(7)
        } else {
            GzBuilder::new()
        };
        self.blob.extend(gzip(builder, &self.member));
        self.tar.append(&mut self.member);
    }
}

fn gzip(builder: GzBuilder, bytes: &[u8]) -> Vec<u8> {
    let mut out: GzEncoder<Vec<u8>> = builder.write(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn footer_bytes(footer: &Footer, toc_offset: usize) -> Vec<u8> {
    let extra = match footer {
        Footer::EStargz => format!("SG\x16\0{toc_offset:016x}STARGZ"),
        Footer::Legacy => format!("{toc_offset:016x}STARGZ"),
        Footer::External => "SG\x11\0STARGZEXTERNALTOC".to_owned(),
        Footer::Raw(bytes) => return bytes.clone(),
    };
    let length = u16::try_from(extra.len()).unwrap();
    // gzip header with an extra field, one empty stored block, checksum and length 0 (RFC 1951, RFC 1952).
    let mut out = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
    out.extend(length.to_le_bytes());
    out.extend(extra.as_bytes());
    out.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    out
}

/// An entry of a TOC, without its chunks.
pub(super) fn toc_entry(entry: &TarEntry) -> Map<String, Value> {
    let kind = match entry.file {
        File::Directory => "dir",
        File::Regular(_) => "reg",
        File::Symlink(_) => "symlink",
        File::HardLink(_) => "hardlink",
        File::CharDevice(..) => "char",
        File::BlockDevice(..) => "block",
        File::Fifo => "fifo",
    };
    let mut toc = Map::from_iter([("name".into(), json!(entry.name)), ("type".into(), json!(kind))]);
    let mut set = |key: &str, value: Value, zero: bool| {
        if !zero {
            toc.insert(key.into(), value);
        }
    };
    set("modtime", json!(rfc3339(entry.mtime)), entry.mtime == 0);
    set("mode", json!(entry.mode), entry.mode == 0);
    set("uid", json!(entry.uid), entry.uid == 0);
    set("gid", json!(entry.gid), entry.gid == 0);
    set("linkName", json!(entry.link_name()), entry.link_name().is_empty());
    if let File::CharDevice(major, minor) | File::BlockDevice(major, minor) = entry.file {
        set("devMajor", json!(major), major == 0);
        set("devMinor", json!(minor), minor == 0);
    }
    if let File::Regular(content) = &entry.file {
        set("size", json!(content.len()), content.is_empty());
        set("digest", json!(ChunkDigest::of(content)), false);
    }
    let base64 = |value: &Vec<u8>| json!(base64::engine::general_purpose::STANDARD.encode(value));
    let xattrs: Map<_, _> = entry.xattrs.iter().map(|(name, value)| (name.clone(), base64(value))).collect();
    let none = xattrs.is_empty();
    set("xattrs", Value::Object(xattrs), none);
    toc
}

/// Text of a time, by counting: the reader's arithmetic is tested against it.
pub(super) fn rfc3339(seconds: u32) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u32| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u32::from(leap(year)) {
        days -= 365 + u32::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u32::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", month + 1, days + 1, second % 60)
}
