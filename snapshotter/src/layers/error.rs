//! Why a layer is not readable, and what follows: the one place where it becomes a gRPC code.
//!
//! Never NotFound or AlreadyExists: containerd retries those silently and loses the text (design.md, "Prepare
//! never waits; the leased Stat does").

use std::fmt;

use tonic::{Code, Status};

/// A layer that did not become readable. Cheap to clone: every waiter gets one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateError {
    cause: Cause,
    image: String,
    layer: String,
    detail: String,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The registry wants (other) credentials. containerd may have some that Peel does not see.
    Unauthenticated,
    /// The registry refuses these credentials. As above.
    Forbidden,
    /// TLS failed. containerd may know a CA that Peel does not.
    Tls,
    /// The layer's index is damaged, hostile, or beyond a limit. containerd can unpack the layer itself.
    IndexRefused,
    /// The layer itself is damaged, is not what its image's config says, or is beyond a limit. containerd can look for
    /// itself; it refuses the first two.
    LayerRefused,
    /// What came is not what the manifest names, wherever it was asked for. containerd would get the same.
    WrongBytes,
    /// The layer was served, read whole, and found not to be what its image's config says.
    Quarantined,
    /// The blob is not in the registry.
    Missing,
    /// No answer, or none that helps.
    Unavailable,
    /// Nothing moved for too long.
    TimedOut,
    /// This node: disk, metadata.
    Local,
}

impl Cause {
    /// Whether an ordinary pull may succeed where this one failed: such a manifest becomes ordinary for a while.
    #[must_use]
    pub fn containerd_may_not_share(self) -> bool {
        matches!(
            self,
            Self::Unauthenticated | Self::Forbidden | Self::Tls | Self::IndexRefused | Self::LayerRefused
        )
    }

    fn code(self) -> Code {
        match self {
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::IndexRefused | Self::LayerRefused | Self::WrongBytes => Code::DataLoss,
            // A blob that the manifest names and the registry lacks is the image's fault; NotFound is taken (above).
            Self::Missing | Self::Local | Self::Quarantined => Code::FailedPrecondition,
            Self::Tls | Self::Unavailable | Self::TimedOut => Code::Unavailable,
        }
    }

    /// What to do, where the detail does not say so already (the registry client's errors do).
    fn remedy(self) -> Option<&'static str> {
        match self {
            Self::IndexRefused => Some("convert the image again"),
            Self::LayerRefused => Some("build and push the image again"),
            Self::Quarantined => Some("remove the image and its containers, and find out who made it"),
            Self::TimedOut => Some("check that the node reaches the registry"),
            Self::Local => Some("check the disk below Peel's root directory"),
            Self::WrongBytes => Some("push the image again, or repair the mirror that it came from"),
            Self::Unauthenticated | Self::Forbidden | Self::Tls | Self::Missing | Self::Unavailable => None,
        }
    }
}

impl GateError {
    /// An error of `layer` in `image`.
    pub fn new(cause: Cause, image: &str, layer: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self { cause, image: image.to_owned(), layer: layer.to_string(), detail: detail.to_string() }
    }

    /// What happened, without image and layer.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Its kind.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, image, layer, detail } = self;
        write!(f, "peel: image {image}, layer {layer}: {detail}")?;
        if let Some(remedy) = cause.remedy() {
            write!(f, "; {remedy}")?;
        }
        if cause.containerd_may_not_share() {
            f.write_str("; the next attempt is an ordinary pull unless pull.fallback is \"never\"")?;
        }
        Ok(())
    }
}

impl std::error::Error for GateError {}

impl From<&GateError> for Status {
    fn from(error: &GateError) -> Self {
        Self::new(error.cause.code(), error.to_string())
    }
}
