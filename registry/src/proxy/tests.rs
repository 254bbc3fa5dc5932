use super::*;

fn direct(list: &str, url: &str) -> bool {
    NoProxy::parse(list).matches(&Url::parse(url).expect("valid"))
}

#[test]
fn no_proxy_entries() {
    for (list, url, expected) in [
        ("", "https://a.example/", false),
        ("*", "https://a.example/", true),
        ("example", "https://a.example/", true),
        ("a.example", "https://a.example/", true),
        ("A.Example ", "https://a.EXAMPLE/", true),
        ("x.org, a.example", "https://a.example/", true),
        (".a.example", "https://a.example/", false),
        ("*.a.example", "https://b.a.example/", true),
        (".example", "https://a.example/", true),
        ("a.example", "https://ba.example/", false),
        ("a.example:443", "https://a.example/", true),
        ("a.example:80", "https://a.example/", false),
        ("10.0.0.0/8", "http://10.255.1.1/", true),
        ("10.0.0.0/8", "http://11.0.0.1/", false),
        ("0.0.0.0/0", "http://11.0.0.1/", true),
        ("0.0.0.0/0", "http://[2001:db8::1]/", false),
        ("10.0.0.1", "http://10.0.0.1:5000/", true),
        ("10.0.0.1:5000", "http://10.0.0.1:5000/", true),
        ("10.0.0.1:5001", "http://10.0.0.1:5000/", false),
        ("2001:db8::/32", "http://[2001:db8:1::1]/", true),
        ("2001:db8::/32", "http://[2001:db9::1]/", false),
        ("::/0", "http://[2001:db9::1]/", true),
        ("[2001:db8::1]:80", "http://[2001:db8::1]/", true),
        ("2001:db8::1", "http://[2001:db8::1]:81/", true),
        (",, .,:80,10.0.0.0/33,x/y,a.example:port", "https://a.example/", false),
    ] {
        assert_eq!(direct(list, url), expected, "NO_PROXY={list} {url}");
    }
}

#[test]
fn loopback_is_always_direct() {
    for url in ["http://localhost:5000/", "http://127.0.0.1/", "http://[::1]:5000/"] {
        assert!(direct("", url), "{url}");
    }
}

#[test]
fn proxy_urls() {
    let build = |url: &str| ProxyConfig { https: Some(Secret::new(url)), ..ProxyConfig::default() }.build();
    for good in ["http://proxy:3128", "proxy:3128", "https://u:p@proxy", " http://10.0.0.1:1 "] {
        assert!(build(good).is_ok(), "{good}");
    }
    for bad in ["socks5://u:hunter2@proxy:1080", "http://", "://hunter2", "ht tp://hunter2"] {
        let error = build(bad).expect_err(bad).to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let config = ProxyConfig { http: Some(Secret::new("http://u:hunter2@proxy")), ..ProxyConfig::default() };
    assert!(!format!("{config:?}").contains("hunter2"));
}
