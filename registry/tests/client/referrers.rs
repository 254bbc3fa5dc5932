//! Who refers to a manifest: the API with its pages, and the fallback tag.

use peel_registry::{Client, Digest, ErrorKind, Referrer, RegistryError};

use crate::support::{
    fixtures::{REPOSITORY, anonymous, config},
    server::{Answer, Server},
};

const TYPE: &str = "application/vnd.example.index.v1+json";

fn subject() -> Digest {
    Digest::of(b"image")
}

fn api_path() -> String {
    format!("/v2/{REPOSITORY}/referrers/{}?artifactType=application%2Fvnd.example.index.v1%2Bjson", subject())
}

fn tag_path() -> String {
    format!("/v2/{REPOSITORY}/manifests/{}", subject().as_str().replace(':', "-"))
}

/// An image index of manifests (content, artifact type).
fn index(manifests: &[(&str, &str)]) -> Answer {
    let one = |(content, kind): &(&str, &str)| {
        format!(
            "{{\"digest\":\"{}\",\"size\":7,\"artifactType\":\"{kind}\"}}",
            Digest::of(content.as_bytes())
        )
    };
    let all: Vec<_> = manifests.iter().map(one).collect();
    Answer::new(200).bytes(format!("{{\"manifests\":[{}]}}", all.join(",")))
}

async fn ask(server: &Server) -> Result<Vec<Referrer>, RegistryError> {
    ask_by(&anonymous(config()), server).await
}

async fn ask_by(client: &Client, server: &Server) -> Result<Vec<Referrer>, RegistryError> {
    let reference = format!("{}/{REPOSITORY}:1", server.host()).parse().expect("a reference");
    client.referrers(&reference, &subject(), TYPE).await
}

fn found(contents: &[&str]) -> Vec<Referrer> {
    contents.iter().map(|it| Referrer { digest: Digest::of(it.as_bytes()), size: 7 }).collect()
}

#[tokio::test]
async fn api_whether_it_filters_or_not() {
    let server = Server::start(|_| index(&[("a", "other"), ("b", TYPE), ("c", TYPE)])).await;
    assert_eq!(ask(&server).await.expect("an answer"), found(&["b", "c"]));
    assert_eq!(server.lines(), [format!("GET {}", api_path())]);
    assert_eq!(server.requests()[0].header("accept"), Some("application/vnd.oci.image.index.v1+json"));
}

#[tokio::test]
async fn pages_are_followed_on_the_same_host_and_not_for_ever() {
    let next = |to: &str| format!("<{to}>; rel=\"next\"");
    let server = Server::start(move |request| match &request.target {
        first if *first == api_path() => index(&[("a", TYPE)]).header("Link", next("/v2/more?page=2")),
        _ => index(&[("b", TYPE)]).header("Link", next("http://203.0.113.1/v2/elsewhere")),
    })
    .await;
    assert_eq!(ask(&server).await.expect("an answer"), found(&["a", "b"]));
    assert_eq!(server.lines(), [format!("GET {}", api_path()), "GET /v2/more?page=2".to_owned()]);

    let circle = Server::start(move |_| index(&[]).header("Link", next("/v2/again"))).await;
    assert_eq!(ask(&circle).await.expect("an answer"), []);
    assert_eq!(circle.lines().len(), 8);
}

#[tokio::test]
async fn fallback_tag_where_there_is_no_api() {
    for status in [404, 405] {
        let server = Server::start(move |request| {
            if request.target == tag_path() {
                index(&[("a", TYPE), ("b", "other")])
            } else {
                Answer::new(status)
            }
        })
        .await;
        assert_eq!(ask(&server).await.expect("an answer"), found(&["a"]));
        assert_eq!(server.lines(), [format!("GET {}", api_path()), format!("GET {}", tag_path())]);
    }
    let neither = Server::start(|_| Answer::new(404)).await;
    assert_eq!(ask(&neither).await.expect("nothing refers to it"), []);
    // An API that says "none" is believed.
    let none = Server::start(|_| Answer::new(200).bytes("{\"manifests\":null}")).await;
    assert_eq!(ask(&none).await.expect("an answer"), []);
    assert_eq!(none.lines().len(), 1);
}

#[tokio::test]
async fn bad_answers_are_errors() {
    let refused = Server::start(|_| Answer::new(403)).await;
    assert_eq!(ask(&refused).await.expect_err("forbidden").kind(), &ErrorKind::Forbidden);
    let page = Server::start(|_| Answer::new(200).bytes("<html>")).await;
    let error = ask(&page).await.expect_err("not an index");
    assert_eq!(error.kind(), &ErrorKind::Protocol);
    assert!(error.to_string().contains("asking what refers to a manifest"), "{error}");
    let large = Server::start(|_| Answer::new(200).bytes(vec![b' '; (4 << 20) + 1])).await;
    assert_eq!(ask(&large).await.expect_err("too large").kind(), &ErrorKind::Protocol);
    // What cannot be named is left out, and their number is bounded.
    let many: String = (0..100)
        .map(|n| format!("{{\"digest\":\"{}\",\"size\":1,\"artifactType\":\"{TYPE}\"}},", Digest::of(&[n])))
        .collect();
    let odd = format!(
        "{{\"manifests\":[{{\"digest\":\"md5:1\",\"size\":1,\"artifactType\":\"{TYPE}\"}},{}]}}",
        many.trim_end_matches(',')
    );
    let odd = Server::start(move |_| Answer::new(200).bytes(odd.clone())).await;
    assert_eq!(ask(&odd).await.expect("an answer").len(), 32);
}
