#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::io::{Read as _, Write as _};

use flate2::{Compression, GzBuilder};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let builder = GzBuilder::new().filename("name").comment("comment").extra(*b"XY\x02\0ab");
    let mut encoder = builder.write(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn one_member_is_read_and_no_more() {
    let text = b"the first member".repeat(5000);
    let both = [gzip(&text), gzip(b"the second")].concat();
    let mut found = Vec::new();
    Member::new(&both).read_to_end(&mut found).unwrap();
    assert_eq!(found, text);
}

#[test]
fn skip_and_fill() {
    let text: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let compressed = gzip(&text);
    let mut member = Member::new(&compressed);
    member.skip(123_457).unwrap();
    let mut found = vec![0; 1000];
    member.fill(&mut found).unwrap();
    assert_eq!(found, text[123_457..124_457]);
    assert_eq!(member.skip(1 << 40), Err(InflateError::TooShort));
    assert_eq!(member.inflate(&mut found), Ok(0));
}

#[test]
fn damage_is_found() {
    let text = b"bytes ".repeat(1000);
    let whole = gzip(&text);
    let read = |bytes: &[u8]| {
        let mut found = vec![0; text.len() + 1];
        Member::new(bytes).inflate(&mut found)
    };
    assert_eq!(read(&whole), Ok(text.len()));
    assert_eq!(read(b""), Err(InflateError::Truncated));
    assert_eq!(read(b"not gzip"), Err(InflateError::Corrupt));
    for cut in 0..whole.len() {
        assert_eq!(read(&whole[..cut]), Err(InflateError::Truncated), "{cut}");
    }
    for at in whole.len() - 8..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert_eq!(read(&changed), Err(InflateError::Corrupt), "checksum and length are checked: {at}");
    }
}

#[test]
fn reading_nothing_is_no_error() {
    assert_eq!(Member::new(b"").inflate(&mut []), Ok(0));
    assert_eq!(Member::new(b"").skip(0), Ok(()));
}
