use super::*;

fn base(reference: &str) -> String {
    let config = Config { plain_http: vec!["registry.lan:5000".into()], ..Config::default() };
    let target = Target::of(&reference.parse().expect("valid"), &config).expect("valid");
    target.base().to_string()
}

#[test]
fn scheme_and_host() {
    for (reference, expected) in [
        ("alpine", "https://registry-1.docker.io/v2/"),
        ("ghcr.io/a/b", "https://ghcr.io/v2/"),
        ("ghcr.io:8443/a/b", "https://ghcr.io:8443/v2/"),
        ("localhost/a", "https://localhost/v2/"),
        ("localhost:443/a", "https://localhost/v2/"),
        ("localhost:5000/a", "http://localhost:5000/v2/"),
        ("127.9.9.9:5000/a", "http://127.9.9.9:5000/v2/"),
        ("128.0.0.1:5000/a", "https://128.0.0.1:5000/v2/"),
        ("[::1]:5000/a", "http://[::1]:5000/v2/"),
        ("[::1]/a", "https://[::1]/v2/"),
        ("[2001:db8::1]:5000/a", "https://[2001:db8::1]:5000/v2/"),
        ("registry.lan:5000/a", "http://registry.lan:5000/v2/"),
        ("registry.lan/a", "https://registry.lan/v2/"),
    ] {
        assert_eq!(base(reference), expected, "{reference}");
    }
}

#[test]
fn hosts_that_are_no_url_are_errors() {
    let reference: ImageReference = "1.2.3.4.5/a".parse().expect("matches the grammar");
    let error = Target::of(&reference, &Config::default()).expect_err("no such address");
    assert_eq!(error.kind(), &ErrorKind::Invalid);
}

#[test]
fn paths() {
    let target = Target::of(&"h.example/a/b".parse().expect("valid"), &Config::default()).expect("valid");
    let digest = Digest::of(b"");
    assert_eq!(target.blob_url(&digest).as_str(), format!("https://h.example/v2/a/b/blobs/{digest}"));
    assert_eq!(target.manifest_url("v1").as_str(), "https://h.example/v2/a/b/manifests/v1");
    assert!(target.owns(&Url::parse("https://h.example:443/x?y").expect("valid")));
    for other in ["http://h.example/", "https://h.example:444/", "https://x.h.example/"] {
        assert!(!target.owns(&Url::parse(other).expect("valid")), "{other}");
    }
}
