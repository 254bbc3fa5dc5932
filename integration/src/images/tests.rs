//! The tar writer against GNU tar, which knows nothing of it; images against what they should be.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::tar::write_archive;
use super::{Content, Entry, EntryKind, Image, Layer, implied_directories};
use crate::equality::{Kind, Time, Tree};
use crate::process::run;

/// What GNU tar makes of these entries.
fn unpacked(entries: &[Entry]) -> Result<Tree> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let archive = directory.path().join("archive.tar");
    write_archive(entries, &mut fs::File::create(&archive)?)?;
    let root = directory.path().join("root");
    fs::create_dir(&root)?;
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
        .arg(&archive)
        .arg("-C")
        .arg(&root);
    run(&mut tar)?;
    Tree::read(&root)
}

#[test]
fn gnu_tar_reads_what_ustar_cannot_hold() -> Result<()> {
    let long = format!("{}/{}", "d".repeat(120), "é".repeat(127));
    let tree = unpacked(&[
        Entry::file(&long, "long and not ASCII").owner(3_000_000, 4_000_000_000),
        Entry::file("timed", "x").mtime(1_600_000_000, 250_000_000),
        Entry::file("early", "x").mtime(-2, 250_000_000),
        Entry::symlink("symlink", "t".repeat(300)),
        Entry::hard_link("link", &long),
        Entry::file("capable", "x").mode(0o4755).xattr("user.a", "1=2\n3").xattr("trusted.b", [0, 255]),
        Entry::new("device", EntryKind::CharDevice { major: 1, minor: 3 }),
    ])?;
    let file = tree.get(&long).context("the long name is missing")?;
    assert_eq!((file.uid, file.gid, file.nlink), (3_000_000, 4_000_000_000, 2));
    let time = |name: &str| tree.get(name).map(|node| node.mtime);
    assert_eq!(time("timed"), Some(Time { seconds: 1_600_000_000, nanoseconds: 250_000_000 }));
    assert_eq!(time("early"), Some(Time { seconds: -2, nanoseconds: 250_000_000 }));
    let kind = |name: &str| tree.get(name).map(|node| node.kind.clone());
    assert_eq!(kind("symlink"), Some(Kind::Symlink("t".repeat(300).into_bytes())));
    assert_eq!(kind("device"), Some(Kind::CharDevice(0x103)));
    let capable = tree.get("capable").context("the file with xattrs is missing")?;
    assert_eq!(capable.mode, 0o4755);
    assert_eq!(capable.xattrs.get(&b"user.a"[..]), Some(&b"1=2\n3".to_vec()));
    assert_eq!(capable.xattrs.get(&b"trusted.b"[..]), Some(&vec![0, 255]));
    Ok(())
}

#[test]
fn content_has_the_length_it_says_and_is_the_same_each_time() -> Result<()> {
    let read = |content: &Content| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        content.copy_to(&mut bytes)?;
        assert_eq!(bytes.len() as u64, content.len());
        Ok(bytes)
    };
    let noise = Content::Noise { seed: 5, length: 100_003 };
    assert_eq!(read(&noise)?, read(&noise)?);
    assert_ne!(read(&noise)?, read(&Content::Noise { seed: 6, length: 100_003 })?);
    assert!(read(&Content::Zeros(70_000))?.iter().all(|byte| *byte == 0));
    Ok(())
}

#[test]
fn a_directory_is_implied_by_the_topmost_layer_that_has_it() {
    let lower = Layer::gzip(vec![
        Entry::directory("named"),
        Entry::directory("covered"),
        Entry::file("implied/again/file", "x"),
    ]);
    let upper = Layer::gzip(vec![
        Entry::file("covered/by-a-child", "x"),
        Entry::directory("implied"),
        Entry::directory("real"),
        Entry::symlink("link", "real"),
        Entry::file("link/through", "x"),
        Entry::whiteout("whited/name"),
    ]);
    let implied = implied_directories([&lower, &upper]);
    let expected = ["", "covered", "implied/again", "whited"].map(|path| path.as_bytes().to_vec());
    assert_eq!(implied, BTreeSet::from(expected));
}

#[test]
fn an_image_written_twice_has_the_same_digest_and_a_derived_one_another() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let image = Image::new(vec![Layer::gzip(vec![Entry::file("a", "x")])], &["/a"]);
    let first = image.write(&directory.path().join("first"))?;
    let second = image.write(&directory.path().join("second"))?;
    assert_eq!(first.manifest_descriptor()?.digest, second.manifest_descriptor()?.digest);
    let derived = first.derive(&directory.path().join("derived"), |manifest| {
        manifest.layers[0].media_type = super::small_app::MEDIA_TYPE_UNKNOWN.into();
    })?;
    assert_ne!(first.manifest_descriptor()?.digest, derived.manifest_descriptor()?.digest);
    let blob = derived.blob_path(&derived.manifest()?.layers[0].digest);
    assert!(blob.exists(), "the derived image lost its layer");
    Ok(())
}
