//! Proxies: what goes through them, and what they see.

use std::net::SocketAddr;

use peel_registry::{Client, Config, ErrorKind, ProxyConfig, Secret};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    authority::authority,
    fixtures::{Fixed, anonymous, blob, config, content},
    server::{Answer, Server},
};

/// A proxy that answers in the place of every server.
async fn proxy() -> Server {
    Server::start(|request| match &*request.method {
        "CONNECT" => Answer::new(403),
        _ => Answer::range(request, &content()),
    })
    .await
}

fn through(proxy: SocketAddr, no_proxy: &str) -> Config {
    let url = Secret::new(format!("http://user:hunter2@{proxy}"));
    Config {
        plain_http: vec!["registry.test:5000".to_owned()],
        proxy: ProxyConfig { http: Some(url.clone()), https: Some(url), no_proxy: no_proxy.to_owned() },
        ..config()
    }
}

#[tokio::test]
async fn plain_requests_go_to_the_proxy() {
    let proxy = proxy().await;
    let client = Client::new(through(proxy.address, "other.test"), Fixed::password()).expect("a client");
    assert_eq!(blob(&client, "registry.test:5000").read(0..4).await.expect("bytes"), content()[..4]);
    let request = &proxy.requests()[0];
    assert!(request.target.starts_with("http://registry.test:5000/v2/"), "{}", request.target);
    assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpodW50ZXIy"));
}

#[tokio::test]
async fn tls_requests_go_through_a_tunnel() {
    let proxy = proxy().await;
    let error =
        blob(&anonymous(through(proxy.address, "")), "registry.test").read(0..4).await.expect_err("refused");
    assert_eq!(error.kind(), &ErrorKind::Unreachable, "{error}");
    assert!(!format!("{error}{error:?}").contains("hunter2"), "{error}");
    let request = &proxy.requests()[0];
    assert_eq!((&*request.method, &*request.target), ("CONNECT", "registry.test:443"));
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn loopback_and_no_proxy_are_asked_directly() {
    let proxy = proxy().await;
    let server = Server::start(|request| Answer::range(request, &content())).await;
    blob(&anonymous(through(proxy.address, "")), &server.host()).read(0..4).await.expect("bytes");
    // The name does not exist: going there directly fails, and the proxy hears nothing.
    let mut config = through(proxy.address, ".test:5000");
    config.retry.attempts = 1;
    let error = blob(&anonymous(config), "registry.test:5000").read(0..4).await.expect_err("no such host");
    assert_eq!(error.kind(), &ErrorKind::Unreachable);
    assert!(proxy.requests().is_empty());
}

/// A proxy that tunnels everything to `server`, whatever it was asked for.
async fn tunnel(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

#[tokio::test]
async fn a_registry_with_tls_and_a_password() {
    let authority = authority(&["http/1.1"]);
    let tls =
        Server::start_tls(authority.acceptor.clone(), |request| match request.header("authorization") {
            None => Answer::new(401).header("WWW-Authenticate", "Basic realm=x"),
            Some(_) => Answer::range(request, &content()),
        })
        .await;
    let config = Config { proxy: through(tunnel(tls.address).await, "").proxy, ..authority.config() };
    let client = Client::new(config, Fixed::password()).expect("a client");
    assert_eq!(blob(&client, "registry.test").read(0..4).await.expect("bytes"), content()[..4]);
    assert_eq!(tls.requests()[1].header("authorization"), Some("Basic dXNlcjpodW50ZXIy"));
    assert_eq!(tls.requests()[1].header("proxy-authorization"), None);
}

#[tokio::test]
async fn a_password_does_not_leave_tls() {
    let authority = authority(&["http/1.1"]);
    let thief = Server::start(|_| Answer::new(200).bytes(r#"{"token":"t"}"#)).await;
    let realm = format!("Bearer realm=\"http://{}/token\"", thief.host());
    let challenge = move |_: &_| Answer::new(401).header("WWW-Authenticate", &realm);
    let tls = Server::start_tls(authority.acceptor.clone(), challenge).await;
    let config = Config { proxy: through(tunnel(tls.address).await, "").proxy, ..authority.config() };
    let client = Client::new(config, Fixed::password()).expect("a client");
    let error = blob(&client, "registry.test").read(0..4).await.expect_err("refused");
    assert_eq!(error.kind(), &ErrorKind::Protocol, "{error}");
    assert!(thief.requests().is_empty());
}

/// Serves one HTTP/2 connection after the other; every first answer on one is reset in its middle.
async fn http2(authority: &crate::support::authority::Authority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let acceptor = authority.acceptor.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.expect("a handshake");
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            let mut first = true;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let range = request.headers()["range"].to_str().expect("ASCII").to_owned();
                let (start, last) = range.trim_start_matches("bytes=").split_once('-').expect("a range");
                let (start, end): (usize, usize) =
                    (start.parse().expect("a number"), last.parse::<usize>().expect("a number") + 1);
                let head = http::Response::builder()
                    .status(206)
                    .header("content-range", format!("bytes {start}-{last}/{}", content().len()))
                    .body(())
                    .expect("a head");
                let mut body = respond.send_response(head, false).expect("sent");
                if std::mem::take(&mut first) {
                    let half = content()[start..start + (end - start) / 2].to_vec();
                    body.send_data(half.into(), false).expect("sent");
                    tokio::spawn(async move {
                        // The reset would overtake the data.
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                        body.send_reset(h2::Reason::INTERNAL_ERROR);
                    });
                } else {
                    body.send_data(content()[start..end].to_vec().into(), true).expect("sent");
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn http2_streams_are_continued() {
    let authority = authority(&["h2"]);
    let proxy = tunnel(http2(&authority).await).await;
    let config = Config { proxy: through(proxy, "").proxy, ..authority.config() };
    let client = anonymous(config);
    let blob = blob(&client, "registry.test");
    assert_eq!(blob.read(10..5010).await.expect("all"), content()[10..5010]);
    let reads = (0..50_u8).map(|n| blob.read(n.into()..9000));
    for (n, bytes) in futures::future::try_join_all(reads).await.expect("all").into_iter().enumerate() {
        assert_eq!(bytes, content()[n..9000]);
    }
    assert_eq!(client.stats().retries, 1);
}
