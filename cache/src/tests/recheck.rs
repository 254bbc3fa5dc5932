//! Release builds look at some reads again: a part of all bytes, whatever the size of reads.

use std::os::unix::fs::FileExt as _;

use super::*;

/// Of a chunk that was damaged on the disk, how many reads of `length` bytes pass until it is noticed.
fn reads_until_noticed(length: u64) -> usize {
    let fixture = Fixture::new();
    let blob = blob(&[("file", vec![7; 8192])]);
    let cache = Cache::open(Config { recheck_one_in: 3, ..fixture.config(1) }).unwrap();
    let layer = publish(&cache, &blob);
    fill(&layer, &blob);
    let data = fs::File::options().write(true).open(fixture.only("cache").join("data")).unwrap();
    data.write_all_at(&[8], 8000).unwrap();
    let read = || layer.read(DataOffset(0).span(length));
    std::iter::repeat_with(read).take(100).take_while(|read| matches!(read, Read::Whole(_))).count()
}

#[test]
fn rechecks_cost_a_part_of_what_is_read() {
    assert_eq!(reads_until_noticed(8192), 2);
    assert_eq!(reads_until_noticed(2048), 11);
}
