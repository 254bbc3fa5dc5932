//! Registries that are slow, busy, or break off.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use peel_registry::{Client, ErrorKind};
use tokio::time::Instant;

use crate::support::{
    fixtures::{anonymous, blob, config, content, script},
    server::{Answer, Server},
};

/// The head of a good answer for `range`, and so much of its body.
fn cut(range: std::ops::Range<usize>, sent: usize) -> Answer {
    Answer::new(206)
        .header("Content-Range", format!("bytes {}-{}/{}", range.start, range.end - 1, content().len()))
        .header("Content-Length", range.len())
        .bytes(&content()[range.start..range.start + sent])
}

fn ranges(server: &Server) -> Vec<String> {
    server.requests().iter().map(|r| r.header("range").unwrap_or("none").to_owned()).collect()
}

/// One attempt, and so little patience.
fn impatient(millis: u64) -> Client {
    let mut config = config();
    let patience = Duration::from_millis(millis);
    (config.timeouts.connect, config.timeouts.first_byte, config.timeouts.stall) =
        (patience, patience, patience);
    config.retry.attempts = 1;
    anonymous(config)
}

#[tokio::test]
async fn busy_registries_are_asked_again() {
    for answer in [
        Answer::new(429).header("Retry-After", 0),
        Answer::new(429).header("Retry-After", 100_000),
        Answer::new(503).header("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"),
        Answer::new(500),
        Answer::new(408),
    ] {
        let server = script(vec![answer.clone(), answer]).await;
        let client = anonymous(config());
        let bytes = blob(&client, &server.host()).read(0..9).await.expect("at the third attempt");
        assert_eq!(bytes, content()[..9]);
        let stats = client.stats();
        assert_eq!((stats.requests, stats.retries, stats.errors), (3, 2, 2));
    }
}

#[tokio::test]
async fn attempts_end() {
    let server = Server::start(|_| Answer::new(429).header("Retry-After", 7)).await;
    let error = blob(&anonymous(config()), &server.host()).read(0..9).await.expect_err("always busy");
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(error.kind(), &ErrorKind::TooManyRequests { retry_after });
    assert!(error.retryable());
    assert_eq!((error.retry_after(), server.requests().len()), (retry_after, 3));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_continued() {
    let server = script(vec![cut(10..5000, 1000), cut(1010..5000, 500)]).await;
    let client = anonymous(config());
    assert_eq!(blob(&client, &server.host()).read(10..5000).await.expect("all"), content()[10..5000]);
    assert_eq!(ranges(&server), ["bytes=10-4999", "bytes=1010-4999", "bytes=1510-4999"]);
    assert_eq!(client.stats().retries, 2);
}

#[tokio::test]
async fn breaks_are_counted_until_there_is_progress() {
    let always_cut = || Server::start(|request| cut(request.range().expect("a range"), 100));
    let server = always_cut().await;
    let error = blob(&anonymous(config()), &server.host()).read(0..5000).await.expect_err("three breaks");
    assert_eq!(error.kind(), &ErrorKind::Unreachable);
    assert_eq!(server.requests().len(), 3);
    // Where a hundred bytes are progress, the same server is enough.
    let mut config = config();
    config.retry.progress = 100;
    let server = always_cut().await;
    let bytes = blob(&anonymous(config), &server.host()).read(0..5000).await.expect("in fifty pieces");
    assert_eq!(bytes, content()[..5000]);
}

#[tokio::test]
async fn a_whole_answer_that_breaks_off_is_continued() {
    let whole = Answer::new(200).header("Content-Length", content().len()).bytes(&content()[..600]);
    let server = script(vec![whole]).await;
    assert_eq!(
        blob(&anonymous(config()), &server.host()).read(500..700).await.expect("all"),
        content()[500..700]
    );
    assert_eq!(ranges(&server), ["bytes=500-699", "bytes=600-699"]);
}

#[tokio::test]
async fn streams_are_continued_and_end_after_an_error() {
    let server = script(vec![cut(0..5000, 1000), cut(1000..5000, 0), cut(1000..5000, 0)]).await;
    let mut stream = blob(&anonymous(config()), &server.host()).read_stream(0..5000);
    let mut got = Vec::new();
    let error = loop {
        match stream.next().await.expect("an error comes before the end") {
            Ok(bytes) => got.extend_from_slice(&bytes),
            Err(error) => break error,
        }
    };
    assert_eq!(got, content()[..1000]);
    assert_eq!(error.kind(), &ErrorKind::Unreachable);
    assert!(stream.next().await.is_none());

    let server = script(vec![cut(0..5000, 1000)]).await;
    let stream = blob(&anonymous(config()), &server.host()).read_stream(0..5000);
    assert_eq!(stream.try_collect::<Vec<_>>().await.expect("all").concat(), content()[..5000]);
}

#[tokio::test]
async fn silence_ends() {
    let head = cut(0..5000, 0).stall();
    let body = cut(0..5000, 1000).stall();
    for (what, answer) in [("after the head", head), ("in the body", body)] {
        let server = script(vec![answer]).await;
        let error = blob(&impatient(100), &server.host()).read(0..5000).await.expect_err(what);
        assert_eq!(error.kind(), &ErrorKind::TimedOut, "{what}: {error}");
    }
    // A socket that accepts and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    let error = blob(&impatient(100), &host).read(0..1).await.expect_err("before the head");
    assert_eq!(error.kind(), &ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_stalled_body_is_continued() {
    let server = script(vec![cut(0..5000, 1000).stall()]).await;
    let mut config = config();
    config.timeouts.stall = Duration::from_millis(100);
    let bytes = blob(&anonymous(config), &server.host()).read(0..5000).await.expect("all");
    assert_eq!(bytes, content()[..5000]);
    assert_eq!(ranges(&server), ["bytes=0-4999", "bytes=1000-4999"]);
}

#[tokio::test]
async fn the_deadline_ends_everything() {
    let server = Server::start(|_| cut(0..9, 0).stall()).await;
    let blob = blob(&anonymous(config()), &server.host());
    // Before all other time-outs, and long enough for the request to arrive.
    let error = blob.read_by(0..9, Instant::now() + Duration::from_secs(2)).await.expect_err("too late");
    assert_eq!(error.kind(), &ErrorKind::TimedOut);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn nobody_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let client = anonymous(config());
    let error = blob(&client, &host).read(0..9).await.expect_err("refused");
    assert_eq!((error.kind(), error.host()), (&ErrorKind::Unreachable, &*host));
    assert!(error.retryable());
    assert!(error.to_string().contains("firewall"), "{error}");
    assert_eq!(client.stats().requests, 3);
}
