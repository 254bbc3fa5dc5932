//! Digests as the distribution API writes them: `algorithm:hex` (OCI image spec, descriptor.md, "Digests").
//!
//! This crate knows nothing of layers, so it has its own type. It accepts the two algorithms that the
//! specification registers, because a registry may hold either.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256, Sha512};

/// Name of a blob or manifest: `sha256:<64 hex digits>` or `sha512:<128 hex digits>`, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest of the form sha256:<64 lower-case hex digits> or sha512:<128>")]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// A sha256 that was parsed or computed elsewhere.
    #[must_use]
    pub fn sha256(bytes: &[u8; 32]) -> Self {
        Self(format!("sha256:{}", hex(bytes)))
    }

    /// `sha256:…` of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::sha256(&Sha256::digest(bytes).into())
    }

    /// The text, `algorithm:hex`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `bytes` are what this digest names.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        match self.0.split_once(':') {
            Some(("sha256", digits)) => digits == hex(&Sha256::digest(bytes)),
            Some(("sha512", digits)) => digits == hex(&Sha512::digest(bytes)),
            _ => false,
        }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = match text.split_once(':') {
            Some(("sha256", digits)) if digits.len() == 64 => digits,
            Some(("sha512", digits)) if digits.len() == 128 => digits,
            _ => "",
        };
        let valid = !digits.is_empty() && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(DigestError { text: text.chars().take(140).collect() })
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_it_was_made_of() {
        let digest = Digest::of(b"abc");
        assert_eq!(
            digest.as_str(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(digest.matches(b"abc"));
        assert!(!digest.matches(b"abd"));
        assert_eq!(digest.as_str().parse(), Ok(digest));
    }

    #[test]
    fn knows_sha512() {
        let long = format!("sha512:{}", hex(&Sha512::digest(b"abc")));
        assert!(long.parse::<Digest>().is_ok_and(|digest| digest.matches(b"abc") && !digest.matches(b"")));
    }

    #[test]
    fn refuses_other_texts() {
        let good = Digest::of(b"").to_string();
        for text in
            ["", "sha256:", "sha512:00", "md5:00", &good[..70], &good.to_uppercase(), &format!("{good}0")]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
