//! The serving process dies, and its successor goes on.

mod process;

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustix::fs::{Advice, fadvise};

use self::process::{FILES, Relay, SIZE, Shared, expected};
use crate::harness::{eventually, within};

/// Reads a whole file past the page cache's copy, if it has one, and compares.
fn read_anew(relay: &Shared, number: u32) -> io::Result<()> {
    let file = File::open(relay.file(number))?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut found = vec![0; SIZE];
    file.read_exact_at(&mut found, 0)?;
    assert!(found == expected(number), "file {number} has wrong bytes");
    Ok(())
}

/// One reader per file, each with its outcome.
fn readers(relay: &Arc<Shared>) -> Vec<thread::JoinHandle<io::Result<()>>> {
    let reader = |number| {
        let relay = Arc::clone(relay);
        thread::spawn(move || read_anew(&relay, number))
    };
    (0..FILES).map(reader).collect()
}

fn outcomes(readers: Vec<thread::JoinHandle<io::Result<()>>>) -> Vec<io::Result<()>> {
    within("readers", move || readers.into_iter().map(|reader| reader.join().unwrap()).collect())
}

#[test]
fn reads_that_wait_outlive_any_number_of_kills() {
    let mut relay = Relay::start(false);
    relay.hold(true);
    let readers = readers(&relay.shared());
    for _ in 0..5 {
        relay.eventually_holds(FILES);
        relay.kill();
        relay.start_successor();
    }
    relay.hold(false);
    assert!(outcomes(readers).into_iter().all(|outcome| outcome.is_ok()));
    eventually("all are answered", || relay.waiting() == 0);
}

#[test]
fn kills_at_any_moment_under_load() {
    let mut relay = Relay::start(false);
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (relay, stop, reads) = (relay.shared(), Arc::clone(&stop), Arc::clone(&reads));
            thread::spawn(move || -> io::Result<()> {
                for number in (0..FILES).cycle().skip(reader * 10).take_while(|_| !stop.load(Relaxed)) {
                    read_anew(&relay, number)?;
                    let missing = format!("missing {reader} {}", reads.fetch_add(1, Relaxed));
                    assert!(!relay.tree().join(missing).try_exists()?);
                }
                Ok(())
            })
        })
        .collect();
    for round in 0..20 {
        let before = reads.load(Relaxed);
        eventually("somebody reads", || reads.load(Relaxed) > before + 4);
        thread::sleep(Duration::from_micros(137 * round));
        relay.kill();
        relay.start_successor();
    }
    stop.store(true, Relaxed);
    assert!(outcomes(readers).into_iter().all(|outcome| outcome.is_ok()));
}

/// Such a read fails, or the kernel itself asks once more and waits for the successor.
#[test]
fn where_the_kernel_cannot_resend_nobody_hangs() {
    let mut relay = Relay::start(true);
    relay.hold(true);
    let readers = readers(&relay.shared());
    relay.eventually_holds(FILES);
    relay.kill();
    relay.hold(false);
    relay.start_successor();
    outcomes(readers);
    let relay = relay.shared();
    within("reading again", move || (0..FILES).for_each(|number| read_anew(&relay, number).unwrap()));
}

#[test]
fn a_connection_that_is_gone_is_known_as_such() {
    let mut relay = Relay::start(false);
    assert!(relay.is_alive());
    relay.kill();
    assert!(relay.is_alive(), "nobody serves it, but it is there");
    relay.abort();
    assert!(!relay.is_alive());
    assert!(fs::metadata(relay.file(0)).is_err());
}

#[test]
fn a_file_that_is_the_servers_end_is_refused_after_three() {
    let mut relay = Relay::start(false);
    let shared = relay.shared();
    let victim = thread::spawn(move || fs::read(shared.deadly("deadly")));
    let others = readers(&relay.shared());
    for _ in 0..3 {
        relay.eventually_dies();
        relay.start_successor();
    }
    let outcome = within("the victim", move || victim.join().unwrap());
    assert_eq!(outcome.unwrap_err().raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    assert!(outcomes(others).into_iter().all(|outcome| outcome.is_ok()));
    let shared = relay.shared();
    within("others, and the same again", move || {
        read_anew(&shared, 3).unwrap();
        assert_eq!(fs::metadata(shared.deadly("harmless")).unwrap().len(), 0);
        assert!(fs::read(shared.deadly("deadly")).is_err());
        read_anew(&shared, 3).unwrap();
    });
    relay.kill();
}
