#![expect(clippy::unwrap_used, reason = "tests may panic")]

use peel_erofs::write_image;

use super::*;
use crate::Limits;
use crate::testing::{EStargzWriter, Indexed, TarEntry};

fn layer(entries: &[TarEntry]) -> Indexed {
    EStargzWriter::new().entries(entries).finish().index(&Limits::default()).unwrap()
}

/// Path, mode, owner and names of xattrs.
type Seen = (String, u16, u32, Vec<Vec<u8>>);

/// The implied directories of `upper` on layers (from the top down), if it needs an image of its own there.
fn on(upper: &Indexed, lower: &[&Indexed]) -> Option<Vec<Seen>> {
    let image = Image::open(&upper.bytes.tree).unwrap();
    let lower: Vec<_> = lower.iter().map(|it| Image::open(&it.bytes.tree).unwrap()).collect();
    let mut lookups = Limits::default().lookups;
    let tree = resolve(&image, upper.index.implied(), &mut |path| {
        nearest(lower.iter().map(|image| lower_directory(image, path, &mut lookups)))
    });
    let tree = tree.unwrap()?;
    let mut bytes = Vec::new();
    write_image(&tree, upper.index.data_size().0 / 4096, &mut bytes).unwrap();
    let image = Image::open(&bytes).unwrap();
    let seen = upper.index.implied().map(|path| {
        let it = metadata(&image, &find(&image, path).unwrap().unwrap()).unwrap();
        let names = it.xattrs.into_iter().map(|xattr| xattr.name).collect();
        (String::from_utf8(path.to_vec()).unwrap(), it.permissions, it.uid, names)
    });
    Some(seen.collect())
}

fn tmp() -> TarEntry {
    TarEntry::directory("tmp").mode(0o1777).owner(3, 4).xattr("user.x", b"1")
}

#[test]
fn attributes_come_from_the_first_layer_that_has_it() {
    let upper = layer(&[TarEntry::file("tmp/sub/f", b"x")]);
    let expected = vec![
        ("tmp".to_owned(), 0o1777, 3, vec![b"user.x".to_vec()]),
        ("tmp/sub".to_owned(), 0o755, 0, vec![]),
    ];
    let base = layer(&[tmp()]);
    assert_eq!(on(&upper, &[&base]), Some(expected.clone()));
    assert_eq!(on(&upper, &[&layer(&[]), &base, &layer(&[TarEntry::directory("tmp")])]), Some(expected));
}

#[test]
fn nothing_to_change() {
    let upper = layer(&[TarEntry::file("tmp/f", b"x")]);
    assert_eq!(on(&upper, &[]), None);
    assert_eq!(on(&upper, &[&layer(&[TarEntry::directory("tmp")])]), None);
    // Something else in between, a whiteout too, ends the search.
    let (whiteout, base) = (layer(&[TarEntry::file(".wh.tmp", b"")]), layer(&[tmp()]));
    assert_eq!(on(&upper, &[&whiteout, &base]), None);
    assert_eq!(on(&upper, &[&layer(&[TarEntry::file("tmp", b"")]), &base]), None);
}

#[test]
fn a_setgid_directory_below_hands_its_group_on() {
    let upper = layer(&[TarEntry::file("d/sub/f", b"x")]);
    let lower = layer(&[TarEntry::directory("d").mode(0o2755).owner(0, 8)]);
    let image = Image::open(&upper.bytes.tree).unwrap();
    let below = Image::open(&lower.bytes.tree).unwrap();
    let tree = resolve(&image, upper.index.implied(), &mut |path| {
        nearest([lower_directory(&below, path, &mut Limits::default().lookups)])
    });
    let tree = tree.unwrap().unwrap();
    let sub = tree.child(tree.child(tree.root(), b"d").unwrap(), b"sub").unwrap();
    assert_eq!((tree.metadata(sub).gid, tree.metadata(sub).permissions), (8, 0o755));
}

#[test]
fn symlinks_of_the_layer_below_are_followed() {
    let upper = layer(&[TarEntry::file("lib/f", b"x")]);
    let linked = layer(&[TarEntry::directory("usr/lib").mode(0o700), TarEntry::symlink("lib", "usr/lib")]);
    assert_eq!(on(&upper, &[&linked]).unwrap()[0].1, 0o700);
    let circle = layer(&[TarEntry::symlink("lib", "lib/lib")]);
    assert_eq!(on(&upper, &[&circle]), None);
}

#[test]
fn an_opaque_mark_stays_and_no_other_trusted_xattr_comes() {
    let upper = layer(&[TarEntry::file("tmp/.wh..wh..opq", b"")]);
    let lower = layer(&[tmp(), TarEntry::file("tmp/.wh..wh..opq", b"")]);
    let names = vec![b"trusted.overlay.opaque".to_vec(), b"user.x".to_vec()];
    assert_eq!(on(&upper, &[&lower]).unwrap()[0].3, names);
    let below = layer(&[TarEntry::file("tmp/f", b"")]);
    assert_eq!(on(&below, &[&lower]).unwrap()[0].3, [b"user.x".to_vec()]);
}

#[test]
fn lookups_are_bounded() {
    let image = layer(&[tmp()]);
    let image = Image::open(&image.bytes.tree).unwrap();
    let (mut one, mut none) = (1, 0);
    assert!(lower_directory(&image, b"tmp", &mut one).is_ok());
    assert!(matches!(
        lower_directory(&image, b"tmp", &mut none),
        Err(ImpliedError::Path(EntryError::TooManyLookups))
    ));
}
