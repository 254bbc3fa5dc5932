//! Docker's credential helpers: programs named `docker-credential-X` that read a server's name from stdin
//! and answer JSON on stdout.
//!
//! A helper talks to a key store or a cloud's API and may take seconds, so its answer is kept for a while,
//! and one that hangs is killed.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::Instant,
};

use super::{Credential, CredentialsError};
use crate::secret::Secret;

/// Longest answer; tokens of cloud registries have some KiB.
const MAX_ANSWER: u64 = 256 << 10;
/// What a helper says when it has nothing for the server (docker-credential-helpers, "credentials/error.go").
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that marks the secret as a refresh token (docker's `tokenUsername`).
const TOKEN_USER: &str = "<token>";

/// For so long a failure is not tried again, so that those who waited for it do not each wait as long.
const FAILURE_TTL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Helpers {
    pub(super) search_path: Option<OsString>,
    pub(super) timeout: Duration,
    pub(super) ttl: Duration,
    pub(super) answers: Mutex<HashMap<String, Arc<Slot>>>,
}

/// The last answer for one server. Held while the helper runs, so that it runs once for all who ask.
type Slot = tokio::sync::Mutex<Option<Answer>>;

#[derive(Debug)]
pub(super) struct Answer {
    helper: String,
    result: Result<Option<Credential>, CredentialsError>,
    until: Instant,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    username: String,
    secret: String,
}

impl Helpers {
    pub(super) async fn get(
        &self,
        helper: &str,
        server: &str,
    ) -> Result<Option<Credential>, CredentialsError> {
        let slot = self.answers.lock().entry(server.to_owned()).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(answer) = &*slot
            && answer.helper == helper
            && answer.until > Instant::now()
        {
            return answer.result.clone();
        }
        let run = run(helper, server, self.search_path.as_deref());
        let result = tokio::time::timeout(self.timeout, run).await.unwrap_or_else(|_| {
            let timeout = self.timeout;
            Err(CredentialsError::new(format!(
                "docker-credential-{helper} did not answer within {timeout:?}"
            )))
        });
        let ttl = if result.is_ok() { self.ttl } else { self.ttl.min(FAILURE_TTL) };
        let until = Instant::now() + ttl;
        *slot = Some(Answer { helper: helper.to_owned(), result: result.clone(), until });
        result
    }

    pub(super) fn forget(&self, server: &str) {
        self.answers.lock().remove(server);
    }
}

async fn run(
    helper: &str,
    server: &str,
    search_path: Option<&OsStr>,
) -> Result<Option<Credential>, CredentialsError> {
    let failed = |what: String| CredentialsError::new(format!("docker-credential-{helper}: {what}"));
    // A name with a slash would run another program than one on the PATH.
    if !helper.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(CredentialsError::new("docker's configuration names a helper that is no program name"));
    }
    let mut command = Command::new(format!("docker-credential-{helper}"));
    if let Some(search_path) = search_path {
        command.env("PATH", search_path);
    }
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("cannot be started: {error}")))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed("has no pipes".to_owned()));
    };
    // The name is shorter than a pipe: writing it does not wait. A helper that does not read it is not at fault.
    let _ = stdin.write_all(server.as_bytes()).await;
    drop(stdin);
    let mut output = Vec::new();
    stdout
        .take(MAX_ANSWER)
        .read_to_end(&mut output)
        .await
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    let status = child.wait().await.map_err(|error| failed(format!("cannot be waited for: {error}")))?;
    if !status.success() {
        return match String::from_utf8_lossy(&output).trim() {
            NOT_FOUND => Ok(None),
            // Its text is foreign and may quote what it read.
            _ => Err(failed(format!("failed with {status}; run it by hand to see why"))),
        };
    }
    let Output { username, secret } = serde_json::from_slice(&output)
        .map_err(|_| failed("answered something else than a user name and a secret".to_owned()))?;
    let secret = Secret::new(secret);
    Ok(Some(if username == TOKEN_USER {
        Credential::IdentityToken(secret)
    } else {
        Credential::Password { username, password: secret }
    }))
}
