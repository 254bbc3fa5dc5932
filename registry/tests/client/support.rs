//! What all tests of the client share.

pub(crate) mod authority;
pub(crate) mod fixtures;
pub(crate) mod server;
