//! Images for the tests and the demo, made here and now: no image comes from outside.
//!
//! Three steps, each its own type: an [`Image`] is a description (layers of [`Entry`]s and a config), a [`Layout`]
//! is an image on disk as OCI lays it out, and [`push`](push()) puts it into a registry. Between the last two
//! [`EStargz::convert`] makes it lazy the way users do, and [`Layout::derive`] changes a manifest so that it says
//! odd things (unknown media types, forged annotations).
//!
//! | image | for |
//! |---|---|
//! | [`equality`] | everything that a tar layer may hold and a snapshotter may get wrong |
//! | [`small_app`] | quick to build and start; variants that share layers, repeat one, or have a big `VOLUME` |
//! | [`services`] | plain images of three sizes, as people build them |
//! | [`web_app`] | the demo: Debian, Python and a small web application, over 300 MB |

mod artefact;
mod content;
mod convert;
mod entry;
pub mod equality;
mod gnu_tar;
mod hand_made;
mod image;
mod implied;
mod layer;
mod layout;
mod pack;
mod push;
mod repack;
mod root;
pub mod services;
mod skopeo;
pub mod small_app;
mod soci;
mod tar;
mod umoci;
pub mod web_app;

#[cfg(test)]
mod tests;

pub use artefact::artefact;
pub use content::Content;
pub use convert::EStargz;
pub use entry::{Entry, EntryKind, Mtime};
pub use gnu_tar::gnu_tar;
pub use hand_made::HandMade;
pub use image::{Config, Image};
pub use implied::implied_directories;
pub use layer::{Layer, MEDIA_TYPE_GZIP, MEDIA_TYPE_NONDISTRIBUTABLE, MEDIA_TYPE_TAR, WrittenLayer};
pub use layout::{Descriptor, Layout, MEDIA_TYPE_INDEX, MEDIA_TYPE_MANIFEST, Manifest};
pub use pack::pack;
pub use push::{Destination, Pushed, push, push_document};
pub use repack::{Packing, STREAMED, mixed, repack};
pub use skopeo::Skopeo;
pub use soci::SociImage;
pub use umoci::umoci;
