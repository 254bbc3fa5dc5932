//! Docker's `config.json`: `auths`, `credHelpers` and `credsStore`.
//!
//! A helper comes first, as in docker, and what the file itself holds is used if the helper has nothing. The
//! file is looked at for every question and read again when its identity, size or mtime changed.

use std::{
    collections::HashMap, ffi::OsString, io, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::GeneralPurpose};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::Deserialize;

use super::{Credential, Credentials, CredentialsError, helper::Helpers};
use crate::secret::Secret;

/// Docker keeps Docker Hub's credentials under this key, whatever host serves them.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// A larger file is not docker's.
const MAX_FILE: u64 = 4 << 20;

/// Where docker's configuration is and how its helpers are run.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// The file; without one `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`. It need not exist.
    pub path: Option<PathBuf>,
    /// `PATH` for helpers, if not the process's own: systemd's default leaves out `/opt` and home directories.
    pub helper_search_path: Option<OsString>,
    /// How long a helper may take. Those of clouds ask an API, and a laptop's may ask its user.
    pub helper_timeout: Duration,
    /// How long a helper's answer is kept. Tokens of cloud registries live an hour at least; five minutes
    /// are as stale as a bearer token gets.
    pub helper_ttl: Duration,
}

impl Default for DockerOptions {
    fn default() -> Self {
        Self {
            path: None,
            helper_search_path: None,
            helper_timeout: Duration::from_secs(30),
            helper_ttl: Duration::from_secs(300),
        }
    }
}

/// Credentials from docker's configuration.
#[derive(Debug)]
pub struct DockerConfig {
    path: Option<PathBuf>,
    loaded: Mutex<Option<(Identity, Arc<File>)>>,
    helpers: Helpers,
}

/// What changes when the file does, also when it is replaced by a rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl DockerConfig {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(options: DockerOptions) -> Self {
        let helpers = Helpers {
            search_path: options.helper_search_path,
            timeout: options.helper_timeout,
            ttl: options.helper_ttl,
            answers: Mutex::default(),
        };
        Self { path: options.path.or_else(default_path), loaded: Mutex::default(), helpers }
    }

    async fn ask(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        let Some(file) = self.load().await? else { return Ok(None) };
        let mut failed = None;
        if let Some((helper, server)) = file.helper_for(host) {
            match self.helpers.get(helper, &server).await {
                Ok(Some(credential)) => return Ok(Some(credential)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (file.entry_for(host)?, failed) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }

    async fn load(&self) -> Result<Option<Arc<File>>, CredentialsError> {
        let Some(path) = &self.path else { return Ok(None) };
        let failed = |what: &str| CredentialsError::new(format!("{}: {what}", path.display()));
        let metadata = match tokio::fs::metadata(path).await {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error.to_string())),
        };
        let identity = Identity {
            inode: metadata.ino(),
            size: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        };
        if let Some((known, file)) = &*self.loaded.lock()
            && *known == identity
        {
            return Ok(Some(file.clone()));
        }
        if !metadata.is_file() || identity.size > MAX_FILE {
            return Err(failed("not a docker configuration file"));
        }
        let text = tokio::fs::read(path).await.map_err(|error| failed(&error.to_string()))?;
        // serde's message may quote the value at fault, which may be a password: only its place is shown.
        let file = serde_json::from_slice::<File>(&text).map_err(|error| {
            failed(&format!("not docker's JSON at line {} column {}", error.line(), error.column()))
        })?;
        let file = Arc::new(file);
        *self.loaded.lock() = Some((identity, file.clone()));
        Ok(Some(file))
    }
}

impl Credentials for DockerConfig {
    fn for_host<'a>(
        &'a self,
        host: &'a str,
        _repository: &'a str,
    ) -> BoxFuture<'a, Result<Option<Credential>, CredentialsError>> {
        Box::pin(self.ask(host))
    }

    fn refused(&self, host: &str) {
        self.helpers.forget(&server_name(host));
    }
}

fn default_path() -> Option<PathBuf> {
    let directory = match std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => std::env::home_dir()?.join(".docker"),
    };
    Some(directory.join("config.json"))
}

/// What helpers are asked for.
fn server_name(host: &str) -> String {
    if host == "docker.io" { DOCKER_HUB_KEY.to_owned() } else { host.to_owned() }
}

impl File {
    fn helper_for(&self, host: &str) -> Option<(&str, String)> {
        let server = server_name(host);
        let own = self.cred_helpers.get(host).or_else(|| self.cred_helpers.get(&server));
        let helper = own.unwrap_or(&self.creds_store);
        (!helper.is_empty()).then_some((helper.as_str(), server))
    }

    fn entry_for(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        let exact = self.auths.get(&server_name(host)).or_else(|| self.auths.get(host));
        // Old files have URLs as keys. Sorted, so that of two that mean the same host one always wins.
        let entry = exact.or_else(|| {
            let mut keys: Vec<_> = self.auths.keys().filter(|key| key_host(key) == host).collect();
            keys.sort();
            keys.first().and_then(|key| self.auths.get(*key))
        });
        entry.map_or(Ok(None), |entry| entry.credential(host))
    }
}

/// The host that a key of `auths` means: `https://host/v1/` is `host`.
fn key_host(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

impl Entry {
    fn credential(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::IdentityToken(Secret::new(&*self.identitytoken))));
        }
        let (username, password) = if self.auth.is_empty() {
            (self.username.clone(), self.password.clone())
        } else {
            decode_auth(&self.auth).ok_or_else(|| {
                CredentialsError::new(format!("auth of {host} is not base64 of user:password"))
            })?
        };
        // An entry without content says that a helper has the rest (`docker login` writes such).
        if username.is_empty() && password.is_empty() {
            return Ok(None);
        }
        Ok(Some(Credential::Password { username, password: Secret::new(password) }))
    }
}

/// Padding is optional and NULs around the password are dropped, as docker does.
fn decode_auth(auth: &str) -> Option<(String, String)> {
    use base64::engine::{DecodePaddingMode::Indifferent, general_purpose::GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(Indifferent),
    );
    let text = String::from_utf8(LENIENT.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.trim_matches('\0').to_owned()))
}

#[cfg(test)]
mod tests;
