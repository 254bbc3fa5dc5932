//! What a successor must know of a connection; durable before the first request is served.

use std::{fmt, num::ParseIntError, str::FromStr};

use peel_fusefs::{Connection, InitParameters};
use peel_proto::peel::metadata::v1 as stored;

use crate::metastore::{Metastore, MetastoreError, Table};

const CONNECTIONS: Table<u64, stored::Connection> = Table::new("connections");
/// Sequence of generations.
const SEQUENCE: &str = "fuse-generation";

/// Number of a connection of this root; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Generation {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

/// A stored connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// As the kernel numbers it.
    pub(super) number: u64,
    /// What was agreed.
    pub(super) init: InitParameters,
}

impl Generation {
    /// As a number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// A new one.
    pub(super) fn next(metastore: &Metastore) -> Result<Self, MetastoreError> {
        metastore.write(|tx| tx.next_number(SEQUENCE, 1)).map(Self)
    }

    pub(super) fn store(
        self,
        metastore: &Metastore,
        connection: Connection,
        init: &InitParameters,
    ) -> Result<(), MetastoreError> {
        let stored = encode(&Record { number: connection.number(), init: *init });
        metastore.write(|tx| tx.put(&CONNECTIONS, self.0, &stored))
    }

    /// What is stored of it; nothing if it never served.
    ///
    /// # Errors
    /// The metadata cannot be read, or the record cannot be understood: another version wrote it.
    pub(super) fn load(self, metastore: &Metastore) -> Result<Option<Record>, MetastoreError> {
        let Some(stored) = metastore.read(|tx| tx.get(&CONNECTIONS, self.0))? else { return Ok(None) };
        let not_understood = || MetastoreError::Record {
            table: "connections",
            key: self.to_string(),
            cause: "it is not what a handshake of this version gives".to_owned(),
        };
        decode(&stored).map(Some).ok_or_else(not_understood)
    }

    /// Forgets all but `living`.
    pub(super) fn keep_only(living: &[Self], metastore: &Metastore) -> Result<(), MetastoreError> {
        let mut dead = Vec::new();
        metastore.read(|tx| {
            tx.for_each(&CONNECTIONS, |number, _| {
                dead.extend((!living.contains(&Self(number))).then_some(number));
                Ok(())
            })
        })?;
        if dead.is_empty() {
            return Ok(());
        }
        metastore.write(|tx| dead.iter().try_for_each(|number| tx.delete(&CONNECTIONS, *number).map(drop)))
    }

    pub(super) fn forget(self, metastore: &Metastore) -> Result<(), MetastoreError> {
        metastore.write(|tx| tx.delete(&CONNECTIONS, self.0).map(drop))
    }
}

fn encode(record: &Record) -> stored::Connection {
    let Record { number, init } = record;
    stored::Connection {
        number: *number,
        trees: init.without_open(),
        kernel_major: init.kernel_major,
        kernel_minor: init.kernel_minor,
        offered: init.offered,
        requested: init.requested,
        max_readahead: init.max_readahead,
        max_write: init.max_write,
        max_background: init.max_background.into(),
        congestion_threshold: init.congestion_threshold.into(),
    }
}

fn decode(stored: &stored::Connection) -> Option<Record> {
    let init = InitParameters {
        kernel_major: stored.kernel_major,
        kernel_minor: stored.kernel_minor,
        offered: stored.offered,
        requested: stored.requested,
        max_readahead: stored.max_readahead,
        max_write: stored.max_write,
        max_background: stored.max_background.try_into().ok()?,
        congestion_threshold: stored.congestion_threshold.try_into().ok()?,
    };
    // All that was asked for was offered: else the record is not what a handshake gave.
    (init.requested & !init.offered == 0).then_some(Record { number: stored.number, init })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_and_found_again() {
        let init = InitParameters {
            kernel_major: 7,
            kernel_minor: 45,
            offered: u64::MAX >> 1,
            requested: 0xff,
            max_readahead: 1 << 17,
            max_write: 1 << 20,
            max_background: u16::MAX,
            congestion_threshold: u16::MAX,
        };
        let record = Record { number: 53, init };
        assert_eq!(decode(&encode(&record)), Some(record));
        let mut bad = encode(&record);
        bad.max_background = 1 << 16;
        assert_eq!(decode(&bad), None);
    }
}
