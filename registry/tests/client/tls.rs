//! HTTPS with a CA of our own.

use std::{fs, sync::Arc};

use peel_registry::{Anonymous, Client, Config, ConfigError, ErrorKind};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{
    authority::authority,
    fixtures::{anonymous, blob, config, content},
    server::{Answer, Server},
};

/// A server on loopback is spoken to over TLS only without a port or on 443; tests have neither, and redirect.
async fn redirecting_to(url: String) -> Server {
    Server::start(move |_| Answer::new(307).header("Location", &url)).await
}

#[tokio::test]
async fn a_configured_ca_is_trusted() {
    let authority = authority(&["http/1.1"]);
    let tls = Server::start_tls(authority.acceptor.clone(), |r| Answer::range(r, &content())).await;
    let registry = redirecting_to(format!("https://localhost:{}/blob", tls.address.port())).await;
    let client = anonymous(authority.config());
    assert_eq!(blob(&client, &registry.host()).read(3..9).await.expect("bytes"), content()[3..9]);
}

#[tokio::test]
async fn others_are_not() {
    let authority = authority(&["http/1.1"]);
    let tls = Server::start_tls(authority.acceptor.clone(), |r| Answer::range(r, &content())).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plain_port = plain.local_addr().expect("bound").port();
    // As a web server without TLS answers a handshake.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read(&mut [0; 2048]).await;
        }
    });
    for (what, config, target) in [
        ("an unknown CA", config(), format!("https://localhost:{}/?hunter2", tls.address.port())),
        ("another name", authority.config(), format!("https://127.0.0.1:{}/?hunter2", tls.address.port())),
        ("no TLS", authority.config(), format!("https://localhost:{}/?hunter2", plain_port)),
    ] {
        let registry = redirecting_to(target).await;
        let error = blob(&anonymous(config), &registry.host()).read(3..9).await.expect_err(what);
        assert_eq!(error.kind(), &ErrorKind::Tls, "{what}: {error}");
        assert!(!error.retryable() && !error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn ca_files_must_be_usable() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("ca.pem");
    let client =
        || Client::new(Config { extra_ca_files: vec![path.clone()], ..config() }, Arc::new(Anonymous));
    assert!(matches!(client(), Err(ConfigError::ReadCa { .. })));
    for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        fs::write(&path, text).expect("written");
        assert!(matches!(client(), Err(ConfigError::ParseCa { .. })), "{text}");
    }
}
