//! Every layer format, written by independent tools: a pod on Peel sees the tree that a pod on overlayfs sees.
//!
//! ```text
//! cargo test -p peel-integration --test formats    # as root, on Debian 12, with peel built
//! ```

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use peel_integration::containerd::Version;
use peel_integration::equality::pods_see_the_same;
use peel_integration::images::equality::{equality_image, hand_made_equality_image};
use peel_integration::images::small_app::SLEEP;
use peel_integration::images::{
    EStargz, Entry, HandMade, Image, Layer, Layout, STREAMED, Skopeo, gnu_tar, mixed, repack, umoci,
};
use toml::Table;

fn plain() -> Result<(tempfile::TempDir, Layout)> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let layout = equality_image()?.write(directory.path())?;
    Ok((directory, layout))
}

/// As containers/storage of 2022 can have it: its writer, built on Go's `Header.Xattrs`, loses xattrs without a value.
fn plain_for_skopeo() -> Result<(tempfile::TempDir, Layout)> {
    plain_of(|entries| entries.retain(|entry| entry.path != b"xattrs/empty-value"))
}

/// As today's can have it: it refuses layers with two entries of one name.
fn plain_of_single_names() -> Result<(tempfile::TempDir, Layout)> {
    plain_of(|entries| {
        let mut later = BTreeSet::new();
        entries.reverse();
        entries.retain(|entry| later.insert(entry.path.clone()));
        entries.reverse();
    })
}

/// The equality image with other entries.
fn plain_of(change: impl Fn(&mut Vec<Entry>)) -> Result<(tempfile::TempDir, Layout)> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let image = equality_image()?;
    let changed = |layer: &Layer| {
        let mut entries = layer.entries().to_vec();
        change(&mut entries);
        Layer::gzip(entries)
    };
    let image = Image { layers: image.layers.iter().map(changed).collect(), ..image };
    let layout = image.write(directory.path())?;
    Ok((directory, layout))
}

/// Compares the trees, and makes sure of how Peel served the layers.
fn check(version: Version, layout: &Layout, formats: &[&str]) -> Result<()> {
    let mut node = pods_see_the_same(version, layout, Table::new())?;
    let report = node.peel()?.json("layers")?;
    let ours = |layer: &&serde_json::Value| {
        // The sandbox's image is there too.
        layer["image"].as_str().is_some_and(|image| image.contains("equality"))
    };
    let layers: Vec<_> = report.as_array().into_iter().flatten().filter(ours).collect();
    ensure!(!layers.is_empty() && layers.iter().all(|layer| layer["ours"] == true), "{report}");
    let found: BTreeSet<_> = layers.iter().filter_map(|layer| layer["format"].as_str()).collect();
    ensure!(found == formats.iter().copied().collect(), "{found:?}, not {formats:?}: {report}");
    Ok(())
}

/// One layer of each packing, all streamed.
#[test]
fn layers_without_an_index() -> Result<()> {
    let (_directory, plain) = plain()?;
    check(Version::Debian12, &repack(&plain, &STREAMED)?, &["gzip", "zstd", "tar"])
}

/// As above, each layer packed in another way.
#[test]
fn layers_without_an_index_on_2() -> Result<()> {
    let (_directory, plain) = plain()?;
    let mut packings = STREAMED;
    packings.rotate_left(5);
    check(Version::Sid, &repack(&plain, &packings)?, &["gzip", "zstd"])
}

/// Two layers, whose whiteouts umoci found by itself.
#[test]
fn layers_by_umoci_on_2() -> Result<()> {
    let (_directory, plain) = plain()?;
    let layout = umoci(&plain, &["links/a", "whiteout"], &["files/page", "files/byte"], &SLEEP)?;
    ensure!(layout.manifest()?.layers.len() == 2);
    check(Version::Sid, &layout, &["gzip"])
}

/// Sparse files and long names in all of GNU tar's encodings, as containerd's reader understands them.
#[test]
fn layers_by_gnu_tar() -> Result<()> {
    let (directory, plain) = plain()?;
    check(Version::Debian12, &gnu_tar(&plain, &directory.path().join("tar"))?, &["gzip"])
}

#[test]
fn zstd_chunked_by_stargz() -> Result<()> {
    let (_directory, plain) = plain()?;
    check(Version::Debian12, &EStargz::zstd_chunked().convert(&plain)?, &["zstd:chunked"])
}

/// Annotations of 2022, in the manifest alone, and holes.
#[test]
fn zstd_chunked_by_skopeo() -> Result<()> {
    let (_directory, plain) = plain_for_skopeo()?;
    check(Version::Debian12, &Skopeo::Installed.zstd_chunked(&plain)?, &["zstd:chunked"])
}

/// Today's annotations, and a tar-split frame.
fn zstd_chunked_by_todays_skopeo(version: Version) -> Result<()> {
    let (_directory, plain) = plain_of_single_names()?;
    let layout = Skopeo::Trixie.zstd_chunked(&plain)?;
    let position = "io.github.containers.zstd-chunked.manifest-position";
    let layers = layout.manifest()?.layers;
    ensure!(layers.iter().all(|layer| layer.annotations.contains_key(position)), "{layers:?}");
    check(version, &layout, &["zstd:chunked"])
}

#[test]
fn zstd_chunked_by_todays_skopeo_on_1_6() -> Result<()> {
    zstd_chunked_by_todays_skopeo(Version::Debian12)
}

#[test]
fn zstd_chunked_by_todays_skopeo_on_2() -> Result<()> {
    zstd_chunked_by_todays_skopeo(Version::Sid)
}

/// Lazy and streamed layers in one image.
#[test]
fn formats_mixed_in_one_image() -> Result<()> {
    let (directory, plain) = plain_for_skopeo()?;
    let images = [
        EStargz::default().convert(&plain)?,
        Skopeo::Installed.zstd_chunked(&plain)?,
        plain,
        repack(&Layout::open(directory.path()), &STREAMED[3..4])?,
    ];
    let layout = mixed(&images.each_ref(), &directory.path().join("mixed"))?;
    check(Version::Debian12, &layout, &["estargz", "zstd:chunked", "gzip", "tar"])
}

/// As Docker pushes them, and converters that are not told otherwise: manifest and layers under Docker's names.
/// containerd 1.6 does not know the one for zstd.
#[test]
fn layers_under_dockers_names_on_2() -> Result<()> {
    let (directory, plain) = plain()?;
    let estargz = EStargz::default().convert(&plain)?;
    let streamed = repack(&plain, &[STREAMED[1], STREAMED[0], STREAMED[3]])?;
    let layout = mixed(&[&estargz, &streamed, &streamed], &directory.path().join("mixed"))?;
    let layout = layout.derive(&directory.path().join("docker"), |manifest| {
        "application/vnd.docker.distribution.manifest.v2+json".clone_into(&mut manifest.media_type);
        "application/vnd.docker.container.image.v1+json".clone_into(&mut manifest.config.media_type);
        for layer in &mut manifest.layers {
            let compression = layer.media_type.replacen("application/vnd.oci.image.layer.v1.tar", "", 1);
            layer.media_type =
                format!("application/vnd.docker.image.rootfs.diff.tar{}", compression.replacen('+', ".", 1));
        }
    })?;
    check(Version::Sid, &layout, &["estargz", "zstd", "tar"])
}

/// What Debian's converter is too old to write: chunks that begin inside a compressed member.
#[test]
fn estargz_with_inner_offsets_on_2() -> Result<()> {
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let how = HandMade { chunk_size: 256 * 1024, pack: 64 * 1024 };
    check(Version::Sid, &hand_made_equality_image(how)?.write(directory.path())?, &["estargz"])
}
