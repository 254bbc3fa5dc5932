//! Counters of a client, for metrics and for tests that count.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What a client has done since it was made.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.0.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// HTTP requests sent, of every kind and to every host.
    requests,
    /// Bytes of bodies received, thrown away ones included.
    bytes,
    /// Of `bytes`: thrown away to get to a range that the server did not honour.
    skipped_bytes,
    /// Attempts after the first of a call.
    retries,
    /// Redirects followed.
    redirects,
    /// Tokens asked from token endpoints.
    token_requests,
    /// Requests that failed or were answered with an error, retried ones included. A 401 that asks for
    /// credentials for the first time counts too.
    errors,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }
}
