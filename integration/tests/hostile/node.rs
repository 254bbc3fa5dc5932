//! The node under attack, and whether it is well.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    images::HandMade,
    images::{Image, Layer, Layout, small_app::base_layer},
    node::{Images, Node},
    unpacker::Unpacker,
};
use serde_json::Value;

/// What anonymous memory may grow by, at any moment of a scenario. Seen: 2 MiB.
const GROWTH: u64 = 32 << 20;

pub(crate) struct Victim {
    pub(crate) node: Node,
    /// busybox, which is below all images.
    pub(crate) base: Layer,
    memory: Memory,
    pid: u32,
}

/// An image in the registry.
pub(crate) struct Pushed {
    pub(crate) layout: Layout,
    /// As the node calls it.
    pub(crate) reference: String,
}

impl Pushed {
    /// Digest of a layer's blob; 0 is the base's.
    pub(crate) fn layer(&self, position: usize) -> Result<String> {
        Ok(self.layout.manifest()?.layers[position].digest.clone())
    }
}

impl Victim {
    /// A node that has an honest image with the common base, and a daemon that has served it.
    pub(crate) fn start(version: Version) -> Result<Self> {
        let config = toml::toml! {
            [cache]
            unreferenced_ttl = "1s"
            interval = "200ms"
            [fetch]
            read_timeout = "10s"
        };
        let mut node = Node::builder(version).images(&Images::start()?).peel_config(config).start()?;
        let base = HandMade::default().estargz(base_layer()?.entries())?;
        let pid = node.peel()?.pid();
        let mut victim = Self { node, base, memory: Memory::watch(pid)?, pid };
        let honest = victim.push("honest", vec![])?;
        victim.node.cri().pull(&honest.reference)?;
        victim.run(&honest, "echo up")?;
        victim.memory = Memory::watch(pid)?;
        Ok(victim)
    }

    /// The base with these layers on top, pushed as `name:it`.
    pub(crate) fn push(&self, name: &str, layers: Vec<Layer>) -> Result<Pushed> {
        let layers = [vec![self.base.clone()], layers].concat();
        let image = Image::new(layers, &["/bin/busybox", "sleep", "3600"]);
        self.push_layout(name, image.write(&self.node.images().path().join(name))?)
    }

    pub(crate) fn push_layout(&self, name: &str, layout: Layout) -> Result<Pushed> {
        let name = format!("{name}:it");
        self.node.images().push(&layout, &name)?;
        Ok(Pushed { layout, reference: self.node.image(&name) })
    }

    /// What a script prints, errors included, in a container of a pulled image.
    pub(crate) fn run(&self, image: &Pushed, script: &str) -> Result<String> {
        let container = self.node.start_container(&image.reference, &[])?;
        let exec = self.node.exec(&container, &["/bin/sh", "-c", &format!("exec 2>&1; {script}")])?;
        self.node.remove(&container)?;
        Ok(exec.text())
    }

    /// What `peel layers` says of a blob.
    pub(crate) fn layers(&mut self, digest: &str) -> Result<Vec<Value>> {
        let layers = self.node.peel()?.json("layers")?;
        let layers = layers.as_array().context("a list of layers")?;
        Ok(layers.iter().filter(|layer| layer["digest"] == digest).cloned().collect())
    }

    /// An unpacker in a namespace.
    pub(crate) fn unpacker(&mut self, namespace: &str) -> Result<Unpacker> {
        let lease = self.node.ctr_in(namespace, &["leases", "create"])?;
        Unpacker::new(&self.node.containerd().socket(), namespace, lease.trim())
    }

    /// By how much anonymous memory grew at most, since the last call.
    pub(crate) fn growth(&mut self) -> Result<u64> {
        let growth = self.memory.peak().saturating_sub(self.memory.start);
        self.memory = Memory::watch(self.pid)?;
        Ok(growth)
    }

    /// The same daemon, answering, and at no moment was it large.
    pub(crate) fn is_well(&mut self) -> Result<()> {
        let stats = self.node.peel()?.json("stats")?;
        ensure!(self.node.peel()?.pid() == self.pid && stats["layers"].as_u64().is_some(), "{stats}");
        ensure!(!self.node.peel()?.log().contains("panicked"), "a thread panicked");
        let growth = self.growth()?;
        ensure!(growth <= GROWTH, "anonymous memory grew by {} KiB", growth >> 10);
        Ok(())
    }
}

/// Watches a process's anonymous memory: the kernel keeps no high-water mark of it.
struct Memory {
    start: u64,
    shared: Arc<(AtomicU64, AtomicBool)>,
    thread: Option<JoinHandle<()>>,
}

impl Memory {
    /// Short next to the time in which a daemon could fill 64 MiB.
    const INTERVAL: Duration = Duration::from_millis(2);

    fn watch(pid: u32) -> Result<Self> {
        let start = anonymous(pid)?;
        let shared = Arc::new((AtomicU64::new(start), AtomicBool::new(false)));
        let watched = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !watched.1.load(Ordering::Relaxed) {
                if let Ok(bytes) = anonymous(pid) {
                    watched.0.fetch_max(bytes, Ordering::Relaxed);
                }
                thread::sleep(Self::INTERVAL);
            }
        });
        Ok(Self { start, shared, thread: Some(thread) })
    }

    fn peak(&self) -> u64 {
        self.shared.0.load(Ordering::Relaxed)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.1.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes of a process's anonymous memory.
fn anonymous(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes: u64 =
        line.and_then(|line| line.split_whitespace().next()).context("no RssAnon")?.parse()?;
    Ok(kilobytes << 10)
}
