//! Opening the file: its format version, who else has it, and what to say when it is damaged.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use redb::{Database, DatabaseError, StorageError, TableDefinition, backends::FileBackend};

use super::{
    Metastore, MetastoreError, OpenError,
    reserve::{Backend, Reserve},
};

/// Numbers about the store itself.
pub(super) const NUMBERS: TableDefinition<'static, &'static str, u64> = TableDefinition::new("numbers");
/// In [`NUMBERS`]: which format the file has.
const FORMAT: &str = "format";
/// In [`NUMBERS`]: above every snapshot id ever stored.
pub(super) const NEXT_ID: &str = "next-snapshot-id";
/// The format that this build writes; docs/metadata-format.md lists them.
const NEWEST: u64 = 1;
/// redb's page cache. The store has a few MB at most, most of it read once.
const PAGE_CACHE: usize = 2 << 20;

impl Metastore {
    /// Opens the file, or makes it; its directory must exist.
    ///
    /// # Errors
    /// [`OpenError`]; its text is for the operator.
    pub fn open(file: &Path) -> Result<Self, OpenError> {
        // The file is small, so all of it is checked: redb's plain open trusts it and may panic where it was
        // altered (a single bit did it in a test). What the check misses must not end the daemon without a word.
        let io = |cause| OpenError::Io { file: file.to_owned(), cause };
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(file);
        let backend = FileBackend::new(opened.map_err(io)?).map_err(|error| explain(file, error))?;
        let reserve = Arc::new(Reserve::open(file).map_err(io)?);
        let backend = Backend::new(backend, &reserve);
        let open = || {
            let mut builder = Database::builder();
            builder.set_cache_size(PAGE_CACHE).set_check_integrity_on_open(true).create_with_backend(backend)
        };
        let opened = catch_unwind(AssertUnwindSafe(open));
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(error)) => return Err(explain(file, error)),
            Err(_) => return Err(damaged(file, &"the database library panicked")),
        };
        let mut store = Self { database, next_id: AtomicU64::new(0), reserve };
        let next_id = store.prepare().map_err(|error| match error {
            Prepare::Newer(found) => OpenError::Newer { file: file.to_owned(), found, newest: NEWEST },
            Prepare::Metastore(error) => damaged(file, &error),
        })?;
        *store.next_id.get_mut() = next_id;
        Ok(store)
    }

    /// Checks or writes the format version; gives back the next id.
    fn prepare(&self) -> Result<u64, Prepare> {
        let stored = self.read(|tx| match tx.0.open_table(NUMBERS) {
            Ok(numbers) => {
                let number = |name| numbers.get(name).map(|value| value.map(|value| value.value()));
                Ok((number(FORMAT)?, number(NEXT_ID)?))
            }
            Err(redb::TableError::TableDoesNotExist(_)) => Ok((None, None)),
            Err(error) => Err(MetastoreError::from(error)),
        })?;
        match stored.0 {
            Some(NEWEST) => {}
            Some(found) => return Err(Prepare::Newer(found)),
            None => self.write(|tx| {
                tx.0.open_table(NUMBERS)?.insert(FORMAT, NEWEST)?;
                Ok::<_, MetastoreError>(())
            })?,
        }
        Ok(stored.1.unwrap_or(1))
    }
}

/// Why the content is no good.
#[derive(Debug)]
enum Prepare {
    Newer(u64),
    Metastore(MetastoreError),
}

impl From<MetastoreError> for Prepare {
    fn from(error: MetastoreError) -> Self {
        Self::Metastore(error)
    }
}

fn explain(file: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(file.to_owned()),
        // redb says InvalidData for a file that is not its own.
        DatabaseError::Storage(StorageError::Io(cause))
            if !matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            OpenError::Io { file: file.to_owned(), cause }
        }
        error => damaged(file, &error),
    }
}

fn damaged(file: &Path, cause: &dyn std::fmt::Display) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), cause: cause.to_string() }
}
