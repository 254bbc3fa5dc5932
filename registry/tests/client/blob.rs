//! Ranges, sizes and streams, against a server that keeps or breaks the rules.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use peel_registry::{Digest, ErrorKind};

use crate::support::{
    fixtures::{anonymous, blob, blob_path, config, content, digest, script},
    server::{Answer, Server},
};

#[tokio::test]
async fn reads_a_range() {
    let server = script(vec![]).await;
    let client = anonymous(config());
    let blob = blob(&client, &server.host());
    assert_eq!(blob.read(10..5000).await.expect("bytes"), content()[10..5000]);
    assert_eq!(blob.read(7..7).await.expect("nothing"), b""[..]);
    assert_eq!(server.lines(), [format!("GET {}", blob_path())]);
    let request = &server.requests()[0];
    assert_eq!(request.header("range"), Some("bytes=10-4999"));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("authorization"), None);
    let stats = client.stats();
    assert_eq!((stats.requests, stats.bytes, stats.retries, stats.errors), (1, 4990, 0, 0));
}

#[tokio::test]
async fn streams_a_range() {
    let server = script(vec![]).await;
    let blob = blob(&anonymous(config()), &server.host());
    let end = content().len() as u64;
    let bytes: Vec<_> = blob.read_stream(1..end).try_collect().await.expect("bytes");
    assert_eq!(bytes.concat(), content()[1..]);
    let outside = blob.read_stream(1..end + 1).try_collect::<Vec<_>>().await.expect_err("outside");
    assert_eq!(outside.kind(), &ErrorKind::Invalid);
}

#[tokio::test]
async fn a_whole_answer_is_used_as_a_stream() {
    let server = Server::start(|_| Answer::new(200).bytes(content())).await;
    let client = anonymous(config());
    let blob = blob(&client, &server.host());
    assert_eq!(blob.read(500..700).await.expect("bytes"), content()[500..700]);
    assert_eq!(client.stats().skipped_bytes, 500);
    let config = peel_registry::Config { max_skip: 499, ..config() };
    let strict = crate::support::fixtures::blob(&anonymous(config), &server.host());
    let error = strict.read(500..700).await.expect_err("too much to skip");
    assert_eq!(error.kind(), &ErrorKind::Protocol);
}

#[tokio::test]
async fn a_wrong_answer_is_refused() {
    let all = content().len();
    let partial = |range: &str| Answer::new(206).header("Content-Range", range).bytes(&content()[10..20]);
    for (what, answer) in [
        ("another range", partial(&format!("bytes 11-20/{all}"))),
        ("a shorter range", partial(&format!("bytes 10-18/{all}"))),
        ("another blob", partial("bytes 10-19/5000")),
        ("no range", Answer::new(206).bytes(&content()[10..20])),
        (
            "several ranges",
            Answer::new(206).header("Content-Type", "multipart/byteranges; boundary=x").bytes("--x"),
        ),
        (
            "another length",
            Answer::new(206).header("Content-Range", format!("bytes 10-19/{all}")).bytes("short"),
        ),
        ("compressed", partial(&format!("bytes 10-19/{all}")).header("Content-Encoding", "gzip")),
        ("a smaller blob", Answer::new(200).bytes(&content()[..5000])),
        ("no content", Answer::new(204)),
        ("a redirect to nowhere", Answer::new(307)),
        ("a redirect to a file", Answer::new(307).header("Location", "file:///etc/passwd")),
        ("not modified", Answer::new(304)),
    ] {
        let server = script(vec![answer]).await;
        let client = anonymous(config());
        let error = blob(&client, &server.host()).read(10..20).await.expect_err(what);
        assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Refused { .. }), "{what}: {error}");
        assert_eq!(client.stats().requests, 1, "{what}");
        assert!(error.to_string().contains(&server.host()), "{error}");
    }
}

#[tokio::test]
async fn a_larger_body_than_asked_is_not_read() {
    let server = Server::start(|_| {
        Answer::new(206)
            .header("Content-Range", format!("bytes 0-9/{}", content().len()))
            .header("Transfer-Encoding", "identity")
            .header("Content-Length", 10)
            .bytes(content())
            .stall()
    })
    .await;
    assert_eq!(blob(&anonymous(config()), &server.host()).read(0..10).await.expect("bytes"), content()[..10]);
}

#[tokio::test]
async fn bytes_outside_the_blob() {
    let server = script(vec![]).await;
    let client = anonymous(config());
    let reference = format!("{}/library/app:1", server.host()).parse().expect("valid");
    let unsized_blob = client.blob(&reference, digest(), None).expect("a blob");
    let end = content().len() as u64;
    let error = unsized_blob.read(end..end + 1).await.expect_err("outside");
    assert_eq!(error.kind(), &ErrorKind::Refused { status: 416 });
    assert!(error.to_string().contains(&format!("the blob ends at {end}")), "{error}");
    // What an answer said about the size is remembered.
    unsized_blob.read(0..1).await.expect("a byte");
    let inverted = std::ops::Range { start: 2, end: 1 };
    for range in [0..end + 1, inverted, u64::MAX - 1..u64::MAX] {
        assert_eq!(unsized_blob.read(range).await.expect_err("outside").kind(), &ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn sizes() {
    let empty = || Answer::new(416).header("Content-Range", "bytes */0");
    let partial = || Answer::new(206).header("Content-Range", "bytes 0-0/47").bytes("x");
    for (what, answers, size, requests) in [
        ("HEAD", vec![Answer::new(200).header("Content-Length", 47)], 47, 1),
        ("HEAD redirected without Location", vec![Answer::new(307), partial()], 47, 2),
        ("HEAD refused", vec![Answer::new(405), partial()], 47, 2),
        ("server without ranges", vec![Answer::new(405), Answer::new(200).bytes("four")], 4, 2),
        ("empty blob", vec![Answer::new(405), empty()], 0, 2),
        ("busy server", vec![Answer::new(503), Answer::new(200).header("Content-Length", 47)], 47, 2),
    ] {
        let server = script(answers).await;
        let reference = format!("{}/library/app:1", server.host()).parse().expect("valid");
        let blob = anonymous(config()).blob(&reference, digest(), None).expect("a blob");
        assert_eq!(blob.size().await.expect(what), size, "{what}");
        assert_eq!(blob.size().await.expect(what), size, "{what}");
        assert_eq!(server.requests().len(), requests, "{what}");
    }
}

#[tokio::test]
async fn what_is_gone_is_asked_once() {
    for (status, kind) in [
        (404, ErrorKind::NotFound),
        (410, ErrorKind::NotFound),
        (403, ErrorKind::Forbidden),
        (401, ErrorKind::Unauthorized),
        (400, ErrorKind::Refused { status: 400 }),
    ] {
        let body = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"secret message"}]}"#;
        let server = Server::start(move |_| Answer::new(status).bytes(body)).await;
        let error = blob(&anonymous(config()), &server.host()).read(0..1).await.expect_err("refused");
        assert_eq!((error.kind(), error.retryable()), (&kind, false), "{status}");
        assert_eq!(server.requests().len(), 1, "{status}");
        assert!(
            error.to_string().contains("BLOB_UNKNOWN") && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn whole_small_blobs_are_verified() {
    let server = script(vec![]).await;
    let client = anonymous(config());
    let blob = blob(&client, &server.host());
    assert_eq!(blob.read_verified(content().len()).await.expect("all"), content());
    let error = blob.read_verified(content().len() - 1).await.expect_err("too large");
    assert_eq!(error.kind(), &ErrorKind::Protocol);
    let reference = format!("{}/library/app:1", server.host()).parse().expect("valid");
    let other = client.blob(&reference, Digest::of(b"other"), None).expect("a blob");
    assert_eq!(other.read_verified(1 << 20).await.expect_err("other").kind(), &ErrorKind::WrongDigest);
}

#[tokio::test]
async fn manifests() {
    let server = Server::start(|request| {
        let accepts = request.header("accept").is_some_and(|accept| accept.contains("oci.image.manifest.v1"));
        let media_type = "application/vnd.oci.image.manifest.v1+json; charset=utf-8";
        Answer::new(if accepts { 200 } else { 404 }).header("Content-Type", media_type).bytes("{}")
    })
    .await;
    let client = anonymous(config());
    let by_tag = format!("{}/a/b:v1", server.host()).parse().expect("valid");
    let manifest = client.manifest(&by_tag).await.expect("a manifest");
    assert_eq!(manifest.media_type, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!((manifest.digest.clone(), &manifest.bytes[..]), (Digest::of(b"{}"), &b"{}"[..]));
    assert_eq!(client.manifest(&by_tag.with_digest(manifest.digest.clone())).await.expect("same"), manifest);
    let wrong = client.manifest(&by_tag.with_digest(Digest::of(b"x"))).await.expect_err("another");
    assert_eq!(wrong.kind(), &ErrorKind::WrongDigest);
    assert_eq!(server.lines()[0], "GET /v2/a/b/manifests/v1");
}

#[tokio::test]
async fn places_per_host_are_limited() {
    let half = Answer::new(206)
        .header("Content-Range", format!("bytes 0-99/{}", content().len()))
        .header("Content-Length", 100)
        .bytes(&content()[..50])
        .stall();
    let server = script(vec![half]).await;
    let mut config = config();
    config.concurrency_per_host = 1;
    config.timeouts.queue = Duration::from_millis(100);
    config.retry.attempts = 1;
    let blob = blob(&anonymous(config), &server.host());
    // The stream has its first bytes, and keeps the only place as long as it lives.
    let mut stream = blob.read_stream(0..100);
    assert_eq!(stream.next().await.expect("bytes").expect("bytes"), content()[..50]);
    assert_eq!(blob.read(0..1).await.expect_err("no place").kind(), &ErrorKind::TimedOut);
    assert_eq!(server.requests().len(), 1);
    drop(stream);
    assert_eq!(blob.read(0..1).await.expect("a byte"), content()[..1]);
}
