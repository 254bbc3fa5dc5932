//! Between the API's messages and records; what a request may contain.

use peel_proto::containerd::services::snapshots::v1 as api;

use super::ServiceError;
use crate::metastore::{Kind, Labels, SnapshotRecord, Timestamp};

/// Longest key and value of a label together, as containerd limits them (pkg/labels/validate.go).
const MAX_LABEL: usize = 4096;
/// Longest key of a snapshot. containerd's are some hundred bytes; a path within is at most 4096.
const MAX_KEY: usize = 16 << 10;

/// A key that can be stored.
pub(super) fn check_key(key: &str) -> Result<(), ServiceError> {
    if key.is_empty() {
        return Err(ServiceError::Invalid("a snapshot's key must not be empty".to_owned()));
    }
    if key.len() > MAX_KEY {
        return Err(ServiceError::Invalid(format!("a snapshot's key is longer than {MAX_KEY} bytes")));
    }
    Ok(())
}

/// Labels that can be stored. Those with an empty value are dropped, as containerd's own storage drops them.
pub(super) fn check_labels(mut labels: Labels) -> Result<Labels, ServiceError> {
    labels.retain(|_, value| !value.is_empty());
    match labels.iter().find(|(key, value)| key.len() + value.len() > MAX_LABEL) {
        Some((key, _)) => {
            let key: String = key.chars().take(100).collect();
            Err(ServiceError::Invalid(format!("label {key:?} is longer than {MAX_LABEL} bytes")))
        }
        None => Ok(labels),
    }
}

/// What a client sees of a snapshot.
pub(super) fn info(snapshot: SnapshotRecord) -> api::Info {
    api::Info {
        name: snapshot.key,
        parent: snapshot.parent.unwrap_or_default(),
        kind: match snapshot.kind {
            Kind::View => api::Kind::View,
            Kind::Active => api::Kind::Active,
            Kind::Committed => api::Kind::Committed,
        }
        .into(),
        created_at: Some(timestamp(snapshot.created)),
        updated_at: Some(timestamp(snapshot.updated)),
        labels: snapshot.labels,
    }
}

fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    const SECOND: i64 = 1_000_000_000;
    prost_types::Timestamp {
        seconds: time.0.div_euclid(SECOND),
        nanos: i32::try_from(time.0.rem_euclid(SECOND)).unwrap_or(0),
    }
}
