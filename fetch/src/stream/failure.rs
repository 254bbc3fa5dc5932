//! Why a layer could not be streamed.

use std::{fmt, io};

use peel_cache::CacheError;

use crate::Refusal;

/// Why a layer could not be streamed. The texts name hosts or paths, and no secrets; the caller adds image and layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamFailure {
    /// No source gave all of it. What came is kept.
    #[error("{message}")]
    Unavailable {
        /// What happened last, with host and remedy.
        message: String,
        /// The kind, when a source has said no for good.
        refusal: Option<Refusal>,
    },
    /// It is not what its image says, or cannot be shown as a tree.
    #[error("{message}")]
    Content {
        /// The failed check.
        message: String,
        /// The blob's digest is wrong: not the image's fault.
        wrong_blob: bool,
    },
    /// It was the daemon's death, several times.
    #[error("the daemon died of {what}, several times: it is not streamed again for some minutes")]
    Condemned {
        /// What was executed at these deaths.
        what: &'static str,
    },
    /// This node could not: its disk, most likely.
    #[error("{message}")]
    Local {
        /// What happened.
        message: String,
        /// The disk is full.
        full: bool,
    },
}

impl StreamFailure {
    pub(super) fn content(error: &dyn fmt::Display) -> Self {
        Self::Content { message: error.to_string(), wrong_blob: false }
    }

    /// The same, of bytes that turned out not to be the blob: whatever is wrong with them is not the image's fault.
    pub(super) fn of_wrong_blob(self) -> Self {
        match self {
            Self::Content { message, .. } => Self::Content { message, wrong_blob: true },
            other => other,
        }
    }

    pub(super) fn local(error: &CacheError) -> Self {
        match error {
            CacheError::Io { source, .. } if is_full(source) => Self::full(error),
            _ => Self::Local { message: error.to_string(), full: false },
        }
    }

    /// For an error of a writer that wraps a [`CacheError`].
    pub(super) fn sink(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => Self::local(error),
            None if is_full(error) => Self::full(error),
            None if error.kind() == io::ErrorKind::InvalidData => Self::content(error),
            None => Self::Local { message: error.to_string(), full: false },
        }
    }

    fn full(error: &dyn fmt::Display) -> Self {
        let message =
            format!("no room to stream the layer ({error}): free disk space, or remove unused images");
        Self::Local { message, full: true }
    }

    /// What was downloaded is worth keeping.
    pub(super) fn keeps_bytes(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Content { .. } | Self::Condemned { .. } => false,
            Self::Local { full, .. } => !full,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
