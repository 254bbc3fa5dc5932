//! What is broken is that request's trouble and nobody else's.

use std::{fs, io, os::fd::AsFd, os::unix::fs::MetadataExt, path::PathBuf};

use peel_fusefs::{Opcode, attach, detach};
use rustix::io::Errno;

use crate::{
    fixture::{Builder, Layer, content},
    harness::{Mounted, eventually, within},
    source::Trouble,
};

fn layer() -> Layer {
    let mut layer = Builder::new();
    for name in ["a", "b", "c", "d"] {
        layer.file(&format!("d/{name}"), &content(1, 5000));
    }
    layer.build()
}

fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

fn read(path: PathBuf) -> Option<Errno> {
    within("reading", move || errno(fs::read(path)))
}

#[test]
fn reads_that_fail_are_eio_and_heal() {
    let mounted = Mounted::new();
    let troubles = [Trouble::Panic, Trouble::Unavailable, Trouble::Short, Trouble::Forget];
    for (slot, trouble) in (1..).zip(troubles) {
        mounted.layers.add(slot, layer());
        mounted.layers.trouble(slot, trouble);
    }
    for slot in 1..=4 {
        let path = mounted.path().join(format!("{slot}/d/a"));
        assert_eq!(read(path), Some(Errno::IO), "slot {slot}");
    }
    let counters = mounted.counters();
    assert!(counters.panics >= 1);
    assert!(counters.failed_reads >= 4);
    assert_eq!(counters.pending_reads, 0);

    mounted.layers.release();
    for slot in 1..=4 {
        assert_eq!(read(mounted.path().join(format!("{slot}/d/a"))), None, "slot {slot}");
    }
}

#[test]
fn a_panic_in_any_handler_is_eio() {
    let mounted = Mounted::new();
    mounted.layers.add(1, layer());
    let tree = mounted.tree(1);
    mounted.layers.trouble(1, Trouble::PanicInTree);
    assert_eq!(errno(fs::metadata(tree.at("d"))), Some(Errno::IO));
    assert_eq!(errno(fs::read_dir(tree.at("")).and_then(|mut list| list.next().unwrap())), Some(Errno::IO));
    assert!(mounted.counters().panics >= 2);
    mounted.layers.release();
    assert_eq!(errno(fs::metadata(tree.at("d"))), None);
}

#[test]
fn a_slot_that_is_gone_is_stale() {
    let mounted = Mounted::new();
    mounted.layers.add(1, layer());
    let tree = mounted.tree(1);
    fs::metadata(tree.at("d/a")).unwrap();
    assert_eq!(read(tree.at("d/b")), None);
    mounted.layers.remove(1);
    assert_eq!(read(tree.at("d/b")), None, "what the kernel has it keeps");
    assert_eq!(read(tree.at("d/a")), Some(Errno::STALE), "bytes that were not read before");
    // After an ESTALE the kernel asks again from the top of the path, so this comes last.
    assert_eq!(errno(fs::metadata(tree.at("d/c"))), Some(Errno::STALE), "a new name");
}

#[test]
fn a_damaged_image_is_its_own_trouble() {
    let mounted = Mounted::new();
    mounted.layers.add(1, layer());
    let mut damaged = layer();
    damaged.image = damaged.image.slice(..1000);
    mounted.layers.add(2, damaged);
    // The first block has a checksum, this inode lies there.
    let mut damaged = layer();
    let mut image = damaged.image.to_vec();
    image[1300] ^= 1;
    damaged.image = image.into();
    mounted.layers.add(3, damaged);
    for slot in ["2", "3"] {
        assert_eq!(errno(fs::metadata(mounted.path().join(slot))), Some(Errno::UCLEAN));
    }
    assert_eq!(fs::read_dir(mounted.path()).unwrap().count(), 1);
    assert_eq!(read(mounted.path().join("1/d/a")), None);
}

#[test]
fn unmounted_by_hand_it_comes_back_as_the_same() {
    let mounted = Mounted::new();
    mounted.layers.add(1, layer());
    let tree = mounted.tree(1);
    let before = fs::metadata(tree.at("d/a")).unwrap();
    detach(mounted.path()).unwrap();
    assert!(!mounted.path().join("1").exists());
    assert_eq!(read(tree.at("d/b")), None, "who is in goes on");
    attach(mounted.device.as_fd(), mounted.path()).unwrap();
    let after = fs::metadata(mounted.path().join("1/d/a")).unwrap();
    assert_eq!((after.dev(), after.ino()), (before.dev(), before.ino()));
    assert!(mounted.server.is_serving());
}

#[test]
fn an_aborted_connection_ends_the_server() {
    let mounted = Mounted::new();
    mounted.layers.add(1, layer());
    mounted.layers.trouble(1, Trouble::Hold);
    let path = mounted.path().join("1/d/a");
    let reader = std::thread::spawn(move || errno(fs::read(path)));
    eventually("the read is held", || !mounted.layers.held().is_empty());
    assert!(mounted.connection.waiting().unwrap() >= 1);
    mounted.connection.abort().unwrap();
    let error = within("who waited", move || reader.join().unwrap());
    assert!(matches!(error, Some(Errno::IO | Errno::CONNABORTED | Errno::NOTCONN)), "{error:?}");
    eventually("the server ends", || !mounted.server.is_serving());
}

#[test]
fn the_handshake_is_remembered() {
    let mounted = Mounted::new();
    let init = mounted.server.init_parameters();
    assert_eq!(init.kernel_major, 7);
    assert_eq!(init.requested & !init.offered, 0);
    assert_eq!(init.idmappable(), init.offered & (1 << 40) != 0);
    assert!(init.max_readahead >= 4096 && init.max_write == 1 << 20);
    assert_eq!((init.max_background, init.congestion_threshold), (u16::MAX, u16::MAX));
    assert_eq!(mounted.counters().of(Opcode::Change), 0);
}
