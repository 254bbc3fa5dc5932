//! What the two maps on disk promise.

use crate::{
    BootId,
    map::{AtomicBits, Identity, LiveMap, decode_durable, encode_durable},
};

const IDENTITY: Identity = Identity { chunks: 130, data_size: 1 << 20, inode: 7, tree: [3; 32] };
const BOOT: BootId = BootId::from_bytes([1; 16]);
const OTHER_BOOT: BootId = BootId::from_bytes([2; 16]);

fn set_bits(map: &LiveMap) -> Vec<u32> {
    map.bits().iter().collect()
}

#[test]
fn live_map_is_found_again_by_the_same_boot_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map");
    let map = LiveMap::create(&path, &IDENTITY, BOOT).unwrap();
    for id in [0, 63, 64, 129] {
        map.set(id).unwrap();
    }
    map.clear(63).unwrap();
    // Beyond the map: ignored.
    map.set(4000).unwrap();
    drop(map);
    let map = LiveMap::open(&path, &IDENTITY, BOOT).unwrap().unwrap();
    assert_eq!(set_bits(&map), [0, 64, 129]);
    assert!(LiveMap::open(&path, &IDENTITY, OTHER_BOOT).unwrap().is_none());
    for identity in [
        Identity { chunks: 131, ..IDENTITY },
        Identity { chunks: 500, ..IDENTITY },
        Identity { data_size: 0, ..IDENTITY },
        Identity { inode: 8, ..IDENTITY },
        Identity { tree: [4; 32], ..IDENTITY },
    ] {
        assert!(LiveMap::open(&path, &identity, BOOT).unwrap().is_none(), "{identity:?}");
    }
}

#[test]
fn every_flipped_bit_of_a_durable_map_is_noticed() {
    let bits = AtomicBits::new(130, [1 << 5, 0, 3]);
    let file = encode_durable(&IDENTITY, BOOT, &bits);
    let read: Vec<u32> = decode_durable(&IDENTITY, &file).unwrap().iter().collect();
    assert_eq!(read, [5, 128, 129]);
    for at in 0..file.len() {
        let mut file = file.clone();
        file[at] ^= 1;
        assert!(decode_durable(&IDENTITY, &file).is_none(), "byte {at}");
        assert!(decode_durable(&IDENTITY, &file[..at]).is_none(), "cut at {at}");
    }
}

#[test]
fn bits_beyond_the_last_chunk_are_dropped() {
    let bits = AtomicBits::new(3, [u64::MAX, u64::MAX]);
    assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert!(AtomicBits::new(0, []).is_empty());
}

#[test]
fn threads_lose_no_bit_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map");
    let map = LiveMap::create(&path, &IDENTITY, BOOT).unwrap();
    std::thread::scope(|scope| {
        for start in 0..4 {
            let map = &map;
            scope.spawn(move || (start..130).step_by(4).for_each(|id| map.set(id).unwrap()));
        }
    });
    let map = LiveMap::open(&path, &IDENTITY, BOOT).unwrap().unwrap();
    assert_eq!(set_bits(&map), (0..130).collect::<Vec<_>>());
}
