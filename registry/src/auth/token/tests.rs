use super::*;

fn key(credential: Option<Credential>) -> TokenKey {
    TokenKey {
        realm: "https://auth.example/token?account=x".parse().expect("valid"),
        service: Some("registry & co".into()),
        scope: "repository:a/b:pull".into(),
        credential,
    }
}

#[test]
fn get_with_a_password() {
    let credential = Credential::Password { username: "user".into(), password: Secret::new("pass:word") };
    let request = build(&key(Some(credential)));
    assert_eq!(
        request.url().as_str(),
        "https://auth.example/token?account=x&service=registry+%26+co&scope=repository%3Aa%2Fb%3Apull"
    );
    assert_eq!(request.headers()[AUTHORIZATION], "Basic dXNlcjpwYXNzOndvcmQ=");
    assert!(!format!("{request:?}").contains("dXNlcj"));
    assert!(!build(&key(None)).headers().contains_key(AUTHORIZATION));
}

#[test]
fn post_with_a_refresh_token() {
    let request = build(&key(Some(Credential::IdentityToken(Secret::new("a b&c")))));
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.url().as_str(), "https://auth.example/token?account=x");
    let body = request.body().and_then(|body| body.as_bytes()).expect("in memory");
    assert_eq!(
        std::str::from_utf8(body).expect("ASCII"),
        "service=registry+%26+co&scope=repository%3Aa%2Fb%3Apull&grant_type=refresh_token&client_id=peel\
         &refresh_token=a+b%26c"
    );
}

#[test]
fn tls_is_not_left() {
    for (registry, realm, safe) in [
        ("https://r.example/", "https://auth.example/", true),
        ("https://r.example/", "http://auth.example/", false),
        ("https://r.example/", "http://localhost/", false),
        ("https://localhost/", "http://127.0.0.1:5001/", true),
        ("http://r.lan/", "http://auth.lan/", true),
        ("http://r.lan/", "https://auth.lan/", true),
    ] {
        let (registry, realm) = (registry.parse().expect("valid"), realm.parse().expect("valid"));
        assert_eq!(endpoint_is_safe(&registry, &realm), safe, "{registry} {realm}");
    }
}

#[test]
fn odd_passwords_make_no_header() {
    assert!(basic_header("ü\n", &Secret::new("\0")).is_some(), "base64 takes anything");
    assert!(secret_header("Bearer a\nb").is_none());
}
