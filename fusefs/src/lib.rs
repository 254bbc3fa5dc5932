//! All layers under one FUSE root.
//!
//! The portable front end: where the kernel has no EROFS, this crate reads the same tree images itself and
//! shows every layer as a directory, named by its slot, below one FUSE mount. A lowerdir is
//! `<mount point>/<slot>`.
//!
//! Two halves. What a tree *is* lives in `tree` (one image) and `forest` (all slots): plain calls that
//! return values and are tested without a mount. What the kernel *says* lives in `session`: it turns a request
//! into such a call and the outcome into a reply, counts, and keeps a panic from taking the daemon down.
//!
//! Rules that the rest of Peel leans on:
//!  - node ids are stateless ([`node`]): a successor process answers for the ids that its predecessor gave out;
//!  - metadata never waits; a READ that has to wait is answered later from another thread ([`LayerSource`]);
//!  - nothing is unmounted and no reply dropped by a destructor: the daemon ends by `_exit`, and requests wait
//!    in the kernel for the next one;
//!  - a warm container sends no request for stat, readdir and read: entries, attributes, missing names, links,
//!    directory pages and data stay with the kernel for ever, because a tree never changes. Only xattrs are
//!    asked for each time, since Linux caches none: file capabilities at exec, and by overlayfs one of every file
//!    at its first lookup (`trusted.overlay.metacopy`, seen; a round trip that the kernel's EROFS does not have).
//!
//! [`LayerSource`]: peel_layer::serve::LayerSource

mod at_work;
mod attributes;
mod connection;
mod counters;
mod drain;
mod failure;
mod forest;
mod hand_over;
mod handshake;
mod init;
mod marks;
mod mount;
pub mod mountinfo;
pub mod node;
mod read;
mod server;
mod session;
pub mod short;
mod sys;
mod tree;

pub use at_work::Look;
pub use connection::Connection;
pub use counters::{Counters, Opcode, Snapshot};
pub use hand_over::is_alive;
pub use handshake::Handshake;
pub use init::InitParameters;
pub use marks::Marks;
pub use mount::{attach, detach, mount, unmount};
pub use node::NodeId;
pub use server::{Config, Front, Server};
