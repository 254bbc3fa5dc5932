//! The JSON as it is decompressed: exactly its bytes, hashed on the way.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::IndexError;
use crate::frames::Frames;
use crate::index::UnitError;
use crate::inflate::Member;
use crate::{TocDigest, limits::Limits};

/// What the JSON is decompressed with.
pub(crate) trait Decode {
    /// Decodes into `output` until it is full or nothing is left; says how many bytes are new.
    fn decode(&mut self, output: &mut [u8]) -> Result<usize, UnitError>;
}

impl Decode for Member<'_> {
    fn decode(&mut self, output: &mut [u8]) -> Result<usize, UnitError> {
        Ok(self.inflate(output)?)
    }
}

impl Decode for Frames<'_> {
    fn decode(&mut self, output: &mut [u8]) -> Result<usize, UnitError> {
        Ok(Frames::decode(self, output)?)
    }
}

/// Reads exactly the JSON. What follows it is not looked at.
#[derive(Debug)]
pub(crate) struct Text<D> {
    decoder: D,
    left: u64,
    hash: Sha256,
    failure: Option<UnitError>,
}

impl<D: Decode> Text<D> {
    /// The next `size` bytes of `decoder`.
    pub(crate) fn new(decoder: D, size: u64, limits: &Limits) -> Result<Self, IndexError> {
        if size > limits.toc_json {
            return Err(IndexError::TooLarge { size, limit: limits.toc_json });
        }
        Ok(Self { decoder, left: size, hash: Sha256::new(), failure: None })
    }

    /// Reads what is left and gives the digest of the whole.
    pub(crate) fn finish(mut self) -> Result<TocDigest, IndexError> {
        // An error is in `failure`.
        let _ = io::copy(&mut self, &mut io::sink());
        match self.failure {
            Some(failure) => Err(failure.into()),
            None => Ok(TocDigest::from_bytes(self.hash.finalize().into())),
        }
    }

    fn fill(&mut self, output: &mut [u8]) -> Result<usize, UnitError> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(output.len());
        let output = &mut output[..wanted];
        if self.decoder.decode(output)? < wanted {
            return Err(UnitError::TooShort);
        }
        self.hash.update(&*output);
        self.left -= wanted as u64;
        Ok(wanted)
    }
}

impl<D: Decode> Read for Text<D> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let failed = |failure: UnitError| io::Error::new(io::ErrorKind::InvalidData, failure);
        if let Some(failure) = &self.failure {
            return Err(failed(failure.clone()));
        }
        self.fill(output).map_err(|failure| {
            self.failure = Some(failure.clone());
            failed(failure)
        })
    }
}
