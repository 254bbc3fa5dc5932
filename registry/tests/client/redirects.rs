//! Storage behind redirects: who sees which credential, and what is kept.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use peel_registry::{Client, ErrorKind};

use crate::support::{
    fixtures::{Fixed, anonymous, blob, blob_path, config, content, digest},
    server::{Answer, Request, Server},
};

const SIGNED: &str = "/bucket/object?X-Signature=hunter2";

/// A registry that wants a password and redirects each blob to `storage`, with a number in the URL.
async fn registry(storage: &Server) -> Server {
    let (host, number) = (storage.host(), AtomicUsize::new(0));
    Server::start(move |request| {
        if request.header("authorization").is_none() {
            return Answer::new(401).header("WWW-Authenticate", "Basic realm=x").bytes("{}");
        }
        let number = number.fetch_add(1, SeqCst);
        Answer::new(307).header("Location", format!("http://{host}{SIGNED}&n={number}")).bytes("see there")
    })
    .await
}

fn client() -> Client {
    Client::new(config(), Fixed::password()).expect("a client")
}

#[tokio::test]
async fn credentials_stay_and_the_target_is_kept() {
    let storage = Server::start(|request| Answer::range(request, &content())).await;
    let registry = registry(&storage).await;
    let client = client();
    let blob = blob(&client, &registry.host());
    for start in 0..5_u8 {
        assert_eq!(
            blob.read(start.into()..u64::from(start) + 1).await.expect("a byte"),
            content()[start.into()..][..1]
        );
    }
    // Once anonymously, once with the password, and then never again.
    assert_eq!(registry.lines(), [format!("GET {}", blob_path()), format!("GET {}", blob_path())]);
    assert_eq!(storage.lines(), vec![format!("GET {SIGNED}&n=0"); 5]);
    for request in storage.requests() {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("referer"), None);
    }
    assert_eq!(client.stats().redirects, 1);
}

/// A storage that takes a URL's number only while `valid` says so, and else answers `status`.
async fn expiring(status: u16, valid: impl Fn(usize) -> bool + Send + Sync + 'static) -> Server {
    Server::start(move |request: &Request| {
        let number = request.target.rsplit_once('=').and_then(|(_, n)| n.parse().ok());
        if number.is_some_and(&valid) {
            Answer::range(request, &content())
        } else {
            Answer::new(status).bytes("<Error><StringToSign>hunter2</StringToSign></Error>")
        }
    })
    .await
}

#[tokio::test]
async fn expired_targets_are_resolved_again() {
    for status in [400, 401, 403, 404] {
        let reads = Arc::new(AtomicUsize::new(0));
        let seen = reads.clone();
        let storage = expiring(status, move |number| number >= seen.load(SeqCst)).await;
        let registry = registry(&storage).await;
        let client = client();
        let blob = blob(&client, &registry.host());
        blob.read(0..1).await.expect("with the first URL");
        reads.store(1, SeqCst);
        blob.read(1..2).await.expect("with the second URL");
        assert_eq!((registry.requests().len(), storage.requests().len()), (3, 3), "{status}");
        assert_eq!(client.stats().retries, 0, "an expired URL is no failure");
    }
}

#[tokio::test]
async fn a_storage_that_always_refuses_is_an_error() {
    let storage = expiring(403, |_| false).await;
    let registry = registry(&storage).await;
    let error = blob(&client(), &registry.host()).read(0..1).await.expect_err("refused");
    assert_eq!((error.kind(), error.host()), (&ErrorKind::Forbidden, &*storage.host()));
    assert_eq!(storage.requests().len(), 1);
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(
            !text.contains("hunter2") && !text.contains("X-Signature") && !text.contains("bucket"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_storage_that_goes_away_is_resolved_again() {
    let (first, second) =
        (Server::start(|r| Answer::range(r, &content())).await, expiring(403, |_| true).await);
    let hosts = [first.host(), second.host()];
    let number = AtomicUsize::new(0);
    let registry = Server::start(move |_| {
        let host = &hosts[number.fetch_add(1, SeqCst).min(1)];
        Answer::new(302).header("Location", format!("http://{host}/?n=1"))
    })
    .await;
    let blob = blob(&anonymous(config()), &registry.host());
    blob.read(0..1).await.expect("from the first");
    first.stop();
    blob.read(0..1).await.expect("from the second");
}

#[tokio::test]
async fn relative_redirects_keep_their_host_and_its_credentials() {
    let registry = Server::start(|request| match request.header("authorization") {
        None => Answer::new(401).header("WWW-Authenticate", "Basic"),
        Some(_) if request.target.starts_with("/v2/") => Answer::new(302).header("Location", "/other/place"),
        Some(_) => Answer::range(request, &content()),
    })
    .await;
    assert_eq!(blob(&client(), &registry.host()).read(5..9).await.expect("bytes"), content()[5..9]);
    assert_eq!(registry.requests()[2].target, "/other/place");
}

#[tokio::test]
async fn a_storage_cannot_ask_for_credentials() {
    let challenge = "Bearer realm=\"http://127.0.0.1:1/token\", Basic realm=x";
    let storage = Server::start(move |_| Answer::new(401).header("WWW-Authenticate", challenge)).await;
    let registry = registry(&storage).await;
    let client = client();
    let error = blob(&client, &registry.host()).read(0..1).await.expect_err("refused");
    assert_eq!((error.kind(), error.host()), (&ErrorKind::Unauthorized, &*storage.host()));
    assert_eq!((storage.requests().len(), client.stats().token_requests), (1, 0));
}

#[tokio::test]
async fn redirects_end() {
    let registry =
        Server::start(|request| Answer::new(307).header("Location", format!("{}x", request.target))).await;
    let error = blob(&anonymous(config()), &registry.host()).read(0..1).await.expect_err("endless");
    assert_eq!(error.kind(), &ErrorKind::Protocol);
    assert_eq!(registry.requests().len(), 6);
}

#[tokio::test]
async fn the_size_comes_from_storage_that_refuses_head() {
    let storage = Server::start(|request| match &*request.method {
        "HEAD" => Answer::new(403),
        _ => Answer::range(request, &content()),
    })
    .await;
    let registry = registry(&storage).await;
    let reference = format!("{}/library/app:1", registry.host()).parse().expect("valid");
    let blob = client().blob(&reference, digest(), None).expect("a blob");
    assert_eq!(blob.size().await.expect("a size"), content().len() as u64);
    blob.read(0..1).await.expect("where the size was found");
    assert_eq!(storage.requests().len(), 3);
    assert!(!format!("{blob:?}").contains("hunter2"));
}
