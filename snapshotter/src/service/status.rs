//! Every error's gRPC code, in one place (contract §1.1).
//!
//! containerd's Go client makes its own errors from the codes alone; the texts are for people. A text must not end
//! in ": conflict" or ": not modified", which containerd takes for codes.

use std::{io, path::PathBuf};

use peel_cache::DiskUsage;
use tonic::{Code, Status};

use crate::{filter::FilterError, metastore::MetastoreError};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The metastore's answer.
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
    /// A filter is none.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The snapshot that an unpacker asks for is there: the answer that makes containerd skip the layer.
    #[error("target snapshot \"{0}\": already exists")]
    TargetExists(peel_layer::ChainId),
    /// The kernel would refuse the mount with "invalid argument".
    #[error(
        "{key:?} stands on {layers} layers, and overlayfs takes {most}: build the image with fewer layers"
    )]
    TooManyLayers {
        /// The new snapshot.
        key: String,
        /// Below it.
        layers: usize,
        /// Overlayfs' limit.
        most: usize,
    },
    /// The node's disk.
    #[error("{0}: {1}")]
    Disk(&'static str, #[source] io::Error),
    /// No room for a snapshot.
    #[error(
        "the disk below {} is full ({} KiB of {} MiB are available): free space on it; nothing that runs is affected",
        .root.display(), .disk.available >> 10, .disk.capacity >> 20
    )]
    DiskFull {
        /// Peel's root.
        root: PathBuf,
        /// Its filesystem.
        disk: DiskUsage,
    },
}

impl ServiceError {
    fn code(&self) -> Code {
        match self {
            Self::Metastore(error) => code(error),
            Self::Filter(_) | Self::Invalid(_) => Code::InvalidArgument,
            Self::TargetExists(_) => Code::AlreadyExists,
            Self::TooManyLayers { .. } => Code::FailedPrecondition,
            Self::DiskFull { .. } => Code::ResourceExhausted,
            Self::Disk(_, error) if error.kind() == io::ErrorKind::StorageFull => Code::ResourceExhausted,
            Self::Disk(..) => Code::Internal,
        }
    }
}

fn code(error: &MetastoreError) -> Code {
    match error {
        MetastoreError::NotFound(_) | MetastoreError::ParentNotFound(_) => Code::NotFound,
        MetastoreError::Exists(_) => Code::AlreadyExists,
        MetastoreError::ParentNotCommitted { .. } | MetastoreError::RebaseMismatch { .. } => {
            Code::InvalidArgument
        }
        MetastoreError::RebaseNotCommitted { .. }
        | MetastoreError::WrongKind { .. }
        | MetastoreError::HasChildren(_) => Code::FailedPrecondition,
        MetastoreError::Circle(_) | MetastoreError::Record { .. } => Code::DataLoss,
        MetastoreError::Storage(error) => match &**error {
            redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => Code::ResourceExhausted,
            _ => Code::Internal,
        },
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let code = error.code();
        if matches!(code, Code::Internal | Code::DataLoss | Code::ResourceExhausted) {
            tracing::error!(%error, "a call failed");
        }
        Self::new(code, format!("peel: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metastore::Kind;

    #[test]
    fn codes_as_containerd_expects_them() {
        let key = || "k".to_owned();
        let kind = Kind::View;
        for (error, code) in [
            (MetastoreError::NotFound(key()), Code::NotFound),
            (MetastoreError::ParentNotFound(key()), Code::NotFound),
            (MetastoreError::Exists(key()), Code::AlreadyExists),
            (MetastoreError::ParentNotCommitted { parent: key(), kind }, Code::InvalidArgument),
            (MetastoreError::RebaseNotCommitted { parent: key(), kind }, Code::FailedPrecondition),
            (MetastoreError::RebaseMismatch { key: key(), parent: key() }, Code::InvalidArgument),
            (MetastoreError::WrongKind { key: key(), kind, wanted: "active" }, Code::FailedPrecondition),
            (MetastoreError::HasChildren(key()), Code::FailedPrecondition),
            (MetastoreError::Circle(key()), Code::DataLoss),
        ] {
            let status = Status::from(ServiceError::from(error));
            assert_eq!(status.code(), code, "{status}");
            assert!(
                !status.message().ends_with(": conflict") && !status.message().ends_with(": not modified")
            );
        }
        let full = ServiceError::Disk("cannot write", io::ErrorKind::StorageFull.into());
        assert_eq!(Status::from(full).code(), Code::ResourceExhausted);
        let full = redb::Error::Io(io::ErrorKind::StorageFull.into());
        let full = ServiceError::from(MetastoreError::Storage(Box::new(full)));
        assert_eq!(Status::from(full).code(), Code::ResourceExhausted);
    }
}
