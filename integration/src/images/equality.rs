//! The image of the equality check: all that a layer may hold and a snapshotter may get wrong.
//!
//! One function per layer or subject, so that a failing path says at once what it was about: the first component
//! of a path is the subject.

mod base;
mod changes;
mod names;
mod odd;

use std::collections::BTreeSet;

use anyhow::Result;

use super::hand_made::HandMade;
use super::image::Image;
use super::implied::implied_directories;
use super::layer::Layer;
use super::small_app::{SLEEP, base_layer};

/// The whole image. Its container sleeps.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn equality_image() -> Result<Image> {
    Ok(Image::new(layers()?, &SLEEP))
}

/// The same image as eStargz by hand, for what a converter would tidy up: entries of one name stay twice, and
/// chunks may share a compressed member. Owners that a plain tar header cannot hold are left out.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn hand_made_equality_image(how: HandMade) -> Result<Image> {
    let layers = layers()?.iter().map(|layer| how.estargz(layer.entries())).collect::<Result<_>>()?;
    Ok(Image::new(layers, &SLEEP))
}

/// The directories of either image whose time nobody recorded.
///
/// # Errors
/// When busybox cannot be fetched.
pub fn untimed_directories() -> Result<BTreeSet<Vec<u8>>> {
    Ok(implied_directories(&layers()?))
}

fn layers() -> Result<Vec<Layer>> {
    Ok(vec![
        base_layer()?,
        Layer::gzip(base::entries()),
        Layer::gzip(names::entries()),
        Layer::gzip(Vec::new()),
        Layer::gzip(changes::first()),
        Layer::gzip(changes::second()),
        Layer::gzip(odd::entries()),
    ])
}
