use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn normal(text: &str) -> String {
    text.parse::<ImageReference>().map_or_else(|error| format!("error: {error}"), |r| r.to_string())
}

#[test]
fn normalises_as_docker_does() {
    for (text, expected) in [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/a/b:1", "docker.io/a/b:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("LOCAL/app", "LOCAL/app:latest"),
        ("ghcr.io/a/b/c__d-e---f.g_h:v1.0_x", "ghcr.io/a/b/c__d-e---f.g_h:v1.0_x"),
        ("[::1]:5000/app:1", "[::1]:5000/app:1"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app:latest"),
        ("10.0.0.1/app", "10.0.0.1/app:latest"),
        ("Registry.Example.com:5000/app", "Registry.Example.com:5000/app:latest"),
    ] {
        assert_eq!(normal(text), expected, "{text}");
        assert_eq!(normal(expected), expected, "normal form of {text} is not stable");
    }
}

#[test]
fn digest_wins_over_tag() {
    let both: ImageReference = format!("ghcr.io/a/b:v1@{D}").parse().expect("valid");
    assert_eq!((both.host(), both.repository(), both.tag()), ("ghcr.io", "a/b", Some("v1")));
    assert_eq!(both.manifest_name(), D);
    assert_eq!(both.to_string(), format!("ghcr.io/a/b:v1@{D}"));
    // No tag is invented beside a digest.
    assert_eq!(normal(&format!("alpine@{D}")), format!("docker.io/library/alpine@{D}"));
    let pinned = "alpine".parse::<ImageReference>().expect("valid").with_digest(D.parse().expect("valid"));
    assert_eq!(pinned.manifest_name(), D);
}

#[test]
fn refuses_what_docker_refuses() {
    use ReferenceError as E;
    let error = |text: &str| text.parse::<ImageReference>().expect_err(text);
    assert!(matches!(error(&D[7..]), E::Identifier(_)));
    for text in ["Alpine", "a/B", "ghcr.io/A/b"] {
        assert!(matches!(error(text), E::Uppercase(_)), "{text}");
    }
    for text in [format!("a@{}", &D[..60]), "a@sha1:00".into(), format!("a@{D}0"), "a@".into()] {
        assert!(matches!(error(&text), E::Digest(_)), "{text}");
    }
    assert!(matches!(error(&format!("ghcr.io/{}", "a".repeat(248))), E::TooLong(_)));
    for text in [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "a:",
        ":1",
        "a:-1",
        "a b",
        "a..b",
        "a___b",
        "a-",
        "-a",
        "a_",
        "ä",
        "[::1",
        "[::1]x/a",
        "[::g]/a",
        "[]/a",
        "h.:5/a",
        "h.x:/a",
        "h.x:65536/a",
        "h.x:+1/a",
        "-h.x/a",
        "h..x/a",
        "https://h.x/a",
        "u:p@h.x/a",
        "a:b:c",
        "h.x/a?x",
        "h.x/a#x",
        "a\0",
        "h.x/a\n",
    ] {
        let error = error(text);
        assert!(matches!(error, E::Malformed(_) | E::Digest(_)), "{text}: {error}");
    }
    assert!(format!("a:{}", "x".repeat(128)).parse::<ImageReference>().is_ok());
    assert!(matches!(error(&format!("a:{}", "x".repeat(129))), E::Malformed(_)));
}

/// Whatever the text: no panic, and what is accepted is stable and safe to put into a URL's path.
#[test]
fn mutated_references() {
    const ALPHABET: &[char] =
        &['a', 'Z', '0', '.', '/', ':', '@', '-', '_', '[', ']', ' ', '%', '?', '#', 'é', '\0'];
    let mut rng = SmallRng::seed_from_u64(3);
    let seeds = [
        format!("ghcr.io/a/b:v1@{D}"),
        "[::1]:5000/app:1".into(),
        "alpine".into(),
        "localhost:1/x__y-z".into(),
    ];
    for round in 0..40_000 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..rng.random_range(1..5) {
            let at = rng.random_range(0..=text.len());
            match rng.random_range(0..3) {
                0 => text.insert(at, ALPHABET[rng.random_range(0..ALPHABET.len())]),
                1 if at < text.len() => drop(text.remove(at)),
                _ if at < text.len() => text[at] = ALPHABET[rng.random_range(0..ALPHABET.len())],
                _ => {}
            }
        }
        let text: String = text.into_iter().collect();
        let Ok(reference) = text.parse::<ImageReference>() else { continue };
        assert_eq!(reference.to_string().parse(), Ok(reference.clone()), "{text}");
        let path = format!("{}/{}", reference.repository(), reference.manifest_name());
        assert!(path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:".contains(&b)), "{text}");
        assert!(!path.split('/').any(|part| part.is_empty() || part == "." || part == ".."), "{text}");
    }
}
