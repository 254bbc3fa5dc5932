//! Files that earlier formats wrote are read to the last record.

use std::fmt::Debug;

use super::*;

/// A file that format 1 wrote, compressed.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/metadata-v1.redb.zst");

// The tables of others than this module, as format 1 has them.
const SLOTS: Table<u32, stored::Slot> = Table::new("slots");
const BLOBS: Table<&'static str, stored::Blob> = Table::new("blobs");
const CONNECTIONS: Table<u64, stored::Connection> = Table::new("connections");

fn digest(byte: &str) -> String {
    format!("sha256:{}", byte.repeat(32))
}

fn slots() -> Vec<(u32, stored::Slot)> {
    let slot = |tree, occurrence| stored::Slot {
        layer_digest: digest("01"),
        toc_digest: digest("02"),
        tree,
        occurrence,
    };
    vec![(7, slot(None, 0)), (8, slot(Some(vec![0xab; 32]), 1))]
}

fn blobs() -> Vec<(String, stored::Blob)> {
    let source = |tag: u64| stored::BlobSource {
        image_ref: format!("registry.example/app:{tag}"),
        manifest_digest: digest("03"),
        size: 1 << 33 | tag,
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
    };
    vec![(digest("01"), stored::Blob { sources: vec![source(2), source(1)] })]
}

fn connections() -> Vec<(u64, stored::Connection)> {
    let connection = stored::Connection {
        number: 53,
        trees: true,
        kernel_major: 7,
        kernel_minor: 45,
        offered: u64::MAX >> 1,
        requested: 0xff,
        max_readahead: 1 << 17,
        max_write: 1 << 20,
        max_background: 65_535,
        congestion_threshold: 49_151,
    };
    vec![(3, connection)]
}

/// Everything that is in the kept file; its snapshots, by key.
fn fill_all(store: &Metastore) -> Vec<SnapshotRecord> {
    let mut snapshots = fill(store);
    let put = |tx: &WriteTx<'_>| {
        slots().iter().try_for_each(|(key, slot)| tx.put(&SLOTS, *key, slot))?;
        blobs().iter().try_for_each(|(key, blob)| tx.put(&BLOBS, key.as_str(), blob))?;
        connections().iter().try_for_each(|(key, connection)| tx.put(&CONNECTIONS, *key, connection))?;
        (0..3).try_for_each(|_| tx.next_number("fuse-generation", 1).map(drop))
    };
    store.write::<_, MetastoreError>(put).unwrap();
    snapshots.sort_by(|a, b| a.key.cmp(&b.key));
    snapshots
}

fn read_all<K, M, O>(
    store: &Metastore,
    table: &Table<K, M>,
    own: impl Fn(K::SelfType<'_>) -> O,
) -> Vec<(O, M)>
where
    K: redb::Key + 'static,
    M: prost::Message + Default + Debug,
{
    let mut all = Vec::new();
    let each = |key: K::SelfType<'_>, message| {
        all.push((own(key), message));
        Ok(())
    };
    store.read(|tx| tx.for_each(table, each)).unwrap();
    all
}

#[test]
fn format_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metadata.redb");
    let kept = fs::read(KEPT).unwrap();
    fs::write(&file, zstd::decode_all(kept.as_slice()).unwrap()).unwrap();
    let expected = fill_all(&Metastore::open(&directory.path().join("new.redb")).unwrap());
    let store = Metastore::open(&file).unwrap();
    assert_eq!(all(&store).unwrap(), expected);
    assert_eq!(read_all(&store, &SLOTS, |slot| slot), slots());
    assert_eq!(read_all(&store, &BLOBS, str::to_owned), blobs());
    assert_eq!(read_all(&store, &CONNECTIONS, |generation| generation), connections());
    // Indexes and sequences go on.
    let removed = store.write(|tx| tx.remove_snapshot("peel/00"));
    assert!(matches!(removed, Err(MetastoreError::HasChildren(key)) if key == "peel/00"));
    assert_eq!(store.write(|tx| tx.next_number("fuse-generation", 1)).unwrap(), 4);
    assert!(expected.iter().all(|record| record.id < store.allocate_id()));
}

/// Writes the file that `format_1_is_read` reads. Run once per format, by hand, before the next format exists.
#[test]
#[ignore = "writes into the source tree"]
fn keep_this_format() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("metadata.redb");
    fill_all(&Metastore::open(&file).unwrap());
    let bytes = zstd::encode_all(fs::read(&file).unwrap().as_slice(), 19).unwrap();
    fs::write(KEPT, bytes).unwrap();
}
