//! What was the daemon's death is refused, and what is executed can be told from one daemon to the next.

use parking_lot::Mutex;
use peel_layer::serve::{Watch, Work};

use super::*;

/// Refuses what is condemned, and keeps what was executed.
#[derive(Debug, Default)]
pub(super) struct TestWatch {
    condemned: Vec<Work>,
    executed: Mutex<Vec<Work>>,
}

impl TestWatch {
    pub(super) fn new(condemned: Vec<Work>) -> Arc<Self> {
        Arc::new(Self { condemned, ..Self::default() })
    }

    /// Each once, in order; not what was asked before the beginning.
    fn pieces(&self) -> Vec<Work> {
        let whole = |work: &Work| match work {
            Work::Inflate(_, range) => range.end.0 == u64::MAX,
            Work::Untar(_, range) => range.end == u64::MAX,
            Work::Index(_) | Work::Bytes(..) => false,
        };
        let mut works = self.executed.lock().clone();
        works.retain(|work| !whole(work));
        works.sort_by_key(|work| match work {
            Work::Inflate(_, range) => (0, range.start.0),
            Work::Untar(_, range) => (1, range.start),
            Work::Index(_) | Work::Bytes(..) => (2, 0),
        });
        works.dedup();
        works
    }
}

impl Watch for TestWatch {
    fn execute(&self, work: Work) -> Option<Box<dyn Send>> {
        let refused = self.condemned.iter().any(|condemned| match (&work, condemned) {
            (Work::Inflate(layer, range), Work::Inflate(other, condemned)) => {
                layer == other && range.start < condemned.end && condemned.start < range.end
            }
            (Work::Untar(layer, range), Work::Untar(other, condemned)) => {
                layer == other && range.start < condemned.end && condemned.start < range.end
            }
            _ => work == *condemned,
        });
        self.executed.lock().push(work);
        (!refused).then(|| Box::new(()) as Box<dyn Send>)
    }
}

pub(super) const PIECE: u64 = 64 << 10;

#[test]
fn a_layer_that_was_the_daemons_death_is_refused_before_anything_is_asked_for() {
    runtime().block_on(async {
        let (blob, other) = (some_blob(1), some_blob(2));
        let layer = blob.wanted.identity.layer;
        for (condemned, said) in [
            (Work::Inflate(layer, BlobOffset(PIECE)..BlobOffset(2 * PIECE)), "decompressing its blob"),
            (Work::Untar(layer, 0..PIECE), "reading its tar"),
            (Work::Index(layer), "making its index"),
        ] {
            let fixture = Fixture::new();
            // What came before it died.
            let down =
                TestSource::new(&blob, |request| Then::Permanent(if request == 0 { 100_000 } else { 0 }));
            fixture.stream(&blob, &[down]).await.unwrap_err();
            let fixture = fixture.restart();
            fixture.fetcher.watched_by(TestWatch::new(vec![condemned]));
            let source = TestSource::new(&blob, |_| Then::Right);
            let error = fixture.stream(&blob, &[Arc::clone(&source)]).await.unwrap_err();
            assert!(matches!(error, StreamFailure::Condemned { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(said) && text.contains("the daemon died"), "{text}");
            assert!(source.requests().is_empty());
            fixture.nothing_is_left(&blob);
            let source = TestSource::new(&other, |_| Then::Right);
            check(&other, &fixture.stream(&other, &[source]).await.unwrap());
        }
    });
}

#[test]
fn pieces_are_the_same_however_the_bytes_come() {
    runtime().block_on(async {
        let blob = some_blob(1);
        let mut seen = Vec::new();
        let broken: fn(usize) -> Then =
            |request| if request < 9 { Then::Transient(7_000) } else { Then::Right };
        for script in [|_| Then::Right, broken] {
            let (fixture, watch) = (Fixture::new(), TestWatch::new(Vec::new()));
            fixture.fetcher.watched_by(Arc::clone(&watch) as Arc<dyn Watch>);
            check(&blob, &fixture.stream(&blob, &[TestSource::new(&blob, script)]).await.unwrap());
            seen.push(watch.pieces());
        }
        assert_eq!(seen[0], seen[1]);
        let layer = blob.wanted.identity.layer;
        let count = |is: fn(&Work) -> bool| seen[0].iter().filter(|work| is(work)).count() as u64;
        assert_eq!(count(|work| matches!(work, Work::Inflate(..))), blob.wanted.size.div_ceil(PIECE));
        assert!(count(|work| matches!(work, Work::Untar(..))) > 8);
        assert!(seen[0].contains(&Work::Index(layer)));
        assert!(seen[0].contains(&Work::Untar(layer, PIECE..2 * PIECE)));
    });
}
