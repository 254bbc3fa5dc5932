//! A blob as it passes, piece by piece: its digest, that of its tar, and its chunks.

use std::sync::Arc;

use peel_layer::{
    DiffId, LayerDigest,
    stream::{Decompressor, StreamError},
};
use sha2::{Digest as _, Sha256};

use super::{Content, chunks::Chunks};
use crate::{LayerReader, stream::refill::compression};

/// Bytes of the tar that are decoded at a time.
const OUTPUT: usize = 256 << 10;

/// See the module's header.
pub(super) struct Passing {
    blob: Sha256,
    tar: Tar,
    chunks: Chunks,
}

impl Passing {
    pub(super) fn new(reader: Arc<LayerReader>) -> Self {
        let decompressor = Decompressor::new(compression(reader.layer().index().format()));
        let tar = Tar { decompressor, hash: Sha256::new(), output: vec![0; OUTPUT], broken: None };
        Self { blob: Sha256::new(), tar, chunks: Chunks::new(reader) }
    }

    /// Takes the next bytes. Blocks for the disk.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.blob.update(bytes);
        self.tar.push(bytes);
        self.chunks.push(bytes);
    }

    /// What all of it was.
    pub(super) fn finish(self) -> (LayerDigest, Content) {
        (LayerDigest::from_bytes(self.blob.finalize().into()), self.tar.finish())
    }
}

/// The tar in it. Damage is not reported before the blob's digest is known: it may be the source's.
struct Tar {
    decompressor: Decompressor,
    hash: Sha256,
    output: Vec<u8>,
    broken: Option<String>,
}

impl Tar {
    fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_none()
            && let Err(error) = self.decode(bytes)
        {
            self.broken = Some(error.to_string());
        }
    }

    fn decode(&mut self, mut rest: &[u8]) -> Result<(), StreamError> {
        loop {
            let step = self.decompressor.step(rest, &mut self.output)?;
            self.hash.update(&self.output[..step.produced]);
            rest = &rest[step.consumed..];
            if rest.is_empty() && step.produced < self.output.len() {
                return Ok(());
            }
        }
    }

    fn finish(self) -> Content {
        let end = match self.broken {
            Some(error) => Err(error),
            None => self.decompressor.finish().map_err(|error| error.to_string()),
        };
        match end {
            Ok(_) => Content::Tar(DiffId::from_bytes(self.hash.finalize().into())),
            Err(error) => Content::Undecodable(error),
        }
    }
}
