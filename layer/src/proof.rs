//! That a layer which was read from end to end is the one that its image names.

use crate::{DiffId, LayerDigest};

/// What an image says of a layer, or what was found when all of it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerIdentity {
    /// Of the blob: from the manifest.
    pub layer: LayerDigest,
    /// Of the uncompressed tar: from the image's config.
    pub diff_id: DiffId,
}

/// Why a layer is not what its image says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityMismatch {
    /// Other bytes came than were asked for: the fault of whoever sent them.
    #[error("the blob that came has digest {found}, not {expected}")]
    Layer {
        /// What was asked for.
        expected: LayerDigest,
        /// What came.
        found: LayerDigest,
    },
    /// The right blob holds another tar than the config says: the fault of whoever made the image. Its chain id would
    /// be another image's.
    #[error("its uncompressed content has digest {found}, but the image's config says {expected}")]
    DiffId {
        /// What the config says.
        expected: DiffId,
        /// What is in the blob.
        found: DiffId,
    },
}

/// Proof that both digests were found as they should be. Without it nothing that was streamed is published.
#[derive(Debug)]
pub struct LayerProof(LayerIdentity);

impl LayerProof {
    /// Compares what was found with what the image says. The blob's digest comes first: of bytes that nobody asked
    /// for nothing can be said.
    ///
    /// # Errors
    /// [`IdentityMismatch`].
    pub fn check(expected: LayerIdentity, found: LayerIdentity) -> Result<Self, IdentityMismatch> {
        if found.layer != expected.layer {
            return Err(IdentityMismatch::Layer { expected: expected.layer, found: found.layer });
        }
        if found.diff_id != expected.diff_id {
            return Err(IdentityMismatch::DiffId { expected: expected.diff_id, found: found.diff_id });
        }
        Ok(Self(expected))
    }

    /// What is proven.
    #[must_use]
    pub fn identity(&self) -> LayerIdentity {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_count_and_the_blob_comes_first() {
        let identity = |layer: &[u8], tar: &[u8]| LayerIdentity {
            layer: LayerDigest::of(layer),
            diff_id: DiffId::of(tar),
        };
        let expected = identity(b"blob", b"tar");
        assert_eq!(LayerProof::check(expected, expected).unwrap().identity(), expected);
        let check = |layer, tar| LayerProof::check(expected, identity(layer, tar)).unwrap_err();
        assert!(matches!(check(b"other", b"tar"), IdentityMismatch::Layer { .. }));
        assert!(matches!(check(b"other", b"other"), IdentityMismatch::Layer { .. }));
        assert!(check(b"blob", b"other").to_string().contains("config says"));
    }
}
