//! Tars that must be refused, each with the check that refuses it.

use super::tar::{Data, index, one};
use crate::Limits;
use crate::stream::TarIndexer;
use crate::testing::{File, TarEntry, seal, tar};

fn refuse(bytes: &[u8]) -> String {
    index(bytes).map(|_| ()).expect_err("tar is refused").to_string()
}

fn changed(at: usize, value: &[u8]) -> String {
    refuse(&one(&TarEntry::file("f", b"content"), |header| {
        header[at..at + value.len()].copy_from_slice(value)
    }))
}

fn pax(records: &str) -> String {
    let header = one(&TarEntry::file("pax", records.as_bytes()), |header| header[156] = b'x');
    refuse(&[header, tar(&[TarEntry::file("f", &[1; 600])])].concat())
}

#[test]
fn headers() {
    assert!(refuse(&[b'x'; 512]).contains("not a tar header"));
    let mut bytes = tar(&[TarEntry::file("f", b"")]);
    bytes[0] ^= 1;
    assert_eq!(refuse(&bytes), "byte 512 of the layer's tar: not a tar header, or its checksum is wrong");
    assert!(refuse(&[vec![0; 512], vec![1; 512]].concat()).contains("a block of zeros, and then none"));
    assert!(changed(108, b"0000009\0").contains("not octal"));
    assert!(changed(136, &[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]).contains("more than 63 bits"));
    assert!(changed(124, &[0xff; 12]).contains("its size is negative"));
    for kind in *b"7VDMNAXZ" {
        let message = changed(156, &[kind]);
        assert_eq!(
            message,
            format!("\"f\", entry 1 of the layer's tar: type {:?} is not known", char::from(kind))
        );
    }
    let device = TarEntry::new("c", File::CharDevice(1, 2));
    let device = one(&device, |header| header[329..337].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0x10, 0]));
    assert!(refuse(&device).contains("12 + 20 bits"));
    assert!(refuse(&tar(&[TarEntry::file("../f", b"")])).contains("path leaves the root"));
}

#[test]
fn sizes_that_lie() {
    // More than there is.
    assert!(changed(124, b"00000100000\0").contains("ends in the middle of a file"));
    // More than a filesystem holds.
    assert!(
        changed(124, &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).contains("16 TiB")
    );
    // Less: what follows is not a header.
    let less =
        one(&TarEntry::file("f", &[b'x'; 2000]), |header| header[124..136].copy_from_slice(b"00000000001\0"));
    assert!(refuse(&less).contains("not a tar header"));
    // Of a whiteout, whose bytes nobody wants.
    let whiteout =
        one(&TarEntry::file(".wh.f", b""), |header| header[124..136].copy_from_slice(b"00000100000\0"));
    assert!(refuse(&whiteout).contains("ends in the middle of an entry"));
    // Of a header that goes before another.
    let long = one(&TarEntry::file("f", b""), |header| {
        header[156] = b'L';
        header[124..136].copy_from_slice(b"77777777777\0");
    });
    assert!(refuse(&long).contains("longer than 1 MiB"));
    assert!(pax("20 size=10000000000\n").contains("ends in the middle of a file"));
    assert!(pax("11 size=-1\n").contains("size is negative"));
}

#[test]
fn pax_records() {
    for bad in [
        "12 path=f",
        "100 path=f\n",
        "5 =x\n",
        "0 path=f\n",
        "8 path=f\n",
        "x path=f\n",
        "10 pathf..\n",
        "11 path=\0.\n",
        "11 uid=abc\n",
        "13 mtime=1,5\n",
        "14 atime=late\n",
        "99999999999999999999 a=b\n",
    ] {
        let message = pax(bad);
        assert!(message.contains("PAX header is damaged"), "{bad:?}: {message}");
    }
}

#[test]
fn sparse_maps() {
    let records = |lines: &[&str]| {
        let record = |line: &&str| {
            let length = line.len() + 4;
            assert!((10..100).contains(&length));
            format!("{length} {line}\n")
        };
        lines.iter().map(record).collect::<String>()
    };
    let old = |map: &str, count: &str, size: &str| {
        let size = format!("GNU.sparse.size={size}");
        pax(&records(&[&format!("GNU.sparse.map={map}"), &format!("GNU.sparse.numblocks={count}"), &size]))
    };
    let damaged = |message: String| assert!(message.contains("sparse map is damaged"), "{message}");
    damaged(old("0,300,200,300", "2", "1000"));
    damaged(old("0,600", "2", "1000"));
    damaged(old("0,600", "-1", "1000"));
    damaged(old("0,600", "1", "599"));
    damaged(old("-1,600", "1", "1000"));
    damaged(old("9223372036854775807,600", "1", "9223372036854775807"));
    assert!(old("0,300", "1", "1000").contains("does not fit the bytes"));
    assert!(old("0,601", "1", "1000").contains("does not fit the bytes"));
    let new = records(&["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=1000"]);
    damaged(pax(&new));

    // In an old GNU header, which is none.
    let ustar = one(&TarEntry::file("f", b""), |header| header[156] = b'S');
    assert!(refuse(&ustar).contains("not in GNU's form"));
    // Blocks of a map that never end.
    let mut endless = one(&TarEntry::file("f", b""), |header| {
        header[156] = b'S';
        header[257..265].copy_from_slice(b"ustar  \0");
        header[329..].fill(0);
        header[482] = 1;
    });
    let mut block = [0; 512];
    block[..504].fill(b'1');
    block[504] = 1;
    let length = endless.len();
    endless.resize(length + 3000 * 512, 0);
    endless[length..].chunks_exact_mut(512).for_each(|to| to.copy_from_slice(&block));
    seal(&mut endless);
    assert!(refuse(&endless).contains("longer than 1 MiB"));
}

#[test]
fn limits() {
    let refuse = |limits: &Limits, bytes: &[u8]| {
        TarIndexer::new(limits).push(bytes, &mut Data::default()).unwrap_err().to_string()
    };
    let files: Vec<_> = (0..4).map(|number| TarEntry::file(&number.to_string(), b"x")).collect();
    let few = Limits { entries: 3, ..Limits::default() };
    assert!(refuse(&few, &tar(&files)).contains("more than 3 entries"));
    let few = Limits { chunks: 3, ..Limits::default() };
    assert!(refuse(&few, &tar(&files)).contains("more than 3 pieces"));
}
