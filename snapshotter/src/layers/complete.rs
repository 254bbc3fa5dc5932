//! Lazy layers are read whole, once, when nobody waits for anything: then what their images claim of them is proven, and
//! what the cache keeps needs no registry.
//!
//! What is to be done is looked for in the metadata, again and again: so it survives restarts, and a layer that goes away
//! is not looked for any more. What was found is durable ([`super::contents`]), so it is done once per blob. A layer whose
//! sources fail comes again after a pause that grows.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use peel_cache::Urgency;
use peel_layer::IndexKey;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{Inner, LazyLayers, record};
use crate::{
    image::Way,
    metastore::{Kind, MetastoreError},
};

/// Layers that are read at a time: one waits for the network while the other is decoded.
const AT_A_TIME: usize = 2;
/// How often it is looked whether a layer that is being read is still there.
const CHECK: Duration = Duration::from_secs(5);
/// Longest pause after failures: a registry that is back after a day is noticed within this.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// When a layer's turn is.
struct Turn {
    due: Instant,
    /// Until the turn after it, should this one fail.
    pause: Duration,
}

impl LazyLayers {
    /// See the module's header. Never comes back; while it is switched off nothing is read.
    pub async fn complete_for_ever(self) {
        let inner = self.0;
        let log = Arc::clone(&inner);
        let logged = tokio::task::spawn_blocking(move || log.log_quarantine(None)).await;
        if !matches!(logged, Ok(Ok(()))) {
            tracing::warn!("layers in quarantine were not looked for");
        }
        let mut turns: HashMap<IndexKey, Turn> = HashMap::new();
        let mut running: Vec<(IndexKey, JoinHandle<bool>)> = Vec::new();
        loop {
            let (is_on, after) = {
                let fetch = &inner.config.now().fetch;
                (fetch.complete, fetch.complete_after)
            };
            // A layer may have waited by so much longer than it should.
            let tick = (after / 4).clamp(Duration::from_millis(100), Duration::from_secs(10));
            sleep(tick).await;
            if !is_on {
                // What came stays; the rest comes when it is switched on again.
                running.drain(..).for_each(|(_, work)| work.abort());
                turns.clear();
                continue;
            }
            for (key, work) in running.extract_if(.., |(_, work)| work.is_finished()) {
                let proven = work.await.unwrap_or(false);
                if let (false, Some(turn)) = (proven, turns.get_mut(&key)) {
                    turn.due = Instant::now() + turn.pause;
                    turn.pause = turn.pause.saturating_mul(2).min(PAUSE_MAX);
                }
            }
            let finder = Arc::clone(&inner);
            let unproven = match tokio::task::spawn_blocking(move || finder.unproven()).await {
                Ok(Ok(unproven)) => unproven,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "layers to read whole were not looked for");
                    continue;
                }
                Err(_) => continue,
            };
            turns.retain(|key, _| unproven.contains(key));
            let first = Turn { due: Instant::now() + after, pause: after.max(tick) };
            for key in unproven {
                turns.entry(key).or_insert(Turn { ..first });
            }
            while running.len() < AT_A_TIME && inner.served.cache.has_room(Urgency::Background) {
                let is_free = |key: &IndexKey| running.iter().all(|(other, _)| other.layer != key.layer);
                let next = turns.iter().filter(|(key, turn)| turn.due <= Instant::now() && is_free(key));
                let Some((key, _)) = next.min_by_key(|(_, turn)| turn.due) else { break };
                running.push((*key, tokio::spawn(Arc::clone(&inner).prove(*key))));
            }
        }
    }
}

impl Inner {
    /// Lazy layers that are readable, and whose content was not found yet.
    fn unproven(&self) -> Result<BTreeSet<IndexKey>, MetastoreError> {
        let mut unproven = BTreeSet::new();
        self.metastore.snapshot()?.each_snapshot(|snapshot| {
            let remote =
                snapshot.remote.filter(|remote| snapshot.kind == Kind::Committed && remote.slot.is_some());
            let Some(remote) = remote else { return };
            let Some(key) = record::index_key(&remote) else { return };
            // A streamed layer was proven before it was readable.
            let is_streamed = record::way_of(&remote, &key).as_ref().is_some_and(Way::is_stream);
            if !is_streamed && self.contents.get(&key.layer).is_none() {
                unproven.insert(key);
            }
        })?;
        Ok(unproven)
    }

    /// Reads one layer whole; says whether its content is known now.
    async fn prove(self: Arc<Self>, key: IndexKey) -> bool {
        match self.read_whole(key).await {
            Ok(proven) => proven,
            Err(error) => {
                tracing::info!(layer = %key.layer, error, "not read whole; tried again later");
                false
            }
        }
    }

    async fn read_whole(self: &Arc<Self>, key: IndexKey) -> Result<bool, String> {
        let opener = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || opener.served.reader(&key)).await;
        let reader = opened.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let work = reader.complete();
        tokio::pin!(work);
        let content = loop {
            match timeout(CHECK, &mut work).await {
                Ok(content) => break content.map_err(|error| error.to_string())?,
                Err(_) if matches!(self.served.cache.layer(&key), Ok(Some(_))) => {}
                // Its image was removed.
                Err(_) => return Ok(false),
            }
        };
        let inner = Arc::clone(self);
        let noted = tokio::task::spawn_blocking(move || {
            // Before it is reaped, or after: not in between, when nobody would forget it.
            let _change = inner.slots_change.lock();
            if !matches!(inner.served.cache.layer(&key), Ok(Some(_))) {
                return Ok(false);
            }
            inner.contents.note(key.layer, content)?;
            inner.log_quarantine(Some(key.layer))?;
            Ok(true)
        });
        let noted: Result<bool, MetastoreError> = noted.await.map_err(|error| error.to_string())?;
        noted.map_err(|error| error.to_string())
    }
}
