//! TOCs that must be refused, each with the check that refuses it, and odd ones that must not be. Nothing is written
//! for a TOC that is refused before its tree is complete.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use peel_layer::estargz::{EntryProblem, IndexError, build_index};
use peel_layer::testing::{EStargz, EStargzWriter, Footer, IndexBytes, TarEntry, decode_chunk};
use peel_layer::unpack::EntryError;
use peel_layer::{ChunkDigest, ChunkId, Landmark, Limits, TocDigest};
use serde_json::{Value, json};

fn refuse(layer: &EStargz, limits: &Limits) -> String {
    let mut bytes = IndexBytes::default();
    let location = layer.location(limits);
    let member = layer.range(location.range());
    let error = build_index(layer.layer(), &location, member, layer.toc_digest, limits, &mut bytes.files())
        .expect_err("TOC is refused");
    assert_eq!(bytes, IndexBytes::default(), "{error}: nothing was written");
    error.to_string()
}

fn toc(text: &str) -> EStargz {
    EStargzWriter::new().finish_raw(text.as_bytes())
}

fn refuse_text(text: &str) -> String {
    refuse(&toc(text), &Limits::default())
}

/// A layer with one file of 300 bytes in three chunks, its TOC entries edited.
fn edited(edit: impl FnOnce(&mut Vec<Value>)) -> EStargz {
    let content: Vec<u8> = (0..300u32).map(|it| u8::try_from(it % 251).unwrap()).collect();
    EStargzWriter::new().chunk_size(100).entry(&TarEntry::file("f", &content)).finish_edited(edit)
}

fn refuse_edited(edit: impl FnOnce(&mut Vec<Value>)) -> String {
    refuse(&edited(edit), &Limits::default())
}

fn refuse_entry(entry: &TarEntry) -> String {
    refuse(&EStargzWriter::new().entry(entry).finish(), &Limits::default())
}

#[test]
fn toc_that_the_manifest_does_not_vouch_for() {
    let mut layer = edited(|_| {});
    layer.toc_digest = TocDigest::of(b"another");
    assert!(refuse(&layer, &Limits::default()).contains("the image's manifest says"));
    // The digest comes first: what is not vouched for does not tell what is wrong with the image.
    let mut layer = toc("{\"entries\":[{\"name\":\"../x\",\"type\":\"reg\"}]}");
    layer.toc_digest = TocDigest::of(b"another");
    assert!(refuse(&layer, &Limits::default()).contains("the image's manifest says"));
}

#[test]
fn toc_member_that_is_no_toc() {
    let layer = edited(|_| {});
    let limits = Limits::default();
    let location = layer.location(&limits);
    let whole = layer.range(location.range()).to_vec();
    let build = |member: &[u8]| {
        let mut bytes = IndexBytes::default();
        build_index(layer.layer(), &location, member, layer.toc_digest, &limits, &mut bytes.files())
    };
    assert!(build(&whole).is_ok());
    assert!(matches!(build(&whole[1..]), Err(IndexError::Length { .. })));
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x55;
    assert!(matches!(build(&damaged), Err(IndexError::Decode(_) | IndexError::Digest { .. })));
    assert!(matches!(build(&vec![0; whole.len()]), Err(IndexError::Decode(_))));
    // A member with something else in its tar: the content's first.
    let other = EStargzWriter::new().entry(&TarEntry::file("stargz.index.jso", b"{}")).footer(Footer::Raw(
        b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\x000000000000000000STARGZ\x01\0\0\xff\xff\0\0\0\0\0\0\0\0"
            .to_vec(),
    ));
    assert!(refuse(&other.finish(), &limits).contains("another name"));
}

#[test]
fn limits() {
    let layer = edited(|_| {});
    let small = Limits { toc_json: 100, ..Limits::default() };
    assert!(refuse(&layer, &small).contains("of JSON, more than 100 are refused"));
    let few = Limits { entries: 2, ..Limits::default() };
    assert!(refuse(&layer, &few).contains("more than 2 entries"));
    let short = Limits { json_string: 70, ..Limits::default() };
    assert!(refuse(&layer, &short).contains("a string is longer than 70 bytes"));
    let escaped = format!("{{\"x\":\"{}\"}}", "\\\"".repeat(40));
    assert!(refuse(&toc(&escaped), &short).contains("a string is longer than 70 bytes"));
    let many: Vec<String> = (0..2000).map(|number| format!("\"user.{number}\":\"\"")).collect();
    let many =
        format!("{{\"entries\":[{{\"name\":\"d\",\"type\":\"dir\",\"xattrs\":{{{}}}}}]}}", many.join(","));
    assert!(refuse_text(&many).contains("more than 1024 xattrs"));
}

#[test]
fn json_that_is_no_toc() {
    for text in [
        "",
        "{",
        "[]",
        "null",
        "{\"entries\":{}}",
        "{\"entries\":[1]}",
        "{\"entries\":[]} x",
        "{\"entries\":[],\"entries\":[]}",
        "{\"version\":2,\"entries\":[]}",
        "{\"entries\":[{\"name\":\"\u{1}\"}]}",
        "{\"entries\":[{\"name\":\"d\",\"type\":\"dir\",\"mode\":1e99}]}",
        "{\"entries\":[{\"name\":\"d\",\"type\":\"dir\",\"xattrs\":{\"user.a\":\"!\"}}]}",
        &("{\"x\":".to_owned() + &"[".repeat(100_000)),
    ] {
        assert!(refuse_text(text).contains("not valid"), "{text:.50}");
    }
}

#[test]
fn paths_and_links() {
    assert!(refuse_entry(&TarEntry::file("../f", b"")).contains("path leaves the root"));
    assert!(refuse_entry(&TarEntry::hard_link("l", "a/../../f")).contains("path leaves the root"));
    assert!(refuse_entry(&TarEntry::hard_link("l", "gone")).contains("the layer does not have"));
    let circle = [TarEntry::symlink("a", "b"), TarEntry::symlink("b", "a"), TarEntry::file("a/f", b"")];
    let circle = EStargzWriter::new().entries(&circle).finish();
    let message = refuse(&circle, &Limits::default());
    assert_eq!(message, "\"a/f\" at entry 3 of the TOC: more than 255 symlinks in its path");
}

#[test]
fn chunks() {
    let set = |entry: usize, key: &'static str, value: Value| {
        refuse_edited(move |entries| entries[entry][key] = value)
    };
    assert!(set(0, "offset", json!(1u64 << 40)).contains("its content ends at"));
    assert!(set(0, "offset", json!(0)).contains("offset is 0"));
    assert!(set(2, "offset", json!(1)).contains("is not behind the one before"));
    assert!(set(1, "chunkOffset", json!(99)).contains("overlap"));
    assert!(set(1, "chunkOffset", json!(101)).contains("gap at byte 100"));
    assert!(set(0, "size", json!(301)).contains("chunks leave a gap at byte 300 of 301"));
    assert!(set(0, "size", json!(299)).contains("overlap"));
    assert!(set(0, "size", json!(-1)).contains("size is -1"));
    assert!(set(0, "size", json!(i64::MAX)).contains("larger than 16 TiB"));
    assert!(set(1, "chunkSize", json!(i64::MAX)).contains("overlap"));
    assert!(set(1, "innerOffset", json!(i64::MAX)).contains("chunks claim"));
    assert!(set(2, "innerOffset", json!(1 << 30)).contains("chunks claim"));
    assert!(set(1, "chunkDigest", json!("")).contains("cannot be verified"));
    assert!(set(1, "chunkDigest", json!("sha512:00")).contains("is not a digest"));
    assert!(refuse_edited(|entries| drop(entries.remove(1))).contains("gap at byte 100"));
    assert!(refuse_edited(|entries| drop(entries.remove(0))).contains("chunk of no file"));
}

#[test]
fn values() {
    let set = |key: &'static str, value: Value| refuse_edited(move |entries| entries[0][key] = value);
    assert!(set("uid", json!(-1)).contains("uid is -1"));
    assert!(set("gid", json!(u32::MAX)).contains("gid is 4294967295"));
    assert!(set("type", json!("socket")).contains("type \"socket\" is not known"));
    assert!(set("type", json!(null)).contains("type \"\" is not known"));
    assert!(refuse_entry(&TarEntry::directory(&"n".repeat(256))).contains("256 bytes"));
    let device = TarEntry::new("c", peel_layer::testing::File::CharDevice(1 << 20, 0));
    assert!(refuse_entry(&device).contains("12 + 20 bits"));
}

#[test]
fn without_chunk_digests() {
    // A file's digest serves for its only chunk; the predecessor of eStargz had neither.
    let small = || EStargzWriter::new().entry(&TarEntry::file("f", b"content"));
    let remove = |entries: &mut Vec<Value>, key: &str| {
        entries[0].as_object_mut().unwrap().remove(key);
    };
    let layer = small().finish_edited(|entries| remove(entries, "chunkDigest"));
    let index = layer.index(&Limits::default()).unwrap().index;
    assert_eq!(index.chunk(ChunkId(0)).digest, Some(ChunkDigest::of(b"content")));
    let layer = small().footer(Footer::Legacy).finish_edited(|entries| {
        remove(entries, "chunkDigest");
        remove(entries, "digest");
    });
    let error = layer.index(&Limits::default()).unwrap_err();
    assert!(matches!(error, IndexError::Entry { problem: EntryProblem::NoDigest, .. }));
    // Of several chunks it is none.
    assert!(refuse_edited(|entries| remove(entries, "chunkDigest")).contains("cannot be verified"));
}

#[test]
fn odd_but_good() {
    let entries = |text: &str| toc(text).index(&Limits::default()).unwrap().built.summary.entries;
    assert_eq!(entries("{\"version\":1,\"entries\":null}"), 0, "Go's empty layer");
    assert_eq!(entries(" {} \n"), 0);
    assert_eq!(
        entries(
            "{\"entries\":[{\"name\":\"d\",\"type\":\"dir\",\"new\":[{\"x\":[]}],\"uid\":null,\"xattrs\":null}],\"z\":1}"
        ),
        1
    );
    // Type bits in the mode, and a root entry.
    let text = r#"{"entries":[{"name":"/","type":"dir"},{"name":"b","type":"fifo","mode":4516}]}"#;
    assert_eq!(entries(text), 2);
}

#[test]
fn a_whiteout_with_bytes_has_none() {
    let layer = EStargzWriter::new()
        .entries(&[TarEntry::file(".wh.a", b"bytes"), TarEntry::file("b", b"other bytes")])
        .finish();
    let index = layer.index(&Limits::default()).unwrap().index;
    assert_eq!((index.chunk_count(), index.unit_count(), index.data_size().0), (1, 2, 4096));
    let chunk = decode_chunk(&index, ChunkId(0), layer.range(index.blob_range(ChunkId(0)))).unwrap();
    assert_eq!(chunk.unwrap().bytes(), b"other bytes");
}

#[test]
fn landmarks_are_read_and_hidden() {
    let with = |name| {
        let entries = [TarEntry::file("a", b"1"), TarEntry::file(name, b"\x0f"), TarEntry::file("b", b"2")];
        let indexed = EStargzWriter::new().entries(&entries).finish().index(&Limits::default()).unwrap();
        let image = peel_erofs::Image::open(&indexed.bytes.tree).unwrap();
        assert_eq!(image.inodes(), 3, "{name}");
        (indexed.index.landmark(), indexed.index.unit(peel_layer::UnitId(1)).start)
    };
    let (prefetch, unit) = with(".prefetch.landmark");
    assert_eq!(prefetch, Landmark::Prefetch(unit));
    assert_eq!(with("./.no.prefetch.landmark").0, Landmark::NoPrefetch);
    let nested = EStargzWriter::new().entry(&TarEntry::file("d/.prefetch.landmark", b"\x0f")).finish();
    assert_eq!(nested.index(&Limits::default()).unwrap().index.landmark(), Landmark::Absent);
}

#[test]
fn unpack_errors_keep_their_kind() {
    let error = edited(|entries| entries[0]["name"] = json!("../f")).index(&Limits::default()).unwrap_err();
    let IndexError::Entry { number: 1, problem: EntryProblem::Unpack(problem), .. } = error else {
        panic!("{error}");
    };
    assert_eq!(problem, EntryError::LeavesRoot);
}
