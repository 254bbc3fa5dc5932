//! Challenges, tokens and passwords.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use futures::future::BoxFuture;
use peel_registry::{Client, Credential, Credentials, CredentialsError, ErrorKind, Secret};

use crate::support::{
    fixtures::{Fixed, anonymous, blob, config, content},
    server::{Answer, Server},
};

const USER: &str = "Basic dXNlcjpodW50ZXIy"; // user:hunter2

/// A token endpoint that counts: the n-th token is `token-n`.
async fn endpoint(expires_in: u64) -> Server {
    let number = AtomicUsize::new(0);
    Server::start(move |_| {
        let number = number.fetch_add(1, SeqCst);
        Answer::new(200).bytes(format!(r#"{{"token":"token-{number}","expires_in":{expires_in}}}"#))
    })
    .await
}

/// A registry that takes the tokens for which `valid` holds, and sends everybody else to `endpoint`.
async fn registry(endpoint: &Server, valid: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    let challenge = format!(
        r#"Bearer realm="http://{}/token",service="test",scope="repository:library/app:pull""#,
        endpoint.host()
    );
    Server::start(move |request| {
        match request.header("authorization").and_then(|header| header.strip_prefix("Bearer ")) {
            Some(token) if valid(token) => Answer::range(request, &content()),
            _ => Answer::new(401)
                .header("WWW-Authenticate", &challenge)
                .bytes(r#"{"errors":[{"code":"UNAUTHORIZED","message":"token hunter2"}]}"#),
        }
    })
    .await
}

#[tokio::test]
async fn a_token_is_asked_once() {
    let endpoint = endpoint(300).await;
    let registry = registry(&endpoint, |token| token == "token-0").await;
    let client = Client::new(config(), Fixed::password()).expect("a client");
    let blob = blob(&client, &registry.host());
    let reads = (0..8).map(|start| blob.read(start..start + 1));
    futures::future::try_join_all(reads).await.expect("bytes");
    blob.read(0..1).await.expect("a byte");
    assert_eq!(
        endpoint.lines(),
        ["GET /token?service=test&scope=repository%3Alibrary%2Fapp%3Apull"],
        "eight challenges, one flight"
    );
    assert_eq!(endpoint.requests()[0].header("authorization"), Some(USER));
    let last = registry.requests().pop().expect("requests");
    assert_eq!(last.header("authorization"), Some("Bearer token-0"), "sent from the start");
    assert_eq!(client.stats().token_requests, 1);
}

#[tokio::test]
async fn anonymous_tokens() {
    let endpoint = endpoint(300).await;
    let registry = registry(&endpoint, |_| true).await;
    blob(&anonymous(config()), &registry.host()).read(0..1).await.expect("a byte");
    assert_eq!(endpoint.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn identity_tokens_are_posted() {
    let endpoint = endpoint(300).await;
    let registry = registry(&endpoint, |_| true).await;
    let client = Client::new(config(), Fixed::identity_token()).expect("a client");
    blob(&client, &registry.host()).read(0..1).await.expect("a byte");
    let request = &endpoint.requests()[0];
    assert_eq!((&*request.method, &*request.target), ("POST", "/token"));
    assert!(
        request.body.contains("grant_type=refresh_token") && request.body.contains("refresh_token=hunter2")
    );
}

#[tokio::test]
async fn a_token_that_stops_working_is_replaced_once() {
    let endpoint = endpoint(300).await;
    let current = Arc::new(Mutex::new("token-0".to_owned()));
    let valid = current.clone();
    let registry = registry(&endpoint, move |token| token == *valid.lock().expect("no panic")).await;
    let client = anonymous(config());
    let blob = blob(&client, &registry.host());
    blob.read(0..1).await.expect("with the first token");
    *current.lock().expect("no panic") = "token-1".to_owned();
    blob.read(0..1).await.expect("with the second token");
    assert_eq!(client.stats().token_requests, 2);
    // A registry that takes no token at all is not asked for ever.
    *current.lock().expect("no panic") = "none".to_owned();
    let error = blob.read(0..1).await.expect_err("refused");
    assert_eq!((error.kind(), error.host()), (&ErrorKind::Unauthorized, &*registry.host()));
    assert!(error.to_string().contains("UNAUTHORIZED") && !error.to_string().contains("hunter2"), "{error}");
    assert_eq!((client.stats().token_requests, client.stats().retries), (3, 0));
}

#[tokio::test]
async fn endpoints_that_fail() {
    for (answer, kind) in [
        (
            Answer::new(401).bytes(r#"{"details":"incorrect username or password: hunter2"}"#),
            ErrorKind::Unauthorized,
        ),
        (Answer::new(403), ErrorKind::Forbidden),
        (Answer::new(307).header("Location", "http://127.0.0.1:1/"), ErrorKind::Refused { status: 307 }),
        (Answer::new(200).bytes(r#"{"token":"hunter2\u0000"}"#), ErrorKind::Protocol),
        (Answer::new(200).bytes(r#"{"token":["hunter2"]}"#), ErrorKind::Protocol),
        (Answer::new(200).bytes("{}"), ErrorKind::Protocol),
        (Answer::new(200).bytes("x".repeat(300 << 10)), ErrorKind::Protocol),
    ] {
        let endpoint = Server::start(move |_| answer.clone()).await;
        let registry = registry(&endpoint, |_| true).await;
        let client = Client::new(config(), Fixed::password()).expect("a client");
        let error = blob(&client, &registry.host()).read(0..1).await.expect_err("no token");
        assert_eq!((error.kind(), error.host()), (&kind, &*endpoint.host()), "{error}");
        assert!(!format!("{error}{error:?}").contains("hunter2"), "{error}");
        assert_eq!(endpoint.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_busy_endpoint_is_asked_again() {
    let number = AtomicUsize::new(0);
    let endpoint = Server::start(move |_| match number.fetch_add(1, SeqCst) {
        0 => Answer::new(503),
        _ => Answer::new(200).bytes(r#"{"access_token":"t"}"#),
    })
    .await;
    let registry = registry(&endpoint, |token| token == "t").await;
    blob(&anonymous(config()), &registry.host()).read(0..1).await.expect("a byte");
}

/// Wants `user:<password>`.
async fn basic(password: Arc<Mutex<&'static str>>) -> Server {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    Server::start(move |request| {
        let expected = STANDARD.encode(format!("user:{}", password.lock().expect("no panic")));
        match request.header("authorization").and_then(|header| header.strip_prefix("Basic ")) {
            Some(sent) if sent == expected => Answer::range(request, &content()),
            _ => Answer::new(401).header("WWW-Authenticate", r#"Basic realm="a, b""#),
        }
    })
    .await
}

#[tokio::test]
async fn passwords() {
    let server = basic(Arc::new(Mutex::new("hunter2"))).await;
    let client = Client::new(config(), Fixed::password()).expect("a client");
    let blob = blob(&client, &server.host());
    blob.read(0..1).await.expect("a byte");
    blob.read(0..1).await.expect("a byte");
    assert_eq!(server.requests().len(), 3, "one challenge");
    for (what, client) in [
        ("no credentials", anonymous(config())),
        ("not a password", Client::new(config(), Fixed::identity_token()).expect("a client")),
    ] {
        let error = crate::support::fixtures::blob(&client, &server.host()).read(0..1).await.expect_err(what);
        assert_eq!(error.kind(), &ErrorKind::Unauthorized, "{what}");
        assert!(error.to_string().contains("docker config.json"), "{error}");
    }
}

/// Gives the next password once the last was refused.
#[derive(Debug)]
struct Rotating(AtomicUsize);

impl Credentials for Rotating {
    fn for_host<'a>(
        &'a self,
        _host: &'a str,
        _repository: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialsError>> {
        let password = Secret::new(format!("p{}", self.0.load(SeqCst)));
        Box::pin(async { Ok(Some(Credential::Password { username: "user".into(), password })) })
    }

    fn refused(&self, _host: &str) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[tokio::test]
async fn replaced_passwords_are_used_at_once() {
    let password = Arc::new(Mutex::new("p0"));
    let server = basic(password.clone()).await;
    let client = Client::new(config(), Arc::new(Rotating(AtomicUsize::new(0)))).expect("a client");
    let blob = blob(&client, &server.host());
    blob.read(0..1).await.expect("with p0");
    *password.lock().expect("no panic") = "p1";
    blob.read(0..1).await.expect("with p1");
    *password.lock().expect("no panic") = "other";
    assert_eq!(blob.read(0..1).await.expect_err("refused").kind(), &ErrorKind::Unauthorized);
    assert!(server.requests().len() < 12, "a wrong password is not tried for ever");
}

/// A source that cannot answer.
#[derive(Debug)]
struct Broken;

impl Credentials for Broken {
    fn for_host<'a>(
        &'a self,
        _host: &'a str,
        _repository: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialsError>> {
        Box::pin(async { Err(CredentialsError::new("the helper did not answer")) })
    }

    fn refused(&self, _host: &str) {}
}

#[tokio::test]
async fn a_refusal_says_why_there_were_no_credentials() {
    let endpoint = endpoint(300).await;
    let bearer = registry(&endpoint, |_| false).await;
    let basic = basic(Arc::new(Mutex::new("x"))).await;
    for host in [bearer.host(), basic.host()] {
        let client = Client::new(config(), Arc::new(Broken)).expect("a client");
        let error = blob(&client, &host).read(0..1).await.expect_err("refused");
        assert_eq!(error.kind(), &ErrorKind::Unauthorized);
        assert!(error.to_string().contains("the helper did not answer"), "{error}");
    }
    // A host that asks for nothing does not care.
    let open = Server::start(|request| Answer::range(request, &content())).await;
    let client = Client::new(config(), Arc::new(Broken)).expect("a client");
    blob(&client, &open.host()).read(0..1).await.expect("a byte");
}

#[tokio::test]
async fn challenges_of_no_use() {
    for challenge in ["Negotiate", "Bearer realm=\"nowhere\"", "Digest realm=x, nonce=y"] {
        let server = Server::start(move |_| Answer::new(401).header("WWW-Authenticate", challenge)).await;
        let client = Client::new(config(), Fixed::password()).expect("a client");
        let error = blob(&client, &server.host()).read(0..1).await.expect_err("refused");
        assert_eq!(error.kind(), &ErrorKind::Unauthorized);
        assert_eq!(server.requests().len(), 1);
    }
}
