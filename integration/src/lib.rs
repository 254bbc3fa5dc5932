//! End-to-end tests of Peel with real containerds: the harness, images, the tree comparison, the fault proxy.
//!
//! ```text
//! node ── registry ◀── proxy ◀──┬── containerd ◀── cri
//!   │      (debian: programs)   └── peel
//!   └── guard: the test's folder, and that nothing of it stays
//! ```
//!
//! A [`node::Node`] is a whole Kubernetes node without the kubelet. Everything blocks, every wait has a bound
//! ([`wait`]), every part is a guard that ends what it started. Traffic goes to 127.0.0.1 only.

pub mod bench;
pub mod containerd;
pub mod cri;
pub mod debian;
pub mod equality;
pub mod guard;
pub mod images;
pub mod node;
pub mod peel;
pub mod process;
pub mod proxy;
pub mod registry;
mod runtime;
pub mod unpacker;
pub mod wait;
