//! Images that never meet a kernel: what the writer writes, the reader reads, and nothing else hurts it.

#[path = "../common/mod.rs"]
mod common;
mod corpus;
mod hostile;
mod mutation;
mod round_trip;
mod tools;
mod walk;
