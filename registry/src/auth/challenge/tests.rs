use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::*;

fn choose(headers: &[&str]) -> Option<Challenge> {
    Challenge::choose(headers.iter().copied())
}

fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
    let realm = realm.parse().expect("a URL");
    Some(Challenge::Bearer { realm, service: service.map(str::to_owned), scope: scope.map(str::to_owned) })
}

#[test]
fn as_registries_send_them() {
    let hub = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:library/alpine:pull""#;
    let expected = bearer(
        "https://auth.example/token",
        Some("registry.example"),
        Some("repository:library/alpine:pull"),
    );
    assert_eq!(choose(&[hub]), expected);
    assert_eq!(choose(&[r#"Basic realm="Registry Realm""#]), Some(Challenge::Basic));
    assert_eq!(choose(&["basic"]), Some(Challenge::Basic));
    // Nexus and others offer both; the order does not matter.
    for headers in [
        &[r#"BASIC realm="x", bearer realm="https://a/t""#][..],
        &[r#"Bearer realm="https://a/t", Basic realm="x""#],
        &["Basic realm=x", "Bearer realm=https://a/t"],
        &[r#"Negotiate, Bearer realm="https://a/t""#],
        &[r#"Negotiate YWJj+/==, Bearer realm="https://a/t""#],
        &[r#", ,Basic , Bearer  realm = "https://a/t" ,"#],
        &[r#"Digest realm="a", nonce=abc, Bearer REALM="https://a/t""#],
    ] {
        assert_eq!(choose(headers), bearer("https://a/t", None, None), "{headers:?}");
    }
}

#[test]
fn quoted_strings() {
    let header = r#"Basic realm="a, Bearer realm=\"https://evil/\"", Bearer scope="repository:a:pull,push",realm="https://a/\t?x=1,2",service="q\"q""#;
    assert_eq!(choose(&[header]), bearer("https://a/t?x=1,2", Some("q\"q"), Some("repository:a:pull,push")));
    assert_eq!(choose(&[r#"Bearer realm="https://a/t"#]), bearer("https://a/t", None, None));
}

#[test]
fn useless_challenges() {
    for header in [
        "",
        ",",
        "=",
        "\"",
        "Bearer",
        "Bearer realm=",
        "Bearer realm=\"/token\"",
        "Bearer realm=file:///etc/passwd",
        "Negotiate",
        "realm=\"https://a/t\"",
        "Bearer;realm=\"https://a/t\"",
        "\u{e9}Bearer realm=x",
        "Bearer realm=\"a\\",
    ] {
        assert_eq!(choose(&[header]), None, "{header}");
    }
    assert_eq!(choose(&[]), None);
    assert_eq!(choose(&["Bearer realm=junk", "Basic realm=x"]), Some(Challenge::Basic));
}

#[test]
fn mutated_headers() {
    const ALPHABET: &[char] = &[',', '"', '\\', '=', ' ', '\t', 'a', ';', 'é', '\0', '/'];
    let mut rng = SmallRng::seed_from_u64(7);
    let seeds = [
        r#"Basic realm="a, b", Bearer realm="https://a/t",service="s",scope="repository:a:pull,push""#,
        r#"Negotiate abc==, Bearer realm=https://a/t"#,
    ];
    for round in 0..40_000 {
        let mut text: Vec<char> = seeds[round % 2].chars().collect();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..text.len());
            match rng.random_range(0..4) {
                0 => text.insert(at, ALPHABET[rng.random_range(0..ALPHABET.len())]),
                1 if text.len() > 1 => drop(text.remove(at)),
                2 if text.len() > 8 => text.truncate(at.max(1)),
                _ => text[at] = ALPHABET[rng.random_range(0..ALPHABET.len())],
            }
        }
        let text: String = text.into_iter().collect();
        let challenges = parse(&text);
        // Everything was taken from the text: no challenge is larger, and there are not more than words.
        assert!(challenges.len() <= text.len());
        for (scheme, parameters) in &challenges {
            assert!(!scheme.is_empty() && scheme.chars().all(is_token), "{text}");
            assert!(parameters.iter().all(|(key, value)| key.len() + value.len() < text.len()), "{text}");
        }
        if let Some(Challenge::Bearer { realm, .. }) = choose(&[&text]) {
            assert!(matches!(realm.scheme(), "http" | "https"), "{text}");
        }
    }
}
