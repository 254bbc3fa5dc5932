//! ztocs, written with the flatbuffers project's own builder, so that they say nothing that our reader has made up.
//! Every field can be set to what no honest writer would write.

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, TableFinishedWIPOffset, Vector, WIPOffset};

/// A table of the buffer.
type Offset = WIPOffset<TableFinishedWIPOffset>;

/// Entry of a TOC (`FileMetadata` of SOCI's ztoc.fbs).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields of the schema (layer-formats.md, B.1)")]
pub struct ZtocEntry {
    pub name: Vec<u8>,
    pub kind: String,
    pub offset: i64,
    pub size: i64,
    pub link: Vec<u8>,
    pub mode: i64,
    pub uid: u32,
    pub gid: u32,
    pub modified: String,
    pub major: i64,
    pub minor: i64,
    /// Raw PAX records.
    pub pax: Vec<(Vec<u8>, Vec<u8>)>,
}

impl ZtocEntry {
    /// One of this type whose content, of `size` bytes, begins at `offset` in the tar.
    #[must_use]
    pub fn new(name: &str, kind: &str, offset: i64, size: i64) -> Self {
        let (name, kind) = (name.as_bytes().to_vec(), kind.to_owned());
        Self { name, kind, offset, size, mode: 0o644, ..Self::default() }
    }
}

/// A ztoc.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields of the schema (layer-formats.md, B.1)")]
pub struct Ztoc {
    pub compressed_size: i64,
    pub uncompressed_size: i64,
    pub entries: Vec<ZtocEntry>,
    /// 1 gzip, 2 uncompressed.
    pub algorithm: i8,
    pub last_span: i32,
    pub span_digests: Vec<String>,
    pub checkpoints: Vec<u8>,
}

impl Ztoc {
    /// The buffer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut buffer = FlatBufferBuilder::new();
        let version = buffer.create_string("0.9");
        let entries: Vec<_> = self.entries.iter().map(|it| entry(&mut buffer, it)).collect();
        let entries = buffer.create_vector(&entries);
        let toc = table(&mut buffer, |it| it.push_slot_always(slot(0), entries));
        let digests: Vec<_> = self.span_digests.iter().map(|it| buffer.create_string(it)).collect();
        let digests = buffer.create_vector(&digests);
        let checkpoints = buffer.create_vector(&self.checkpoints);
        let info = table(&mut buffer, |it| {
            it.push_slot(slot(0), self.algorithm, 1);
            it.push_slot(slot(1), self.last_span, 0);
            it.push_slot_always(slot(2), digests);
            it.push_slot_always(slot(3), checkpoints);
        });
        let root = table(&mut buffer, |it| {
            it.push_slot_always(slot(0), version);
            it.push_slot(slot(2), self.compressed_size, 0);
            it.push_slot(slot(3), self.uncompressed_size, 0);
            it.push_slot_always(slot(4), toc);
            it.push_slot_always(slot(5), info);
        });
        buffer.finish_minimal(root);
        buffer.finished_data().to_vec()
    }
}

/// What an uncompressed layer has for checkpoints (`TarZinfo` of SOCI's zinfo.fbs).
#[must_use]
pub fn tar_info(span_size: i64, size: i64) -> Vec<u8> {
    let mut buffer = FlatBufferBuilder::new();
    let root = table(&mut buffer, |it| {
        it.push_slot(slot(0), 2i32, 0);
        it.push_slot(slot(1), span_size, 0);
        it.push_slot(slot(2), size, 0);
    });
    buffer.finish_minimal(root);
    buffer.finished_data().to_vec()
}

fn entry(buffer: &mut FlatBufferBuilder<'_>, entry: &ZtocEntry) -> Offset {
    let name = buffer.create_byte_string(&entry.name);
    let kind = buffer.create_string(&entry.kind);
    let link = buffer.create_byte_string(&entry.link);
    let modified = buffer.create_string(&entry.modified);
    let pax: Vec<_> = entry
        .pax
        .iter()
        .map(|(key, value)| {
            let (key, value) = (buffer.create_byte_string(key), buffer.create_byte_string(value));
            table(buffer, |it| {
                it.push_slot_always(slot(0), key);
                it.push_slot_always(slot(1), value);
            })
        })
        .collect();
    let pax: WIPOffset<Vector<'_, ForwardsUOffset<TableFinishedWIPOffset>>> = buffer.create_vector(&pax);
    table(buffer, |it| {
        it.push_slot_always(slot(0), name);
        it.push_slot_always(slot(1), kind);
        it.push_slot(slot(2), entry.offset, 0);
        it.push_slot(slot(3), entry.size, 0);
        it.push_slot_always(slot(4), link);
        it.push_slot(slot(5), entry.mode, 0);
        it.push_slot(slot(6), entry.uid, 0);
        it.push_slot(slot(7), entry.gid, 0);
        it.push_slot_always(slot(10), modified);
        it.push_slot(slot(11), entry.major, 0);
        it.push_slot(slot(12), entry.minor, 0);
        it.push_slot_always(slot(13), pax);
    })
}

fn table(buffer: &mut FlatBufferBuilder<'_>, fill: impl FnOnce(&mut FlatBufferBuilder<'_>)) -> Offset {
    let start = buffer.start_table();
    fill(buffer);
    buffer.end_table(start)
}

/// Where a vtable has a field: behind its two sizes, two bytes each.
fn slot(number: u16) -> u16 {
    4 + 2 * number
}

/// Checkpoints of a gzip layer as SOCI writes them, their windows zero: (in, out, bits) each. `have` as it claims.
#[must_use]
pub fn checkpoints(have: i32, rows: &[(i64, i64, u8)]) -> Vec<u8> {
    let mut bytes = have.to_le_bytes().to_vec();
    bytes.extend((4_i64 << 20).to_le_bytes());
    for (input, output, bits) in rows {
        row(&mut bytes, *input, *output, *bits, &[0; 32 << 10]);
    }
    bytes
}

/// The same with windows.
pub(super) fn checkpoints_with_windows(rows: &[(usize, u64, u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = checkpoints(i32::try_from(rows.len()).unwrap(), &[]);
    for (input, output, bits, window) in rows {
        row(&mut bytes, i64::try_from(*input).unwrap(), i64::try_from(*output).unwrap(), *bits, window);
    }
    bytes
}

fn row(bytes: &mut Vec<u8>, input: i64, output: i64, bits: u8, window: &[u8]) {
    bytes.extend(input.to_le_bytes());
    bytes.extend(output.to_le_bytes());
    bytes.push(bits);
    bytes.extend(window);
}
