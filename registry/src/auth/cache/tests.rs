use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::*;
use crate::{
    error::{Context, ErrorKind, Operation},
    secret::Secret,
};

fn key(user: &str) -> TokenKey {
    let credential = Credential::Password { username: user.into(), password: Secret::new("p") };
    TokenKey {
        realm: "https://a/t".parse().expect("valid"),
        service: None,
        scope: "repository:a:pull".into(),
        credential: Some(credential),
    }
}

fn failed() -> RegistryError {
    let context = Context { operation: Operation::Token, repository: "a".into(), host: "a".into() };
    RegistryError::new(&context, ErrorKind::Unreachable, "")
}

struct Endpoint {
    cache: Arc<TokenCache>,
    asked: Arc<AtomicU64>,
}

impl Endpoint {
    /// Each token has its number as header and lives ten seconds.
    async fn get(&self, user: &str, refused: Option<&HeaderValue>) -> (String, bool) {
        let asked = self.asked.clone();
        let request = || async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let number = asked.fetch_add(1, Relaxed);
            Ok(Token { header: number.into(), renew: Instant::now() + Duration::from_secs(10) })
        };
        let (token, new) = self.cache.get(&key(user), refused, request, failed).await.expect("a token");
        (token.header.to_str().expect("digits").to_owned(), new)
    }
}

fn endpoint() -> Endpoint {
    Endpoint { cache: Arc::default(), asked: Arc::default() }
}

#[tokio::test(start_paused = true)]
async fn asked_once_for_all_who_wait() {
    let endpoint = endpoint();
    let all = futures::future::join_all((0..50).map(|_| endpoint.get("a", None))).await;
    assert!(all.iter().all(|answer| *answer == ("0".to_owned(), true)));
    assert_eq!(endpoint.get("a", None).await, ("0".to_owned(), false));
}

#[tokio::test(start_paused = true)]
async fn renewed_when_it_runs_out_or_is_refused() {
    let endpoint = endpoint();
    endpoint.get("a", None).await;
    assert_eq!(endpoint.get("a", Some(&0.into())).await, ("1".to_owned(), true));
    // Somebody else was faster: the token in the cache is not the refused one.
    assert_eq!(endpoint.get("a", Some(&0.into())).await, ("1".to_owned(), false));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(endpoint.get("a", None).await, ("2".to_owned(), true));
}

#[tokio::test(start_paused = true)]
async fn accounts_do_not_share_tokens() {
    let endpoint = endpoint();
    assert_ne!(endpoint.get("a", None).await, endpoint.get("b", None).await);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_not_kept_and_a_caller_that_gives_up_stops_nothing() {
    let endpoint = endpoint();
    let key = key("a");
    let get = endpoint.cache.get(&key, None, || async { Err(failed()) }, failed);
    assert!(get.await.is_err());
    let impatient = tokio::time::timeout(Duration::from_millis(1), endpoint.get("a", None));
    assert!(impatient.await.is_err());
    assert_eq!(endpoint.get("a", None).await.0, "0");
    assert_eq!(endpoint.asked.load(Relaxed), 1);
}
