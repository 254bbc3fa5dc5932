//! Two directory trees, compared in everything that a program in a container could notice.
//!
//! The promise is that a pod on Peel sees exactly the tree that a pod on overlayfs sees of the same image. So both
//! roots are walked and every name, type, content, mode, owner, time, size, link count, device number, symlink
//! target and xattr recorded ([`Tree`]), and [`compare`] reports *all* differences. What may differ is not a
//! matter of taste: it is spelled out in [`Exceptions`], each a known and listed consequence of a layer format or
//! of overlayfs.

mod compare;
mod exceptions;
mod pods;
mod tree;
pub(crate) mod xattrs;

#[cfg(test)]
mod tests;

pub use compare::{Difference, Report, compare};
pub use exceptions::Exceptions;
pub use pods::{ensure_equal, pods_see_the_same, tree_of_pod};
pub use tree::{Kind, Node, Time, Tree};
