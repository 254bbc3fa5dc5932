//! Small layers come in one request, whatever their format.

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    images::{EStargz, Layout, STREAMED, mixed, repack, small_app::small_app_image},
    node::{Images, Node},
    proxy::Match,
};

/// The default of `fetch.whole_layer_bytes`, which the harness turns off for all other tests.
const WHOLE: u64 = 4 << 20;

/// Pulls and reads all of an image whose layers come from `images` in turn; gives format, size and requests of each.
fn requests(images: &[&Layout]) -> Result<Vec<(String, u64, usize)>> {
    let registry = Images::start()?;
    let layout = mixed(images, &registry.path().join("mixed"))?;
    registry.push(&layout, "small:it")?;
    let config = toml::toml! {
        [fetch]
        whole_layer_bytes = 4194304
    };
    let mut node = Node::builder(Version::Debian12).images(&registry).peel_config(config).start()?;
    let image = node.image("small:it");
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &[])?;
    let read = "find / -xdev -type f -exec cat {} + | wc -c";
    let read = node.exec(&container, &["/bin/sh", "-c", read])?;
    ensure!(read.text().parse::<u64>().is_ok_and(|bytes| bytes > 8 << 20), "{read:?}");
    node.remove(&container)?;
    let report = node.peel()?.json("layers")?;
    let of = |digest: &str| {
        let found = report.as_array().into_iter().flatten().find(|layer| layer["digest"] == digest);
        found.and_then(|layer| layer["format"].as_str()).map(str::to_owned).context("a layer without format")
    };
    let mut found = Vec::new();
    for layer in layout.manifest()?.layers {
        let blob = Match::blob(&layer.digest);
        ensure!(node.proxy().requests_of(&blob.clone().from_agent("containerd")).is_empty(), "{report}");
        let requests = node.proxy().requests_of(&blob).len();
        found.push((of(&layer.digest)?, layer.size, requests));
        if layer.size <= WHOLE {
            ensure!(node.proxy().bytes_of(&blob) == layer.size, "not the whole of {}", layer.digest);
        }
    }
    Ok(found)
}

#[test]
fn small_layers_take_one_request() -> Result<()> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let plain = small_app_image("small")?.write(directory.path())?;
    let (estargz, zstd) = (EStargz::default().convert(&plain)?, EStargz::zstd_chunked().convert(&plain)?);
    let (frames, tar) = (repack(&plain, &STREAMED[4..5])?, repack(&plain, &STREAMED[3..4])?);
    // The middle layer is a large one.
    let images = [
        requests(&[&estargz, &estargz, &zstd])?,
        requests(&[&plain, &plain, &frames])?,
        requests(&[&zstd, &zstd, &tar])?,
    ];
    for (format, size, requests) in images.iter().flatten() {
        if *size <= WHOLE {
            ensure!(*requests == 1, "{format} of {size} bytes: {requests} requests");
        } else if format == "estargz" || format == "zstd:chunked" {
            ensure!(*requests > 1, "{format} of {size} bytes came whole");
        }
    }
    let formats =
        images.iter().flatten().filter(|(_, size, _)| *size <= WHOLE).map(|(format, ..)| format.as_str());
    let formats: std::collections::BTreeSet<_> = formats.collect();
    ensure!(formats.len() >= 5, "{formats:?}");
    Ok(())
}
