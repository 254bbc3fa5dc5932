//! Tars as they are written, and where their bytes end up.

use crate::stream::{StreamError, TarIndexed, TarIndexer};
use crate::testing::{TarEntry, seal, tar};
use crate::{DataOffset, Limits};

/// A data file in memory.
#[derive(Default)]
pub(super) struct Data(pub(super) Vec<u8>);

impl crate::stream::DataSink for Data {
    fn write(&mut self, at: DataOffset, bytes: &[u8]) -> std::io::Result<()> {
        let at = usize::try_from(at.0).unwrap();
        assert!(at >= self.0.len(), "places rise");
        self.0.resize(at, 0);
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

pub(super) fn index(tar: &[u8]) -> Result<(TarIndexed, Vec<u8>), StreamError> {
    let (mut indexer, mut data) = (TarIndexer::new(&Limits::default()), Data::default());
    indexer.push(tar, &mut data)?;
    Ok((indexer.finish()?, data.0))
}

/// A tar of one entry without its end, its header changed.
pub(super) fn one(entry: &TarEntry, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = tar(std::slice::from_ref(entry));
    bytes.truncate(bytes.len() - 1024);
    change(&mut bytes);
    seal(&mut bytes);
    bytes
}

fn names(indexed: &TarIndexed) -> Vec<String> {
    let tree = &indexed.unpacked.tree;
    let children = tree.children(tree.root());
    children.map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()).collect()
}

#[test]
fn pieces_of_files() {
    let large = vec![7; (2 << 20) + 5];
    let entries = [
        TarEntry::file("a", b"a"),
        TarEntry::file("large", &large),
        TarEntry::file("b", b""),
        TarEntry::file("c", b"c"),
    ];
    let bytes = tar(&entries);
    let (indexed, data) = index(&bytes).unwrap();
    let lengths: Vec<u32> = indexed.pieces.iter().map(|piece| piece.length).collect();
    assert_eq!(lengths, [1, 1 << 20, 1 << 20, 5, 1]);
    for piece in &indexed.pieces {
        let at = |offset: u64| {
            usize::try_from(offset).unwrap()..usize::try_from(offset).unwrap() + piece.length as usize
        };
        assert!(bytes[at(piece.stream)] == data[at(piece.data.0)]);
        assert_eq!(crate::ChunkDigest::of(&data[at(piece.data.0)]), piece.digest);
        assert!(piece.data.0.is_multiple_of(4096));
    }
    assert_eq!(indexed.entries(), 4);
    assert_eq!(indexed.data_size(), DataOffset(4096 + (2 << 20) + 4096 + 4096));
}

#[test]
fn where_a_tar_may_end() {
    let whole = tar(&[TarEntry::file("f", &[1; 700]), TarEntry::file("empty", b"")]);
    let content = 512 + 1024 + 512;
    let cut_ok = [0, 512 + 700, 600 + 700, 512 + 1024, content, content + 512];
    for end in 0..=whole.len() {
        let indexed = index(&whole[..end]);
        // In what fills a file's last block, between entries, behind one block of zeros, and from the second on.
        let fine = cut_ok.contains(&end) || (512 + 700..=512 + 1024).contains(&end) || end >= content + 1024;
        assert_eq!(indexed.is_ok(), fine, "{end}");
    }
    // What follows the end is not looked at.
    let more = [&whole[..], &[0xff; 3000]].concat();
    assert_eq!(index(&more).unwrap().0.entries(), 2);
}

#[test]
fn links_and_directories_have_no_bytes() {
    for kind in *b"12345 6" {
        if kind == b' ' {
            continue;
        }
        let mut entries = tar(&[TarEntry::file("t", b"")]);
        entries.truncate(512);
        let header = one(&TarEntry::symlink("e", "t"), |header| {
            header[156] = kind;
            header[124..135].copy_from_slice(b"00000077777");
        });
        let bytes = [entries, header, tar(&[TarEntry::file("next", b"x")])].concat();
        let (indexed, data) = index(&bytes).unwrap();
        assert_eq!(names(&indexed), ["e", "next", "t"], "{kind}");
        assert_eq!(data, b"x");
    }
}

#[test]
fn headers_older_than_ustar() {
    let old = |name: &str| {
        one(&TarEntry::file(name, b""), |header| {
            header[156] = 0;
            header[257..].fill(0);
        })
    };
    let (indexed, _) = index(&[old("dir/"), old("file")].concat()).unwrap();
    let tree = &indexed.unpacked.tree;
    let kind = |name: &[u8]| tree.kind(tree.child(tree.root(), name).unwrap()).clone();
    assert!(matches!(kind(b"dir"), peel_erofs::NodeKind::Directory));
    assert!(matches!(kind(b"file"), peel_erofs::NodeKind::File { size: 0, .. }));
}

#[test]
fn numbers_in_binary() {
    let set = |at: usize, value: [u8; 8]| {
        one(&TarEntry::file("f", b""), |header| header[at..at + 8].copy_from_slice(&value))
    };
    let owner = |tar: &[u8]| {
        let (indexed, _) = index(tar).unwrap();
        let tree = &indexed.unpacked.tree;
        tree.metadata(tree.child(tree.root(), b"f").unwrap()).uid
    };
    assert_eq!(owner(&set(108, [0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff])), 0x7fff_ffff);
    // As chown(2) takes what Go hands it.
    assert_eq!(owner(&set(108, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe])), 0xffff_fffe);
    assert_eq!(owner(&set(108, [0xff; 8])), 0);
    assert_eq!(owner(&set(108, [0x80, 0, 0, 1, 0, 0, 0, 5])), 5);
}

#[test]
fn a_second_pax_header_replaces_the_first_and_a_global_one_forgets_it() {
    let pax = |kind: u8, records: &str| {
        one(&TarEntry::file("pax", records.as_bytes()), |header| header[156] = kind)
    };
    let file = || tar(&[TarEntry::file("f", b"")])[..512].to_vec();
    let found = |parts: &[Vec<u8>]| names(&index(&parts.concat()).unwrap().0);
    let path = || pax(b'x', "14 path=other\n");
    assert_eq!(found(&[path(), file()]), ["other"]);
    assert_eq!(found(&[path(), pax(b'x', "13 path=last\n"), file()]), ["last"]);
    assert_eq!(found(&[path(), pax(b'x', "11 uid=100\n"), file()]), ["f"]);
    assert_eq!(found(&[path(), pax(b'g', "16 comment=hi..\n"), file()]), ["f"]);
    assert_eq!(found(&[pax(b'g', "14 path=other\n"), file(), path(), file()]), ["f", "other"]);
    // Nothing is the same as no record, and GNU's name wins.
    assert_eq!(found(&[pax(b'x', "8 path=\n"), file()]), ["f"]);
    assert_eq!(found(&[pax(b'L', "long\0rest"), path(), file()]), ["long"]);
}
