//! Reading flatbuffers (their binary format, "FlatBuffer Internals"), as little of it as a ztoc needs.
//!
//! Why not the crate: its verifier wants strings to be UTF-8, and a ztoc's xattrs are bytes in string fields; its
//! unverified accessors are unsafe. Here every step is a bounds-checked read, nothing is followed that the caller
//! did not ask for, and no value is trusted: an offset leads into the buffer or to an error.
//!
//! All integers are little-endian. A *table* begins with an i32, the distance back to its *vtable*: u16 bytes of the
//! vtable, u16 bytes of the table, then a u16 a field, where in the table it is, 0 when it has its default. Strings,
//! vectors and tables in a table are u32 distances forward from where they are written.

/// The buffer is not what it should be: which part.
pub(super) type Malformed = &'static str;

const OUTSIDE: Malformed = "an offset leads out of the buffer";

/// A table somewhere in a buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
    /// Without its two sizes: a u16 a field.
    vtable: &'a [u8],
}

impl<'a> Table<'a> {
    /// The root of a buffer that is not size-prefixed.
    pub(super) fn root(buffer: &'a [u8]) -> Result<Self, Malformed> {
        Self::open(buffer, follow(buffer, 0)?)
    }

    fn open(buffer: &'a [u8], at: usize) -> Result<Self, Malformed> {
        let back = i64::from(i32::from_le_bytes(read(buffer, at)?));
        let start = i64::try_from(at).ok().and_then(|at| at.checked_sub(back));
        let start = start.and_then(|start| usize::try_from(start).ok()).ok_or(OUTSIDE)?;
        let size = usize::from(u16::from_le_bytes(read(buffer, start)?));
        if size < 4 {
            return Err("a vtable is too short");
        }
        let vtable = buffer.get(start..).and_then(|rest| rest.get(4..size)).ok_or(OUTSIDE)?;
        Ok(Self { buffer, at, vtable })
    }

    /// Where a field is written, if it is.
    fn field(&self, number: usize) -> Option<usize> {
        let offset = u16::from_le_bytes(read(self.vtable, number * 2).ok()?);
        (offset != 0).then(|| self.at.saturating_add(usize::from(offset)))
    }

    /// The bytes of a field of `N` bytes, zeros when it is not written: every default in a ztoc but one is zero.
    pub(super) fn scalar<const N: usize>(&self, number: usize) -> Result<[u8; N], Malformed> {
        self.field(number).map_or(Ok([0; N]), |at| read(self.buffer, at))
    }

    pub(super) fn i64(&self, number: usize) -> Result<i64, Malformed> {
        self.scalar(number).map(i64::from_le_bytes)
    }

    pub(super) fn u32(&self, number: usize) -> Result<u32, Malformed> {
        self.scalar(number).map(u32::from_le_bytes)
    }

    /// A string or a vector of bytes; empty when it is not written.
    pub(super) fn bytes(&self, number: usize) -> Result<&'a [u8], Malformed> {
        self.field(number).map_or(Ok(&[]), |at| bytes(self.buffer, at))
    }

    /// A table in this one.
    pub(super) fn table(&self, number: usize) -> Result<Option<Self>, Malformed> {
        self.field(number).map(|at| Self::open(self.buffer, follow(self.buffer, at)?)).transpose()
    }

    /// A vector of tables or strings; empty when it is not written.
    pub(super) fn vector(&self, number: usize) -> Result<Vector<'a>, Malformed> {
        let Some(at) = self.field(number) else {
            return Ok(Vector { buffer: self.buffer, at: 0, length: 0 });
        };
        let (start, length) = counted(self.buffer, at, 4)?;
        Ok(Vector { buffer: self.buffer, at: start, length })
    }
}

/// A vector of offsets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector<'a> {
    buffer: &'a [u8],
    at: usize,
    length: usize,
}

impl<'a> Vector<'a> {
    /// Elements: at most a quarter of the buffer's bytes.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn table(&self, number: usize) -> Result<Table<'a>, Malformed> {
        Table::open(self.buffer, follow(self.buffer, self.element(number)?)?)
    }

    pub(super) fn bytes(&self, number: usize) -> Result<&'a [u8], Malformed> {
        bytes(self.buffer, self.element(number)?)
    }

    fn element(&self, number: usize) -> Result<usize, Malformed> {
        if number < self.length { Ok(self.at + number * 4) } else { Err(OUTSIDE) }
    }
}

fn read<const N: usize>(buffer: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    buffer.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(OUTSIDE)
}

/// Where the offset written at `at` leads.
fn follow(buffer: &[u8], at: usize) -> Result<usize, Malformed> {
    let forward = usize::try_from(u32::from_le_bytes(read(buffer, at)?)).unwrap_or(usize::MAX);
    at.checked_add(forward).filter(|to| *to < buffer.len()).ok_or(OUTSIDE)
}

/// First byte and length of the vector that the offset at `at` leads to, of elements of `size` bytes.
fn counted(buffer: &[u8], at: usize, size: usize) -> Result<(usize, usize), Malformed> {
    let head = follow(buffer, at)?;
    let length = usize::try_from(u32::from_le_bytes(read(buffer, head)?)).unwrap_or(usize::MAX);
    let start = head + 4;
    let end = length.checked_mul(size).and_then(|bytes| start.checked_add(bytes));
    if end.is_some_and(|end| end <= buffer.len()) { Ok((start, length)) } else { Err(OUTSIDE) }
}

fn bytes(buffer: &[u8], at: usize) -> Result<&[u8], Malformed> {
    let (start, length) = counted(buffer, at, 1)?;
    buffer.get(start..start + length).ok_or(OUTSIDE)
}
