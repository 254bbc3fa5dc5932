//! What can go wrong between this node and a registry.
//!
//! Every error says what was being done, for which repository, with which host, and what the operator can do.
//! It is built from statuses, our own words and error texts of the network stack. It never holds a URL (a
//! signed storage URL is a credential, and a proxy's URL may contain one), a header's value or a body.

use std::{fmt, time::Duration};

/// What was being done when an error came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The size of a blob.
    BlobSize,
    /// Bytes of a blob.
    BlobRead,
    /// A manifest.
    Manifest,
    /// What refers to a manifest.
    Referrers,
    /// A bearer token, from the token endpoint that the registry named.
    Token,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BlobSize => "asking the size of a blob",
            Self::BlobRead => "reading a blob",
            Self::Manifest => "reading a manifest",
            Self::Referrers => "asking what refers to a manifest",
            Self::Token => "asking a token",
        })
    }
}

/// Where and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) operation: Operation,
    pub(crate) repository: String,
    /// `host[:port]` that was asked: the registry, its token endpoint or its storage.
    pub(crate) host: String,
}

/// The kinds of failure, as callers must tell them apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// 401: no credentials, or not these.
    #[error("unauthorized")]
    Unauthorized,
    /// 403: known, but not allowed.
    #[error("forbidden")]
    Forbidden,
    /// 404 or 410.
    #[error("not found")]
    NotFound,
    /// 429, with the wait that the server asked for.
    #[error("too many requests")]
    TooManyRequests {
        /// From `Retry-After`, as sent.
        retry_after: Option<Duration>,
    },
    /// 5xx, with the wait that the server asked for.
    #[error("the server answers {status}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// From `Retry-After`, as sent.
        retry_after: Option<Duration>,
    },
    /// Any other status.
    #[error("the server answers {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or one that broke.
    #[error("unreachable")]
    Unreachable,
    /// Connecting, the first byte, the next byte or all of it took longer than allowed.
    #[error("timed out")]
    TimedOut,
    /// The server's certificate or the handshake.
    #[error("TLS failed")]
    Tls,
    /// The server broke the protocol: another range than asked, too many redirects, a body too large.
    #[error("unusable answer")]
    Protocol,
    /// The bytes are not those that the digest names.
    #[error("wrong bytes")]
    WrongDigest,
    /// The call cannot be made at all: a host that is no URL, an inverted range.
    #[error("cannot be asked")]
    Invalid,
}

impl ErrorKind {
    fn retryable(&self) -> bool {
        match self {
            Self::TooManyRequests { .. } | Self::Unreachable | Self::TimedOut => true,
            // 501 and 505 are properties of the server, not of the moment.
            Self::Unavailable { status, .. } => !matches!(status, 501 | 505),
            Self::Refused { status } => matches!(status, 408 | 425),
            // A lying server is not asked again by this crate; `fetch` asks another host.
            Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::Tls
            | Self::Protocol
            | Self::WrongDigest
            | Self::Invalid => false,
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Unauthorized => {
                "check that this node has valid credentials for the host (docker config.json)"
            }
            Self::Forbidden => "check that the account may pull from this repository",
            Self::NotFound => {
                "check that the image still exists there; some registries say this to strangers too"
            }
            Self::TooManyRequests { .. } => "wait, log in, or use a mirror: the registry limits this client",
            Self::Unavailable { .. } => "the registry has a problem; it is asked again",
            Self::Refused { .. } => "the registry's log may say why",
            Self::Unreachable => "check name resolution, network, firewall and proxy settings of this node",
            Self::TimedOut => "check the network to the host, or raise the timeouts",
            Self::Tls => {
                "trust the registry's CA on this node or in the configuration; list a host without TLS as plain HTTP"
            }
            Self::Protocol => {
                "a proxy or registry between here and the blob does not speak HTTP ranges properly"
            }
            Self::WrongDigest => {
                "the registry, a mirror or a proxy sent other bytes; nothing of them was used"
            }
            Self::Invalid => "check the image reference",
        }
    }
}

/// A failed call. `Display` is one line with operation, repository, host, reason and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of {} at {}: {kind}{}{detail}; {}",
    .context.operation, .context.repository, .context.host, if .detail.is_empty() { "" } else { ": " }, .kind.remedy())]
pub struct RegistryError {
    context: Context,
    kind: ErrorKind,
    detail: String,
}

impl RegistryError {
    pub(crate) fn new(context: &Context, kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { context: context.clone(), kind, detail: printable(&detail.into()) }
    }

    /// The same error with more to say about its cause.
    pub(crate) fn with_note(mut self, note: &str) -> Self {
        if !self.detail.is_empty() {
            self.detail.push_str("; ");
        }
        self.detail.push_str(&printable(note));
        self
    }

    /// Which kind of failure.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.context.operation
    }

    /// `host[:port]` that answered or did not: the registry, its token endpoint or its storage.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.context.host
    }

    /// The repository that was asked for.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.context.repository
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }

    /// Whether the same call may succeed later without anybody changing anything. When this crate returns
    /// such an error it has already used up its own attempts.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.kind.retryable()
    }

    /// The wait that the server asked for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            ErrorKind::TooManyRequests { retry_after } | ErrorKind::Unavailable { retry_after, .. } => {
                retry_after
            }
            _ => None,
        }
    }
}

/// Foreign text cut to one short line: it ends up in logs and in pod events.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
