//! Content of files, cheap to describe: a 300 MB volume is a seed and a length until it is written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Content of a regular file.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// So many zeros.
    Zeros(u64),
    /// So many zeros, none of which an archive holds: a sparse file without a byte.
    Hole(u64),
    /// Bytes that do not compress, the same for the same seed.
    Noise {
        /// Chooses the bytes.
        seed: u64,
        /// Length in bytes.
        length: u64,
    },
    /// A file of this machine, and its length when it was listed.
    Host {
        /// Where it is.
        path: PathBuf,
        /// Length in bytes; writing fails if the file has become shorter.
        length: u64,
    },
}

impl Content {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(length)
            | Self::Hole(length)
            | Self::Noise { length, .. }
            | Self::Host { length, .. } => *length,
        }
    }

    /// Bytes of it that an archive holds.
    #[must_use]
    pub(super) fn stored(&self) -> u64 {
        if matches!(self, Self::Hole(_)) { 0 } else { self.len() }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// What the host file or `out` answers; `UnexpectedEof` when the host file has shrunk.
    pub fn copy_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let copied = match self {
            Self::Bytes(bytes) => return out.write_all(bytes),
            Self::Zeros(length) | Self::Hole(length) => io::copy(&mut io::repeat(0).take(*length), out)?,
            Self::Noise { seed, length } => io::copy(&mut Noise::new(*seed).take(*length), out)?,
            Self::Host { path, length } => io::copy(&mut File::open(path)?.take(*length), out)?,
        };
        if copied == self.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes().into())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// An endless stream of bytes that no compressor shortens: Marsaglia's xorshift64*. Not for secrets.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        // Zero is the generator's one dead state; the odd constant keeps small seeds apart.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Whole words only, but for a buffer shorter than one: the stream then is the same however it is read
        // by io::copy, whose buffer is a multiple of a word.
        for word in buffer.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
        Ok(buffer.len())
    }
}
