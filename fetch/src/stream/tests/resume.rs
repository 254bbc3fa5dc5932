//! Downloads that break off, and what is made of what came.

use super::*;

/// `script` for one source must end well, with requests that begin here.
async fn resumes(script: impl Fn(usize) -> Then + Send + Sync + 'static, requests: &[u64]) {
    let (blob, fixture) = (some_blob(1), Fixture::new());
    let source = TestSource::new(&blob, script);
    check(&blob, &fixture.stream(&blob, &[Arc::clone(&source)]).await.unwrap());
    assert_eq!(source.requests(), requests);
}

#[test]
fn a_body_that_breaks_off_is_continued_where_it_stopped() {
    runtime().block_on(async {
        for first in [Then::End(50_000), Then::Transient(50_000), Then::Permanent(50_000), Then::Hang(50_000)]
        {
            resumes(move |request| if request == 0 { first } else { Then::Right }, &[0, 50_000]).await;
        }
        // Many times, and some that bring nothing.
        let often = |request| match request {
            0..6 => Then::Transient(request % 2 * 7_000),
            _ => Then::Right,
        };
        resumes(often, &[0, 0, 7_000, 7_000, 14_000, 14_000, 21_000]).await;
    });
}

#[test]
fn another_source_goes_on_where_the_first_stopped() {
    runtime().block_on(async {
        let (blob, fixture) = (some_blob(1), Fixture::new());
        let first = TestSource::named("a", &blob, |_| Then::Permanent(30_000));
        let second = TestSource::named("b", &blob, |_| Then::Right);
        check(&blob, &fixture.stream(&blob, &[Arc::clone(&first), Arc::clone(&second)]).await.unwrap());
        assert_eq!((first.requests(), second.requests()), (vec![0], vec![30_000]));
    });
}

#[test]
fn a_failed_pull_goes_on_after_a_restart() {
    runtime().block_on(async {
        let (blob, fixture) = (some_blob(1), Fixture::new());
        let down = TestSource::new(&blob, |request| Then::Permanent(if request == 0 { 100_000 } else { 0 }));
        let error = fixture.stream(&blob, &[down]).await.unwrap_err();
        let text = format!("100000 of {} bytes came: registry.test/app: gone", blob.wanted.size);
        assert_eq!(error.to_string(), text);
        assert!(matches!(error, StreamFailure::Unavailable { refusal: Some(_), .. }));
        assert_eq!(fixture.kept(&blob), Some(100_000));
        let fixture = fixture.restart();
        let up = TestSource::new(&blob, |_| Then::Right);
        check(&blob, &fixture.stream(&blob, &[Arc::clone(&up)]).await.unwrap());
        assert_eq!((up.requests(), fixture.kept(&blob)), (vec![100_000], None));
    });
}

#[test]
fn a_cancelled_pull_keeps_what_came_and_lets_go() {
    runtime().block_on(async {
        let (blob, fixture) = (some_blob(1), Fixture::new());
        let slow = TestSource::new(&blob, |_| Then::Hang(80_000));
        {
            let sources = [slow];
            let stream = fixture.stream(&blob, &sources);
            tokio::pin!(stream);
            while fixture.progress.fetched() < 80_000 {
                let ended = tokio::time::timeout(Duration::from_millis(5), &mut stream).await;
                assert!(ended.is_err());
            }
        }
        let up = TestSource::new(&blob, |_| Then::Right);
        check(&blob, &fixture.stream(&blob, &[Arc::clone(&up)]).await.unwrap());
        assert_eq!(up.requests(), [80_000]);
    });
}

#[test]
fn what_a_machine_crash_damaged_is_fetched_again() {
    runtime().block_on(async {
        for damage in
            [|bytes: &mut Vec<u8>| bytes[40_000..].fill(0), |bytes: &mut Vec<u8>| bytes.resize(1 << 22, 7)]
        {
            let (blob, fixture) = (some_blob(1), Fixture::new());
            let mut bytes = blob.bytes[..90_000].to_vec();
            damage(&mut bytes);
            let staged = fixture.cache.staging(blob.wanted.identity.layer).unwrap().unwrap();
            staged.blob().unwrap().append(0, &bytes).unwrap();
            drop(staged);
            let up = TestSource::new(&blob, |_| Then::Right);
            check(&blob, &fixture.stream(&blob, &[Arc::clone(&up)]).await.unwrap());
            assert_eq!(up.requests().last(), Some(&0));
        }
    });
}
