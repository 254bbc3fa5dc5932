//! Asking the sources: each in turn without a pause, then a pause, then each again, until time is up.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use peel_layer::{BlobOffset, serve::ReadError};
use tokio::time::{Instant, sleep, timeout};

use crate::{BlobSource, LayerReader, SourceError, reader::Sources, schedule::Ticket, stats::Counters};

/// What one job knows of its sources.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// When this job gives up: set when it first gets its turn.
    deadline: Option<Instant>,
    /// Who gave the last answer, and who gave wrong bytes so far, by description.
    answered: Option<String>,
    liars: Vec<String>,
    lies: usize,
}

/// Why a round gave nothing.
struct Failure {
    permanent: bool,
    after: Option<Duration>,
}

impl Round {
    /// The bytes of `range`, from the first source that gives all of them, and which one that was.
    ///
    /// # Errors
    /// `Unavailable` when every source says in several rounds that it never will; `TimedOut` when the job's time is up.
    pub(crate) async fn fetch(
        &mut self,
        reader: &LayerReader,
        range: &Range<BlobOffset>,
        ticket: &Arc<Ticket>,
    ) -> Result<(Bytes, String), ReadError> {
        let shared = &reader.shared;
        let config = shared.config();
        let (mut pause, mut rounds) = (config.backoff, 0);
        loop {
            let permit = shared.scheduler.permit(reader.number, ticket).await;
            let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + config.read_timeout);
            let failure = match self.ask_all(reader, range, ticket, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            drop(permit);
            rounds += 1;
            if failure.permanent && rounds >= config.permanent_rounds {
                return Err(ReadError::Unavailable(reader.explain("no source has it")));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            sleep(config.pause(jittered(pause), failure.after).min(left)).await;
            if Instant::now() >= deadline {
                return Err(ReadError::TimedOut(reader.explain("sources failed for too long")));
            }
            Counters::add(&shared.counters.retries, 1);
            pause = pause.saturating_mul(2).min(config.backoff_max);
        }
    }

    /// Whether the chunk may be asked for once more, after the last answer was wrong. Every other source gets one
    /// chance; a lone source a second one, since what was wrong may have been the way.
    pub(crate) fn try_another(&mut self, sources: usize) -> bool {
        self.lies += 1;
        self.liars.extend(self.answered.take());
        self.lies < sources.max(2)
    }

    async fn ask_all(
        &mut self,
        reader: &LayerReader,
        range: &Range<BlobOffset>,
        ticket: &Arc<Ticket>,
        deadline: Instant,
    ) -> Result<(Bytes, String), Failure> {
        let mut failure = Failure { permanent: true, after: None };
        let sources = self.order(reader.sources());
        if sources.is_empty() {
            reader.note("no source is known");
        }
        for source in sources {
            let name = source.describe();
            let limit = reader.shared.config().request_timeout;
            let patience = deadline.saturating_duration_since(Instant::now()).min(limit);
            let answer = timeout(patience, source.read(range.clone())).await;
            let answer = answer.unwrap_or_else(|_| {
                Err(SourceError::transient(format!("{name}: no answer in {patience:?}")))
            });
            match answer {
                Ok(bytes) if bytes.len() as u64 == range.end.0 - range.start.0 => {
                    count(reader, source.as_ref(), ticket, bytes.len());
                    self.answered = Some(name.clone());
                    return Ok((bytes, name));
                }
                Ok(bytes) => {
                    reader.note(&format!("{name}: {} bytes of blob range {range:?}", bytes.len()));
                    failure.permanent = false;
                }
                Err(error) => {
                    reader.note(&error.to_string());
                    tracing::debug!(%error, "source failed");
                    if let SourceError::Transient { after, .. } = error {
                        failure = Failure { permanent: false, after: failure.after.max(after) };
                    }
                }
            }
        }
        Err(failure)
    }

    /// Sources that did not lie; when all did, all of them.
    fn order(&self, sources: Sources) -> Vec<Arc<dyn BlobSource>> {
        let honest: Vec<_> =
            sources.iter().filter(|source| !self.liars.contains(&source.describe())).cloned().collect();
        if honest.is_empty() { sources.to_vec() } else { honest }
    }
}

/// Between half and all of a pause, so that nodes that failed together do not come back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

fn count(reader: &LayerReader, source: &dyn BlobSource, ticket: &Ticket, bytes: usize) {
    let counters = &reader.shared.counters;
    Counters::add(&counters.requests, 1);
    Counters::add(counters.received(source, ticket.lane()), bytes as u64);
}
