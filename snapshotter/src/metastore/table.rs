//! Typed tables: a name, a key type, and the protobuf message that is stored.
//!
//! Everything in the metastore goes through these, so that a record that cannot be read is reported with its
//! table and key, in one way.

use std::{borrow::Borrow, fmt, marker::PhantomData};

use prost::Message;
use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::MetastoreError;

/// A table of messages `M` by keys `K` (`&'static str`, `u32`, …). Declared as a constant.
pub struct Table<K: Key + 'static, M> {
    name: &'static str,
    messages: PhantomData<fn(K) -> M>,
}

impl<K: Key + 'static, M: Message + Default> Table<K, M> {
    /// The table of that name; made at its first use.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, messages: PhantomData }
    }

    pub(super) fn definition(&self) -> TableDefinition<'static, K, &'static [u8]> {
        TableDefinition::new(self.name)
    }

    pub(super) fn decode(&self, key: &dyn fmt::Debug, bytes: &[u8]) -> Result<M, MetastoreError> {
        M::decode(bytes).map_err(|error| MetastoreError::Record {
            table: self.name,
            key: format!("{key:?}"),
            cause: error.to_string(),
        })
    }
}

impl<K: Key + 'static, M> fmt::Debug for Table<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.name).finish()
    }
}

/// A view of the store at one moment. Holds no lock; old pages are kept while it lives, so do not keep it while
/// waiting for somebody else.
pub struct ReadTx(pub(super) ReadTransaction);

impl fmt::Debug for ReadTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadTx").finish()
    }
}

impl ReadTx {
    /// The record of `key`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn get<'k, K: Key + 'static, M: Message + Default>(
        &self,
        table: &Table<K, M>,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<M>, MetastoreError> {
        let Some(opened) = self.open(table)? else { return Ok(None) };
        let key = key.borrow();
        opened.get(key)?.map(|bytes| table.decode(key, bytes.value())).transpose()
    }

    /// Calls `each` with every key and record, in the order of keys.
    ///
    /// # Errors
    /// The store cannot be read; or the first error of `each`.
    pub fn for_each<K: Key + 'static, M: Message + Default>(
        &self,
        table: &Table<K, M>,
        mut each: impl FnMut(K::SelfType<'_>, M) -> Result<(), MetastoreError>,
    ) -> Result<(), MetastoreError> {
        let Some(opened) = self.open(table)? else { return Ok(()) };
        for entry in opened.iter()? {
            let (key, bytes) = entry?;
            let message = table.decode(&key.value(), bytes.value())?;
            each(key.value(), message)?;
        }
        Ok(())
    }

    pub(super) fn open<K: Key + 'static, M: Message + Default>(
        &self,
        table: &Table<K, M>,
    ) -> Result<Option<redb::ReadOnlyTable<K, &'static [u8]>>, MetastoreError> {
        match self.0.open_table(table.definition()) {
            Ok(opened) => Ok(Some(opened)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A change that happens entirely or not at all. There is one at a time; never wait within.
pub struct WriteTx<'tx>(pub(super) &'tx WriteTransaction);

impl fmt::Debug for WriteTx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteTx").finish()
    }
}

impl WriteTx<'_> {
    /// The record of `key`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn get<'k, K: Key + 'static, M: Message + Default>(
        &self,
        table: &Table<K, M>,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<Option<M>, MetastoreError> {
        let opened = self.0.open_table(table.definition())?;
        let key = key.borrow();
        opened.get(key)?.map(|bytes| table.decode(key, bytes.value())).transpose()
    }

    /// Stores the record of `key`.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put<'k, K: Key + 'static, M: Message + Default>(
        &self,
        table: &Table<K, M>,
        key: impl Borrow<K::SelfType<'k>>,
        message: &M,
    ) -> Result<(), MetastoreError> {
        let mut opened = self.0.open_table(table.definition())?;
        opened.insert(key, message.encode_to_vec().as_slice())?;
        Ok(())
    }

    /// Deletes the record of `key`; true if there was one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn delete<'k, K: Key + 'static, M: Message + Default>(
        &self,
        table: &Table<K, M>,
        key: impl Borrow<K::SelfType<'k>>,
    ) -> Result<bool, MetastoreError> {
        let mut opened = self.0.open_table(table.definition())?;
        Ok(opened.remove(key)?.is_some())
    }
}
