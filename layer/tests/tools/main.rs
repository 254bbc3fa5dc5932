//! Layers as other tools write them: GNU tar in all its formats, sparse files in all their forms, gzip, pigz and zstd
//! with whatever options change the stream. What the layer shows must be what was packed.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod behind_the_end;

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use peel_erofs::{FileType, Image, NodeKind, load_tree};
use peel_layer::implied::find;
use peel_layer::testing::{Streamed, stream_whole};
use peel_layer::{DiffId, Format};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Runs a tool on bytes.
fn run(tool: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{tool}: {error}; `make install-deps` installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A tool that gives up leaves bytes unread.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

/// What a tool makes of bytes.
fn filter(tool: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = run(tool, arguments, input);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    output.stdout
}

fn tar(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new("tar").args(["--sort=name", "-C"]).arg(directory).args(arguments).arg(".").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A directory with something of everything that needs no root. Names fit ustar unless they may be `long`.
fn something(long: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("d/e")).unwrap();
    fs::write(at("d/hello"), "hello").unwrap();
    fs::write(at("d/empty"), "").unwrap();
    fs::write(at("d/e/block"), [7; 512]).unwrap();
    fs::write(at("d/e/large"), bytes(3 << 20)).unwrap();
    fs::hard_link(at("d/hello"), at("link")).unwrap();
    symlink("d/hello", at("symlink")).unwrap();
    fs::set_permissions(at("d/hello"), Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(at("d/e"), Permissions::from_mode(0o1777)).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(3_000_001).unwrap();
    for number in 0..40 {
        sparse.write_all_at(b"not a hole", number * 70_000 + 17).unwrap();
    }
    fs::File::create(at("hole")).unwrap().set_len(300_000).unwrap();
    if long {
        let name = "n".repeat(200);
        fs::create_dir(at(&name)).unwrap();
        fs::write(at(&name).join(&name), "long").unwrap();
        symlink("t".repeat(300), at("to something long")).unwrap();
        fs::write(at("ünï"), "unicode").unwrap();
    }
    directory
}

/// Bytes that compress to about a half.
fn bytes(length: usize) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(7);
    (0..length).map(|_| random.random_range(b'a'..b'q')).collect()
}

/// Compares what a layer shows below `path` with a directory.
fn compare(directory: &Path, path: &str, image: &Image<&Vec<u8>>, data: &[u8], nanoseconds: bool) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
        let inode = find(image, path.as_bytes()).unwrap().unwrap_or_else(|| panic!("{path} is missing"));
        let expected = entry.metadata().unwrap();
        assert_eq!(u32::from(inode.permissions()), expected.mode() & 0o7777, "{path}");
        assert_eq!((inode.uid, inode.gid), (expected.uid(), expected.gid()), "{path}");
        assert_eq!(inode.mtime.seconds, expected.mtime(), "{path}");
        if nanoseconds {
            assert_eq!(i64::from(inode.mtime.nanoseconds), expected.mtime_nsec(), "{path}");
        }
        match inode.file_type() {
            FileType::Directory => compare(&entry.path(), &path, image, data, nanoseconds),
            FileType::Symlink => {
                let target = fs::read_link(entry.path()).unwrap();
                assert_eq!(
                    image.symlink_target(&inode).unwrap(),
                    target.to_str().unwrap().as_bytes(),
                    "{path}"
                );
            }
            _ => {
                let content = fs::read(entry.path()).unwrap();
                assert_eq!(inode.size, content.len() as u64, "{path}");
                assert_eq!(u64::from(inode.nlink), expected.nlink(), "{path}");
                let start =
                    image.data_start(&inode).unwrap().map_or(0, |start| usize::try_from(start).unwrap());
                // What was not written is zeros: the data file ends with the last byte of a file.
                let stored = data.get(start..).unwrap_or_default();
                let (stored, zeros) = content.split_at(stored.len().min(content.len()));
                assert!(data[start.min(data.len())..].starts_with(stored), "{path}");
                assert!(zeros.iter().all(|&byte| byte == 0), "{path}");
            }
        }
    }
}

fn check(directory: &Path, streamed: &Streamed, nanoseconds: bool) {
    let image = Image::open(&streamed.bytes.tree).unwrap();
    compare(directory, "", &image, &streamed.data, nanoseconds);
    fn count(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().map(|it| it.unwrap()).fold(0, |sum, entry| {
            let below = if entry.file_type().unwrap().is_dir() { count(&entry.path()) } else { 0 };
            sum + 1 + below
        })
    }
    let tree = load_tree(&image).unwrap();
    assert!(!matches!(tree.kind(tree.root()), NodeKind::Socket));
    // The hard link is one node with two names; the root is a node too.
    assert_eq!(tree.node_count(), count(directory), "nothing else is there");
}

#[test]
fn formats_of_gnu_tar() {
    let (short, long) = (something(false), something(true));
    for arguments in [
        &["--format=v7"][..],
        &["--format=ustar"],
        &["--format=oldgnu"],
        &["--format=gnu"],
        &["--format=posix"],
        &["--format=oldgnu", "-S"],
        &["--format=gnu", "-S"],
        &["--format=posix", "-S", "--sparse-version=0.0"],
        &["--format=posix", "-S", "--sparse-version=0.1"],
        &["--format=posix", "-S", "--sparse-version=1.0"],
        &["--format=posix", "--pax-option=delete=atime,comment=hi"],
    ] {
        let directory = if matches!(arguments[0], "--format=v7" | "--format=ustar") { &short } else { &long };
        let bytes = tar(directory.path(), &[arguments, &["-cf", "-"]].concat());
        let streamed = stream_whole(&bytes).unwrap();
        assert_eq!(streamed.diff_id, DiffId::of(&bytes));
        assert_eq!(streamed.index.format(), Format::Tar);
        check(directory.path(), &streamed, arguments[0] == "--format=posix");
        streamed.check_decoding(&bytes);
        let sparse = arguments.contains(&"-S");
        assert_eq!(streamed.index.content_size() < 5 << 20, sparse, "holes are not stored: {arguments:?}");
    }
}

#[test]
fn compressors() {
    let directory = something(true);
    let bytes = tar(directory.path(), &["-cf", "-"]);
    for (tool, arguments, format) in [
        ("gzip", &["-1"][..], Format::Gzip),
        ("gzip", &["-9"], Format::Gzip),
        ("gzip", &["--rsyncable"], Format::Gzip),
        ("pigz", &["-p", "2"], Format::Gzip),
        ("pigz", &["-p", "2", "-b", "256", "-i"], Format::Gzip),
        // Stored blocks; Huffman alone; runs alone.
        ("pigz", &["-0"], Format::Gzip),
        ("pigz", &["-H"], Format::Gzip),
        ("pigz", &["-U"], Format::Gzip),
        ("zstd", &["-q"], Format::Zstd),
        ("zstd", &["-q", "--no-check", "--no-content-size"], Format::Zstd),
        ("zstd", &["-q", "-19", "--long=27"], Format::Zstd),
        ("zstd", &["-q", "--fast=5", "--content-size"], Format::Zstd),
    ] {
        let blob = filter(tool, &[arguments, &["-c"]].concat(), &bytes);
        let streamed = stream_whole(&blob).unwrap_or_else(|error| panic!("{tool} {arguments:?}: {error}"));
        assert_eq!(
            (streamed.diff_id, streamed.index.format()),
            (DiffId::of(&bytes), format),
            "{tool} {arguments:?}"
        );
        streamed.check_decoding(&blob);
        check(directory.path(), &streamed, false);
        assert_eq!(format.has_seek_index(), !streamed.bytes.seek.is_empty());
    }
}

/// Members cut in the middle of files, with names in their headers.
#[test]
fn many_members_and_frames() {
    let directory = something(true);
    let bytes = tar(directory.path(), &["-cf", "-"]);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("a name");
    for (tool, arguments) in [("gzip", &["-5", "-c", "-N"][..]), ("zstd", &["-q", "-c"])] {
        let mut blob = Vec::new();
        for part in bytes.chunks(1_234_567) {
            fs::write(&file, part).unwrap();
            let output = Command::new(tool).args(arguments).arg(&file).output().unwrap();
            blob.extend(output.stdout);
        }
        let streamed = stream_whole(&blob).unwrap();
        assert_eq!(streamed.diff_id, DiffId::of(&bytes));
        assert!(streamed.index.unit_count() >= 3);
        streamed.check_decoding(&blob);
    }
}
