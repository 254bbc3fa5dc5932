//! Many readers, sources that fail in every way, a cache that loses chunks: right bytes for everybody.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_the_right_bytes() {
    const ANSWERS: [Answer; 8] = [
        Answer::Right,
        Answer::Transient,
        Answer::Right,
        Answer::Short,
        Answer::Right,
        Answer::Permanent,
        Answer::Right,
        Answer::Wrong,
    ];
    let config = Config {
        backoff: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        // With luck like this, three rounds of bad answers are to be expected.
        permanent_rounds: 50,
        range_max: 100_000,
        ..Config::default()
    };
    let fixture = Fixture::with(config);
    let blob = blob_of(60, 20_000, 1);
    let flaky = TestSource::named("flaky", &blob, |number| ANSWERS[number * 5 % 8]);
    let good = TestSource::named("good", &blob, |number| ANSWERS[number % 7]);
    let reader = fixture.reader(&blob, &[&flaky, &good]);
    let expected = Arc::new(content(reader.layer(), &blob));
    let tasks: Vec<_> = (0..16)
        .map(|seed| {
            let (reader, expected) = (Arc::clone(&reader), Arc::clone(&expected));
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed);
                for _ in 0..60 {
                    let start = random.random_range(0..expected.len());
                    let end = (start + random.random_range(0..50_000)).min(expected.len());
                    let range = DataOffset(start as u64)..DataOffset(end as u64);
                    assert_eq!(*reader.read(range).await.unwrap(), expected[start..end]);
                    if seed == 0 {
                        let id = ChunkId(random.random_range(0..60));
                        reader.layer().evict(&[id]).unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(fixture.cache.stats().chunks_damaged, 0);
}
