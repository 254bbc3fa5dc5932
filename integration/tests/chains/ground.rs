//! What all scenarios stand on: a node, and images of a few hand-made layers.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use peel_fusefs::mountinfo;
use peel_integration::{
    containerd::Version,
    images::{Entry, HandMade, Image, Layer, Layout, MEDIA_TYPE_NONDISTRIBUTABLE, small_app::base_layer},
    node::{Container, Images, Node},
    proxy::Match,
};
use serde_json::Value;

const SLEEP: [&str; 3] = ["/bin/busybox", "sleep", "3600"];

/// A node on which unused layers go at once.
pub(crate) struct Ground {
    pub(crate) node: Node,
}

/// An image in the registry.
pub(crate) struct Pushed {
    pub(crate) layout: Layout,
    /// As the node calls it.
    pub(crate) reference: String,
}

impl Pushed {
    /// Digest of a layer's blob.
    pub(crate) fn layer(&self, position: usize) -> Result<String> {
        Ok(self.layout.manifest()?.layers[position].digest.clone())
    }
}

/// busybox and a file `/etc/MARK`, so that no two scenarios have the same lowest layer.
pub(crate) fn base(mark: &str) -> Result<Layer> {
    let mut entries = base_layer()?.entries().to_vec();
    entries.push(Entry::file(format!("etc/{mark}"), mark));
    lazy(&entries)
}

/// A layer with one file, in a directory that it only implies.
pub(crate) fn file(path: &str, content: &str) -> Result<Layer> {
    lazy(&[Entry::file(path, content)])
}

/// A lazy layer.
pub(crate) fn lazy(entries: &[Entry]) -> Result<Layer> {
    HandMade::default().estargz(entries)
}

/// An image that sleeps.
pub(crate) fn image(layers: Vec<Layer>) -> Image {
    Image::new(layers, &SLEEP)
}

impl Ground {
    /// With layers shown as `tree` says.
    pub(crate) fn start(version: Version, tree: &str) -> Result<Self> {
        let mut config = toml::toml! {
            [cache]
            unreferenced_ttl = "1s"
            interval = "200ms"
        };
        config.insert("tree".into(), tree.into());
        Ok(Self { node: Node::builder(version).images(&Images::start()?).peel_config(config).start()? })
    }

    /// Writes an image and pushes it as `name:it`.
    pub(crate) fn push(&self, name: &str, image: &Image) -> Result<Pushed> {
        let images = self.node.images();
        self.push_layout(name, image.write(&images.path().join(name))?)
    }

    /// The same blobs, with these layers of a type that is left to containerd: an ordinary image.
    pub(crate) fn push_plain(&self, name: &str, of: &Pushed, plain: &[usize]) -> Result<Pushed> {
        let directory = self.node.images().path().join(name);
        let layout = of.layout.derive(&directory, |manifest| {
            for (position, layer) in manifest.layers.iter_mut().enumerate() {
                if plain.contains(&position) {
                    MEDIA_TYPE_NONDISTRIBUTABLE.clone_into(&mut layer.media_type);
                }
            }
        })?;
        self.push_layout(name, layout)
    }

    fn push_layout(&self, name: &str, layout: Layout) -> Result<Pushed> {
        let name = format!("{name}:it");
        self.node.images().push(&layout, &name)?;
        Ok(Pushed { layout, reference: self.node.image(&name) })
    }

    /// How often `agent` read the blob of a layer.
    pub(crate) fn reads(&self, agent: &'static str, image: &Pushed, layer: usize) -> Result<usize> {
        let reads = Match::blob(&image.layer(layer)?).from_agent(agent);
        Ok(self.node.proxy().requests_of(&reads).len())
    }

    /// Pulls through CRI and makes sure of whose the layers were: `eager` are those that containerd fetched.
    pub(crate) fn pull(&self, image: &Pushed, eager: &[usize]) -> Result<()> {
        self.node.proxy().clear();
        self.node.cri().pull(&image.reference)?;
        for layer in 0..image.layout.manifest()?.layers.len() {
            let fetched = self.reads("containerd", image, layer)? > 0;
            ensure!(fetched == eager.contains(&layer), "layer {layer}: fetched by containerd is {fetched}");
        }
        Ok(())
    }

    /// Starts a container that sleeps.
    pub(crate) fn run(&self, image: &Pushed) -> Result<Container> {
        self.node.start_container(&image.reference, &[])
    }

    /// What a script prints in a container.
    pub(crate) fn sh(&self, container: &Container, script: &str) -> Result<String> {
        let exec = self.node.exec(container, &["/bin/sh", "-c", script])?;
        ensure!(exec.exit_code == 0, "{script:?}: {exec:?}");
        Ok(exec.text())
    }

    /// Runs the image for as long as a script takes, and compares what it prints.
    pub(crate) fn check(&self, image: &Pushed, script: &str, expected: &str) -> Result<()> {
        let container = self.run(image)?;
        let printed = self.sh(&container, script)?;
        ensure!(printed == expected, "{script:?} printed {printed:?}, expected {expected:?}");
        self.node.remove(&container)
    }

    /// What `peel layers` says of a layer's blob, or of the ordinary snapshot of it.
    pub(crate) fn layer(&mut self, digest: &str) -> Result<Vec<Value>> {
        let layers = self.node.peel()?.json("layers")?;
        let layers = layers.as_array().context("a list of layers")?;
        Ok(layers.iter().filter(|layer| layer["digest"] == digest).cloned().collect())
    }
}

/// The lower directories of a container's root, topmost first, as the kernel has them.
pub(crate) fn lowerdirs(container: &Container) -> Result<Vec<PathBuf>> {
    let mount = mountinfo::mounts()?.into_iter().find(|mount| mount.mount_point == container.rootfs);
    lower_of(mount.context("the container's root is not mounted")?.options.split(','))
}

/// The lower directories in the options of a mount.
pub(crate) fn lower_of<'a>(mut options: impl Iterator<Item = &'a str>) -> Result<Vec<PathBuf>> {
    let lower = options.find_map(|option| option.strip_prefix("lowerdir="));
    Ok(lower.context("a mount without lowerdir")?.split(':').map(PathBuf::from).collect())
}
