//! One layer's bytes do not come: everybody else goes on.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
};

use crate::{
    fixture::{Builder, Layer, content},
    harness::{Mounted, Overlay, eventually, within},
    source::Trouble,
};

/// More than the kernel's, and the FUSE crate's, default of background requests.
const FILES: u32 = 40;

fn files() -> Layer {
    let mut layer = Builder::new();
    for number in 0..FILES {
        layer.file(&format!("d/{number}"), &content(number, 9000));
        layer.file(&format!("d/other {number}"), b"");
    }
    layer.file("large", &content(99, 8 << 20));
    layer.build()
}

#[test]
fn reads_that_wait_stop_nobody_else() {
    let mounted = Mounted::new();
    mounted.layers.add(1, files());
    mounted.layers.add(2, files());
    mounted.layers.trouble(2, Trouble::Hold);
    let stalled = mounted.path().join("2");
    let readers: Vec<_> = (0..FILES)
        .map(|number| {
            let path = stalled.join(format!("d/{number}"));
            thread::spawn(move || fs::read(path).unwrap() == content(number, 9000))
        })
        .collect();
    // Read-ahead of a large file fills the kernel's queue of background requests as well.
    let large = stalled.join("large");
    let large = thread::spawn(move || fs::read(large).unwrap() == content(99, 8 << 20));
    eventually("all are held", || mounted.layers.held().len() > FILES as usize);
    assert!(mounted.counters().pending_reads > u64::from(FILES));

    let path = mounted.path().to_owned();
    within("the same layer, without its bytes", {
        let stalled = stalled.clone();
        move || {
            // Names that nobody asked for, in the directory where reads wait.
            for number in 0..FILES {
                fs::metadata(stalled.join(format!("d/other {number}"))).unwrap();
                assert!(!stalled.join(format!("d/none {number}")).exists());
            }
            assert_eq!(fs::read_dir(stalled.join("d")).unwrap().count(), 2 * FILES as usize);
            rustix::fs::statfs(&stalled).unwrap();
        }
    });
    within("other layers", {
        let path = path.clone();
        move || {
            assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
            for number in 0..FILES {
                assert!(fs::read(path.join(format!("1/d/{number}"))).unwrap() == content(number, 9000));
            }
            assert!(fs::read(path.join("1/large")).unwrap() == content(99, 8 << 20));
        }
    });
    within("mounting", {
        let path = path.clone();
        move || {
            let overlay = Overlay::of(&[path.join("2"), path.join("1")]);
            assert_eq!(fs::read_dir(overlay.at("d")).unwrap().count(), 2 * FILES as usize);
        }
    });

    mounted.layers.release();
    within("what waited", move || {
        assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
        assert!(large.join().unwrap());
    });
    eventually("all are answered", || mounted.counters().pending_reads == 0);
    assert_eq!(mounted.counters().failed_reads, 0);
}

#[test]
fn who_waits_can_be_killed() {
    let mounted = Mounted::new();
    mounted.layers.add(1, files());
    mounted.layers.trouble(1, Trouble::Hold);
    let path = mounted.path().join("1/d/0");
    let mut child = Command::new("cat").arg(path).stdout(Stdio::null()).spawn().unwrap();
    eventually("its read is held", || !mounted.layers.held().is_empty());
    child.kill().unwrap();
    within("its end", move || child.wait().unwrap());
    mounted.layers.release();
    eventually("the read is answered", || mounted.counters().pending_reads == 0);
    let path = mounted.path().join("1/d/0");
    within("reading it again", move || assert!(fs::read(path).unwrap() == content(0, 9000)));
}
