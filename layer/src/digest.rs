//! Digests, one type for each thing that has one.
//!
//! All are sha256, written `sha256:<64 lower-case hex digits>` (OCI image spec, descriptor.md, "Digests").
//! Other algorithms are refused at the parse: an image that uses them is not served lazily.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// Why a text is not a digest that Peel understands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest of the form sha256:<64 lower-case hex digits>")]
pub struct DigestError {
    text: String,
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The digest of `bytes`.
            #[must_use]
            pub fn of(bytes: &[u8]) -> Self {
                Self(Sha256::digest(bytes).into())
            }

            /// A digest that was computed or stored elsewhere.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 hex digits without the algorithm: usable as a file name.
            #[must_use]
            pub fn hex(&self) -> String {
                hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "sha256:{}", hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &hex(&self.0)[..12])
            }
        }

        impl FromStr for $name {
            type Err = DigestError;
            fn from_str(text: &str) -> Result<Self, DigestError> {
                parse(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest_type!(
    /// Of a layer's blob as the registry has it, usually compressed.
    LayerDigest
);
digest_type!(
    /// Of a layer's uncompressed tar (`rootfs.diff_ids` in the image's config).
    DiffId
);
digest_type!(
    /// Of a stack of layers (OCI image spec, config.md, "Layer ChainID"): containerd's name of a snapshot.
    ChainId
);
digest_type!(
    /// Of an image manifest. Everything that Peel trusts hangs off it.
    ManifestDigest
);
digest_type!(
    /// Of what describes a layer's bytes: an eStargz TOC's JSON, a SOCI ztoc, an index that Peel made.
    TocDigest
);
digest_type!(
    /// Of the uncompressed bytes of one chunk of one file.
    ChunkDigest
);
digest_type!(
    /// Of the uncompressed bytes of one whole file of several chunks.
    FileDigest
);
digest_type!(
    /// Of the bytes that one span of a SOCI layer has in the blob.
    SpanDigest
);

impl ChainId {
    /// The chain of one layer: its diff id.
    #[must_use]
    pub fn first(diff_id: DiffId) -> Self {
        Self(diff_id.0)
    }

    /// The chain that is this one with `diff_id` on top: `sha256(parent + " " + diff id)`.
    #[must_use]
    pub fn push(self, diff_id: DiffId) -> Self {
        Self::of(format!("{self} {diff_id}").as_bytes())
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn parse(text: &str) -> Result<[u8; 32], DigestError> {
    let error = || DigestError { text: text.chars().take(100).collect() };
    let digits = text.strip_prefix("sha256:").ok_or_else(error)?.as_bytes();
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return Err(error());
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0]).zip(nibble(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(error)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_round_trip() {
        assert_eq!(ChunkDigest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(ChunkDigest::of(b"")));
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", "sha256:", "sha512:00", &EMPTY[..70], &EMPTY.to_uppercase(), &format!("{EMPTY}0")] {
            assert!(text.parse::<LayerDigest>().is_err(), "{text}");
        }
    }

    #[test]
    fn chain_is_hashed_as_text() {
        let (a, b) = (DiffId::of(b"a"), DiffId::of(b"b"));
        assert_eq!(ChainId::first(a).push(b), ChainId::of(format!("{a} {b}").as_bytes()));
    }
}
