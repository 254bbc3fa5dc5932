//! One mount, served by one process after the other.

use std::{
    fmt::Write as _,
    fs,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use peel_fusefs::{Config, Connection, Handshake, InitParameters, Marks, detach, is_alive, mount};
use tempfile::TempDir;

use crate::{
    fixture::{Builder, content},
    harness::{eventually, scratch},
    source::{Layers, Trouble},
};

pub(super) const FILES: u32 = 40;
pub(super) const SIZE: usize = 200_000;

pub(super) fn expected(number: u32) -> Vec<u8> {
    content(number, SIZE)
}

/// What the readers need; shared with their threads.
pub(super) struct Relay {
    shared: Arc<Shared>,
    server: Option<Child>,
    no_resend: bool,
}

pub(super) struct Shared {
    directory: TempDir,
    device: OwnedFd,
    connection: Connection,
}

impl Shared {
    pub(super) fn tree(&self) -> PathBuf {
        self.mount_point().join("1")
    }

    pub(super) fn file(&self, number: u32) -> PathBuf {
        self.tree().join(number.to_string())
    }

    /// In a layer in which each read of a byte is the end of the server.
    pub(super) fn deadly(&self, name: &str) -> PathBuf {
        self.mount_point().join("2").join(name)
    }

    fn mount_point(&self) -> PathBuf {
        self.directory.path().join("mount")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = self.connection.abort();
        let _ = detach(&self.mount_point());
    }
}

impl Relay {
    /// Mounts, and starts the first server.
    pub(super) fn start(no_resend: bool) -> Self {
        let directory = scratch();
        let mount_point = directory.path().join("mount");
        fs::create_dir(&mount_point).unwrap();
        let device = mount(&mount_point).expect("needs root and /dev/fuse");
        let connection = Connection::at(&mount_point).unwrap();
        let shared = Arc::new(Shared { directory, device, connection });
        let mut relay = Self { shared, server: None, no_resend };
        relay.start_successor();
        // One file is closed while somebody serves: the kernel learns that it need not tell. Else the next server,
        // forked off with the readers' files, would close them before it serves, and wait for itself.
        drop(fs::File::open(relay.file(0)).unwrap());
        relay
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// This program once more; the device is its standard input.
    pub(super) fn start_successor(&mut self) {
        let _ = fs::remove_file(self.at("held"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "hand_over::process::serve", "--ignored", "--nocapture"]);
        command.env(DIRECTORY, self.shared.directory.path()).stdout(Stdio::null());
        if self.no_resend {
            command.env(NO_RESEND, "1");
        }
        command.stdin(self.shared.device.try_clone().unwrap());
        assert!(self.server.replace(command.spawn().unwrap()).is_none(), "it is served already");
        eventually("it serves", || self.at("held").exists());
    }

    pub(super) fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// The server dies by itself.
    pub(super) fn eventually_dies(&mut self) {
        let mut server = self.server.take().unwrap();
        eventually("it dies", || server.try_wait().unwrap().is_some());
    }

    /// Reads are held back, or let go, by this server and its successors.
    pub(super) fn hold(&self, hold: bool) {
        let gate = self.at("gate");
        if hold {
            fs::write(gate, "").unwrap()
        } else {
            fs::remove_file(gate).unwrap()
        }
        if hold && self.server.is_some() {
            eventually("it is noticed", || self.at("noticed").exists());
        }
    }

    pub(super) fn eventually_holds(&self, at_least: u32) {
        let held = || fs::read_to_string(self.at("held")).ok()?.trim().parse::<u32>().ok();
        eventually("reads are held", || held().is_some_and(|held| held >= at_least));
    }

    pub(super) fn waiting(&self) -> u64 {
        self.shared.connection.waiting().unwrap()
    }

    pub(super) fn is_alive(&self) -> bool {
        is_alive(self.shared.device.as_fd())
    }

    pub(super) fn abort(&self) {
        self.shared.connection.abort().unwrap();
    }

    pub(super) fn file(&self, number: u32) -> PathBuf {
        self.shared.file(number)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.shared.directory.path().join(name)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Who waits must be let go before anything else can.
        let _ = self.shared.connection.abort();
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

const DIRECTORY: &str = "PEEL_TEST_HAND_OVER";
const NO_RESEND: &str = "PEEL_TEST_NO_RESEND";

/// The serving process.
#[test]
#[ignore = "started by the other tests"]
fn serve() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let mut files = Builder::new();
    for number in 0..FILES {
        files.file(&number.to_string(), &expected(number));
    }
    let layers = Arc::new(Layers::default());
    layers.add(1, files.build());
    let mut deadly = Builder::new();
    deadly.file("deadly", b"one request");
    deadly.file("harmless", b"");
    layers.add(2, deadly.build());
    layers.trouble(2, Trouble::Abort);

    let assume_no_resend = std::env::var_os(NO_RESEND).is_some();
    let mut memory = fs::File::options();
    memory.create(true).truncate(false).read(true).write(true);
    let memory = memory.open(directory.join("marks")).unwrap();
    let marks = Some(Marks::begin(memory.into()).unwrap());
    let config = Config { assume_no_resend, marks, ..Config::default() };
    let device = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let source = Arc::clone(&layers);
    let handshake = match recorded(&directory) {
        Some(init) => Handshake::resume(device, &init, source, &config).unwrap(),
        None => Handshake::first(device, source, &config).unwrap(),
    };
    record(&directory, handshake.init_parameters());
    let mut held = false;
    let mut follow_gate = || {
        let hold = directory.join("gate").exists();
        if hold && !held {
            layers.trouble(1, Trouble::Hold);
            fs::write(directory.join("noticed"), "").unwrap();
        }
        if !hold && held {
            layers.release();
        }
        held = hold;
        let count = layers.held_count();
        fs::write(directory.join("held.new"), count.to_string()).unwrap();
        fs::rename(directory.join("held.new"), directory.join("held")).unwrap();
    };
    // As it was with the predecessor, before anything is answered.
    follow_gate();
    let server = handshake.serve(&directory.join("mount"), |_| {}).unwrap();
    while server.is_serving() {
        follow_gate();
        thread::sleep(Duration::from_millis(2));
    }
}

fn recorded(directory: &Path) -> Option<InitParameters> {
    let text = fs::read_to_string(directory.join("init")).ok()?;
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [major, minor, offered, requested, read_ahead, write, background, congestion] = numbers[..] else {
        panic!("{text}")
    };
    let narrow = |number: u64| u32::try_from(number).unwrap();
    Some(InitParameters {
        kernel_major: narrow(major),
        kernel_minor: narrow(minor),
        offered,
        requested,
        max_readahead: narrow(read_ahead),
        max_write: narrow(write),
        max_background: background.try_into().unwrap(),
        congestion_threshold: congestion.try_into().unwrap(),
    })
}

fn record(directory: &Path, init: &InitParameters) {
    let mut text = String::new();
    for number in [
        u64::from(init.kernel_major),
        init.kernel_minor.into(),
        init.offered,
        init.requested,
        init.max_readahead.into(),
        init.max_write.into(),
        init.max_background.into(),
        init.congestion_threshold.into(),
    ] {
        write!(text, "{number} ").unwrap();
    }
    fs::write(directory.join("init"), text).unwrap();
}
