//! Image references, normalised as docker and containerd normalise them.
//!
//! containerd keeps images under their normalised name and hands that name to the snapshotter, so the same
//! rules must be followed to the letter: `alpine` is `docker.io/library/alpine:latest`, `index.docker.io` is
//! `docker.io`, and the first component is a host only if it has a dot or a colon, has an upper-case letter or
//! is `localhost`. The grammar is the distribution project's ("reference" in its specification).
//!
//! One rule is stricter: a port must fit into 16 bits, or nothing could ever be asked from that host.

use std::{fmt, str::FromStr};

use crate::digest::Digest;

mod grammar;
#[cfg(test)]
mod tests;

/// Longest repository name with its host, in bytes (distribution's `RepositoryNameTotalLengthMax`).
const MAX_NAME: usize = 255;
const DOCKER_HUB: &str = "docker.io";

/// `host[:port]/repository[:tag][@digest]`, always with a host and at least one of tag and digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A bare image id names no registry.
    #[error("{0:?} is an image id, not an image reference; use the image's name")]
    Identifier(String),
    /// Docker's rule; the host may have upper-case letters.
    #[error("repository of image reference {0:?} must be lower case")]
    Uppercase(String),
    /// Host and repository together are too long.
    #[error("image reference {0:?}… has a name of more than 255 bytes")]
    TooLong(String),
    /// A digest that is not sha256 or sha512.
    #[error("image reference {0:?} has a malformed digest; expected sha256:<64 hex digits> after the @")]
    Digest(String),
    /// Anything else that does not follow the grammar.
    #[error("{0:?} is not an image reference of the form host/repository:tag or host/repository@digest")]
    Malformed(String),
}

impl ImageReference {
    /// `host[:port]` as in the reference (`docker.io`, not the host that serves it). IPv6 keeps its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Repository without the host, e.g. `library/alpine`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one. With a digest it is only a note.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository at this manifest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// What the manifest is asked by: the digest where there is one (a tag can move), else the tag.
    pub(crate) fn manifest_name(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        }
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        // Texts in errors are cut: references come from labels, which may be long.
        let shown = || text.chars().take(300).collect::<String>();
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier(shown()));
        }
        let (host, remainder) = split_host(text);
        let (named, digest) = match remainder.split_once('@') {
            Some((named, digest)) => {
                (named, Some(digest.parse().map_err(|_| ReferenceError::Digest(shown()))?))
            }
            None => (remainder, None),
        };
        let (path, tag) = match named.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (named, None),
        };
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase(shown()));
        }
        let repository = if host == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if host.len() + 1 + repository.len() > MAX_NAME {
            return Err(ReferenceError::TooLong(text.chars().take(60).collect()));
        }
        if !grammar::is_host(host) || !grammar::is_path(&repository) || !tag.is_none_or(grammar::is_tag) {
            return Err(ReferenceError::Malformed(shown()));
        }
        let tag = tag.or_else(|| digest.is_none().then_some("latest"));
        Ok(Self { host: host.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

/// Docker's rule for what is a host: see the module's header.
fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((host, rest))
            if host.contains(['.', ':'])
                || host == "localhost"
                || host.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (if host == "index.docker.io" { DOCKER_HUB } else { host }, rest)
        }
        _ => (DOCKER_HUB, text),
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}
