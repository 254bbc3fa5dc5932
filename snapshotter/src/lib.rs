//! The daemon: the Snapshots service that containerd calls, the durable metadata behind it, and the layers that
//! it serves.

pub mod cli;
pub mod config;
pub mod content;
pub mod control;
pub mod daemon;
pub mod filter;
pub mod generations;
pub mod hold;
pub mod idmap;
pub mod image;
pub mod layers;
pub mod leases;
pub mod lock;
pub mod logging;
pub mod metastore;
pub mod metrics;
pub mod mounts;
mod namespace;
pub mod numbers;
pub mod remote;
pub mod reset;
pub mod service;
pub mod snapshots;
pub mod supervise;
pub mod sys;
pub mod take_down;
