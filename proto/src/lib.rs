//! The protobuf messages and services that Peel speaks: containerd's snapshots, content, leases and transfer APIs, the
//! part of CRI that it reads and that its tests call, its own control API, and its stored records.
//!
//! The `.proto` files under `proto/` are Peel's own: packages, names and numbers as in the originals
//! (containerd's `api/`, Kubernetes' `cri-api`), but only what is used. protobuf skips fields that it does not
//! know, so newer peers may send more. Beside them: credentials never appear in a `Debug` text, and all of these
//! services are spoken to over unix sockets.

use std::{fmt, path::Path};

use tonic::transport::Endpoint;

/// `containerd.*`
pub mod containerd {
    /// `containerd.services.*`
    pub mod services {
        /// `containerd.services.content.v1`: the content store.
        pub mod content {
            #[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
            pub mod v1 {
                tonic::include_proto!("containerd.services.content.v1");
            }
        }
        /// `containerd.services.leases.v1`: what keeps containerd's GC off a resource.
        pub mod leases {
            #[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
            pub mod v1 {
                tonic::include_proto!("containerd.services.leases.v1");
            }
        }
        /// `containerd.services.snapshots.v1`: what Peel serves.
        pub mod snapshots {
            #[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
            pub mod v1 {
                tonic::include_proto!("containerd.services.snapshots.v1");
            }
        }
        /// `containerd.services.transfer.v1`: pulls as `ctr` makes them.
        pub mod transfer {
            #[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
            pub mod v1 {
                tonic::include_proto!("containerd.services.transfer.v1");
            }
        }
    }
    /// `containerd.types`
    pub mod types {
        tonic::include_proto!("containerd.types");
        /// `containerd.types.transfer`: sources and destinations of a transfer.
        pub mod transfer {
            tonic::include_proto!("containerd.types.transfer");
        }
    }
}

/// `runtime.*`: CRI.
pub mod runtime {
    #[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
    pub mod v1 {
        tonic::include_proto!("runtime.v1");
    }
}

/// `peel.*`: Peel's own.
pub mod peel {
    /// `peel.control.v1`: what the `peel` command asks the daemon.
    pub mod control {
        #[expect(missing_docs, clippy::allow_attributes, reason = "generated")]
        pub mod v1 {
            tonic::include_proto!("peel.control.v1");
        }
    }
    /// `peel.metadata.v1`: stored records.
    pub mod metadata {
        #[expect(missing_docs, reason = "generated")]
        pub mod v1 {
            tonic::include_proto!("peel.metadata.v1");
        }
    }
}

/// The server that listens on the unix socket `socket`. Nothing is connected yet.
#[must_use]
pub fn at_socket(socket: &Path) -> Endpoint {
    // The name is never resolved, and grpc-go wants one: the endpoint sends its own.
    Endpoint::from_shared(format!("unix:{}", socket.display())).expect("whatever follows `unix:` is a path")
}

impl fmt::Debug for runtime::v1::AuthConfig {
    /// Says whose credentials these are, and no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("server_address", &self.server_address)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::runtime::v1::{AuthConfig, PullImageRequest};

    #[test]
    fn credentials_are_not_shown() {
        let auth = AuthConfig {
            username: "somebody".into(),
            password: "hunter2".into(),
            auth: "aHVudGVyMg==".into(),
            identity_token: "hunter2".into(),
            registry_token: "hunter2".into(),
            server_address: "registry.example".into(),
        };
        let text = format!("{:?}", PullImageRequest { auth: Some(auth), ..Default::default() });
        assert!(text.contains("somebody") && text.contains("registry.example"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
    }
}
