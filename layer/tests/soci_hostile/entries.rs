//! Entries of the TOC: where they lie in the tar, and what they say.

use peel_layer::soci::{EntryProblem, IndexError, build_index};
use peel_layer::testing::IndexBytes;
use peel_layer::testing::ztoc::{Ztoc, ZtocEntry};
use peel_layer::{ChunkId, LayerDigest, LayerIndex, Limits, TocDigest};

use super::{build, build_with, refused_entry, sound};

#[test]
fn entries_in_any_order_are_the_same_index() {
    let reversed = build(|ztoc| ztoc.entries.reverse()).unwrap();
    let (sorted, reversed) =
        (LayerIndex::parse(build(|_| {}).unwrap().table), LayerIndex::parse(reversed.table));
    let (sorted, reversed) = (sorted.unwrap(), reversed.unwrap());
    assert_eq!(sorted.tree_digest(), reversed.tree_digest());
    for id in (0..3).map(ChunkId) {
        assert_eq!(sorted.chunk(id), reversed.chunk(id));
    }
}

#[test]
fn places_in_the_tar() {
    use EntryProblem::{BehindTheEnd, Place};
    assert_eq!(refused_entry(|it| it[0].offset = 0), Place { at: 0, end: 0 });
    assert_eq!(refused_entry(|it| it[0].offset = 513), Place { at: 513, end: 0 });
    assert_eq!(refused_entry(|it| it[1].offset = 6143), Place { at: 6143, end: 5632 });
    assert_eq!(refused_entry(|it| it[1].offset = 5632), Place { at: 5632, end: 5632 });
    assert_eq!(refused_entry(|it| it[1].offset = 512), Place { at: 512, end: 5632 });
    // As a sparse file has it: its size is not what the tar has.
    assert_eq!(refused_entry(|it| it[0].size = 50_000), BehindTheEnd(10_240));
    assert_eq!(refused_entry(|it| it[0].size = 6000), Place { at: 6144, end: 6656 });
    assert_eq!(refused_entry(|it| it[1].size = 4097), BehindTheEnd(10_240));
    assert_eq!(refused_entry(|it| it[1].size = i64::MAX), BehindTheEnd(10_240));
    assert_eq!(refused_entry(|it| it[1].offset = 1 << 40), BehindTheEnd(10_240));
    assert!(matches!(
        refused_entry(|it| it[0].offset = -512),
        EntryProblem::Value { field: "uncompressed_offset", .. }
    ));
    assert!(matches!(
        refused_entry(|it| it[0].size = -1),
        EntryProblem::Value { field: "uncompressed_size", .. }
    ));
    // What is no file has no bytes, whatever its header says.
    let link = |it: &mut Ztoc| {
        it.entries[0] = ZtocEntry { link: b"b".to_vec(), ..ZtocEntry::new("a", "symlink", 512, 5000) };
        it.entries[1].offset = 1024;
    };
    assert!(build(link).is_ok());
}

#[test]
fn fields_of_entries() {
    let first = |change: fn(&mut ZtocEntry)| refused_entry(|it| change(&mut it[0])).to_string();
    assert_eq!(first(|it| it.kind = "socket".to_owned()), "type \"socket\" is not known");
    assert_eq!(first(|it| it.kind.clear()), "type \"\" is not known");
    assert_eq!(first(|it| it.uid = u32::MAX), "uid is 4294967295, which is not possible");
    assert_eq!(first(|it| it.name = b"../a".to_vec()), "path leaves the root");
    let device = |it: &mut ZtocEntry| {
        (it.kind, it.size, it.major) = ("char".to_owned(), 0, 1 << 33);
    };
    assert_eq!(first(device), "devmajor is 8589934592, which is not possible");
    let many = (0..2000).map(|number| (format!("SCHILY.xattr.user.{number}").into_bytes(), Vec::new()));
    let many = many.collect::<Vec<_>>();
    assert_eq!(refused_entry(|it| it[0].pax = many), EntryProblem::TooManyXattrs);
    let error = build(|ztoc| ztoc.entries[1].name = b".wh.a".to_vec()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\".wh.a\" at entry 2 of the ztoc: whiteout of a name that the same layer has made"
    );
}

#[test]
fn limits() {
    let ztoc = sound().to_bytes();
    let refused = |limits: &Limits| build_with(&ztoc, limits).unwrap_err().to_string();
    let default = Limits::default();
    assert!(refused(&Limits { entries: 1, ..default }).contains("more than 1 entries"));
    assert!(refused(&Limits { chunks: 2, ..default }).contains("more than 2 pieces of files"));
    assert!(refused(&Limits { toc_json: 1, ..default }).contains("more bytes than are allowed"));
    // Every byte of text counts, also of records that say nothing to us.
    let mut long = sound();
    long.entries[0].pax = vec![(b"comment".to_vec(), vec![b'x'; 1000])];
    let error = build_with(&long.to_bytes(), &Limits { toc_json: 1000, ..default }).unwrap_err();
    assert!(matches!(error, IndexError::Entry { problem: EntryProblem::TooMuchText, .. }), "{error}");
}

#[test]
fn another_digest() {
    let ztoc = sound().to_bytes();
    let (layer, other) = (LayerDigest::of(b"l"), TocDigest::of(b"other"));
    let mut bytes = IndexBytes::default();
    let error = build_index(layer, 1000, &ztoc, other, &Limits::default(), &mut bytes.files()).unwrap_err();
    assert!(matches!(error, IndexError::Digest { expected, .. } if expected == other));
    assert!(bytes.table.is_empty());
}
