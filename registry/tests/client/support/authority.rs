//! A certificate authority of our own.

use std::{fs, sync::Arc};

use peel_registry::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use super::fixtures::config;

/// A CA in a file, and a server that it vouches for as `localhost` and `registry.test`.
pub(crate) struct Authority {
    directory: TempDir,
    pub(crate) acceptor: TlsAcceptor,
}

/// `protocols` in the server's order of preference.
pub(crate) fn authority(protocols: &[&str]) -> Authority {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "registry.test".to_owned()];
    let certificate =
        CertificateParams::new(names).expect("a name").signed_by(&key, &issuer).expect("a certificate");
    let directory = TempDir::new().expect("a directory");
    fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("written");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .expect("a server");
    server.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Authority { directory, acceptor: TlsAcceptor::from(Arc::new(server)) }
}

impl Authority {
    pub(crate) fn config(&self) -> Config {
        Config { extra_ca_files: vec![self.directory.path().join("ca.pem")], ..config() }
    }
}
