use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tempfile::TempDir;

use super::*;

/// Tests that write programs take turns: a fork in one thread keeps another's half-written program open, and
/// running it then fails with ETXTBSY.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Docker {
    directory: TempDir,
    config: DockerConfig,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

async fn docker(json: &str) -> Docker {
    within(json, Duration::from_secs(20)).await
}

async fn within(json: &str, helper_timeout: Duration) -> Docker {
    let turn = TURN.lock().await;
    let directory = TempDir::new().expect("a directory");
    fs::write(directory.path().join("config.json"), json).expect("written");
    let options = DockerOptions {
        path: Some(directory.path().join("config.json")),
        // The helpers of these tests are shell scripts.
        helper_search_path: Some(format!("{}:/usr/bin:/bin", directory.path().display()).into()),
        helper_timeout,
        ..DockerOptions::default()
    };
    Docker { directory, config: DockerConfig::new(options), _turn: turn }
}

impl Docker {
    /// `user:password`, `token:x`, `nothing` or `error: …`.
    async fn ask(&self, host: &str) -> String {
        match self.config.for_host(host, "library/alpine").await {
            Ok(Some(Credential::Password { username, password })) => {
                format!("{username}:{}", password.expose())
            }
            Ok(Some(Credential::IdentityToken(token))) => format!("token:{}", token.expose()),
            Ok(None) => "nothing".to_owned(),
            Err(error) => format!("error: {error}"),
        }
    }

    fn helper(&self, name: &str, script: &str) {
        let path = self.directory.path().join(format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.directory.path().join("calls")).map_or(0, |text| text.lines().count())
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

#[tokio::test]
async fn auths() {
    // dXNlcjpwYTpzcw== is "user:pa:ss", dTpwAAA= is "u:p\0\0".
    let docker = docker(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
            "quay.io": {"username": "plain", "password": "text"},
            "old.example": {"auth": "dTpwAAA="},
            "unpadded.example": {"auth": "dXNlcjpwYTpzcw"},
            "https://url.example:5000/v2/": {"auth": "dXNlcjpwYTpzcw=="},
            "token.example": {"auth": "dXNlcjpwYTpzcw==", "identitytoken": "refresh"},
            "empty.example": {},
            "bad.example": {"auth": "%%%"}
        }, "unknown": 1}"#,
    )
    .await;
    for (host, expected) in [
        ("docker.io", "user:pa:ss"),
        ("quay.io", "plain:text"),
        ("old.example", "u:p"),
        ("unpadded.example", "user:pa:ss"),
        ("url.example:5000", "user:pa:ss"),
        ("url.example", "nothing"),
        ("token.example", "token:refresh"),
        ("empty.example", "nothing"),
        ("other.example", "nothing"),
        ("bad.example", "error: auth of bad.example is not base64 of user:password"),
    ] {
        assert_eq!(docker.ask(host).await, expected, "{host}");
    }
}

#[tokio::test]
async fn read_again_when_it_changes() {
    let docker = docker(r#"{"auths": {"a.example": {"username": "u", "password": "1"}}}"#).await;
    assert_eq!(docker.ask("a.example").await, "u:1");
    // Same length, as a rotation often has it; a new inode as every careful writer makes one.
    let aside = docker.path().join("aside");
    fs::write(&aside, r#"{"auths": {"a.example": {"username": "u", "password": "2"}}}"#).expect("written");
    fs::rename(aside, docker.path().join("config.json")).expect("renamed");
    assert_eq!(docker.ask("a.example").await, "u:2");
    fs::remove_file(docker.path().join("config.json")).expect("removed");
    assert_eq!(docker.ask("a.example").await, "nothing");
}

#[tokio::test]
async fn broken_files_do_not_show_their_content() {
    for text in ["{\"auths\": {\"a\": \"hunter2\"}}", "hunter2", "{\"credsStore\": [\"hunter2\"]}", ""] {
        let docker = docker(text).await;
        let answer = docker.ask("a").await;
        assert!(answer.starts_with("error: ") && !answer.contains("hunter2"), "{answer}");
        assert!(answer.contains("config.json"), "{answer}");
    }
    let docker = docker(r#"{"auths": {"a": {"username": "u", "password": "hunter2"}}}"#).await;
    docker.ask("a").await;
    assert!(!format!("{:?}", docker.config).contains("hunter2"));
}

#[tokio::test]
async fn helpers() {
    let docker = docker(
        r#"{"credHelpers": {"a.example": "own", "t.example": "tok", "gone.example": "missing", "evil.example": "../x"},
            "credsStore": "store", "auths": {"b.example": {"auth": "dXNlcjpwYTpzcw=="}}}"#,
    ).await;
    docker.helper(
        "own",
        r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$1\",\"Secret\":\"$server\"}""#,
    );
    docker.helper("tok", r#"echo '{"Username":"<token>","Secret":"refresh"}'"#);
    docker.helper("store", "cat > /dev/null; echo credentials not found in native keychain; exit 1");
    assert_eq!(docker.ask("a.example").await, "get:a.example");
    assert_eq!(docker.ask("t.example").await, "token:refresh");
    // The store has nothing: what the file has is used.
    assert_eq!(docker.ask("b.example").await, "user:pa:ss");
    assert_eq!(docker.ask("docker.io").await, "nothing");
    for host in ["gone.example", "evil.example"] {
        assert!(docker.ask(host).await.starts_with("error: "), "{host}");
    }
}

#[tokio::test]
async fn helper_answers_are_kept_until_refused() {
    let docker = docker(r#"{"credsStore": "count"}"#).await;
    docker.helper(
        "count",
        r#"echo x >> "${0%/*}/calls"; echo "{\"Username\":\"u\",\"Secret\":\"$(wc -l < "${0%/*}/calls")\"}""#,
    );
    let all = futures::future::join_all((0..8).map(|_| docker.ask("a.example"))).await;
    assert!(all.iter().all(|answer| answer == "u:1"), "{all:?}");
    assert_eq!(docker.calls(), 1);
    docker.config.refused("a.example");
    assert_eq!(docker.ask("a.example").await, "u:2");
}

#[tokio::test]
async fn bad_helpers() {
    let docker = docker(r#"{"credHelpers": {"a": "fails", "b": "babbles", "c": "floods"}}"#).await;
    docker.helper("fails", "echo hunter2; echo hunter2 >&2; exit 3");
    docker.helper("babbles", "echo '{\"Secret\":\"hunter2\"}'");
    docker.helper("floods", "yes hunter2");
    for host in ["a", "b", "c"] {
        let answer = docker.ask(host).await;
        assert!(answer.starts_with("error: docker-credential-") && !answer.contains("hunter2"), "{answer}");
    }
}

#[tokio::test]
async fn a_helper_that_hangs_is_killed() {
    let docker = within(r#"{"credsStore": "hangs"}"#, Duration::from_millis(300)).await;
    docker.helper("hangs", "exec sleep 1000");
    let answer = docker.ask("a.example").await;
    assert!(answer.contains("docker-credential-hangs did not answer within"), "{answer}");
}
