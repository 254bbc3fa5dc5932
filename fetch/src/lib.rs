//! Bytes of a layer's data file become verified bytes, once.
//!
//! A read is answered from the cache if all its chunks are there ([`LayerReader::read_now`]). Else
//! ([`LayerReader::read`]) each missing chunk is either *in flight* already, then the reader waits for it, or it
//! is claimed: looked for by content in other layers, or fetched from the layer's sources, decoded, verified,
//! handed to everybody who waits, and stored. The work belongs to the chunk, not to the reader who was first:
//! readers come and go, and a chunk is fetched once.
//!
//! ```text
//!  read ─▶ cache? ─▶ flight (join or claim) ─▶ content search ─▶ plan: runs of adjacent units
//!   ▲                                                                │  one job a run
//!   │                                              scheduler: lanes ─┤
//!   │                                               sources, retries ┤
//!   └── landed ◀── verify ◀── decode (blocking threads) ◀────────────┘ ─▶ admit to the cache
//! ```
//!
//! Every wait is bounded. A reader waits for [`Config::read_timeout`] at most; a job gives up that long after it
//! began. A source may try a little by itself, but patience is kept here, where the next source can be asked.

mod complete;
mod config;
mod decode;
mod fetcher;
mod file_source;
mod flight;
mod job;
mod lane;
mod overflow;
mod plan;
mod prefetch;
mod readahead;
mod reader;
mod registry_source;
mod retry;
mod room;
mod schedule;
mod source;
mod stats;
mod stream;
mod watch;

#[cfg(test)]
mod tests;

pub use complete::Content;
pub use config::Config;
pub use fetcher::Fetcher;
pub use file_source::FileSource;
pub use lane::Lane;
pub use prefetch::Progress;
pub use reader::LayerReader;
pub use registry_source::RegistrySource;
pub use source::{BlobSource, Refusal, SourceError};
pub use stats::FetchStats;
pub use stream::{StreamFailure, StreamProgress, StreamWanted};
