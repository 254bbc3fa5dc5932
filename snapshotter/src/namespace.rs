//! containerd's namespaces, as its gRPC API carries them: in a header of each call (pkg/namespaces/grpc.go).

use tonic::Request;

/// The header.
pub(crate) const HEADER: &str = "containerd-namespace";

/// A call in `namespace`. A text that cannot be a header is left out: containerd then says that it wants one.
pub(crate) fn request<T>(namespace: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Ok(namespace) = namespace.parse() {
        request.metadata_mut().insert(HEADER, namespace);
    }
    request
}
