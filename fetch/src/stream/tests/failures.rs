//! Layers that cannot be had, or are not what they should be.

use super::*;

fn content(outcome: Result<Arc<Layer>, StreamFailure>) -> (String, bool) {
    match outcome {
        Err(StreamFailure::Content { message, wrong_blob }) => (message, wrong_blob),
        other => panic!("{other:?}"),
    }
}

#[test]
fn silence_ends_it_and_the_text_says_how_far_it_came() {
    runtime().block_on(async {
        let (blob, mut fixture) = (some_blob(1), Fixture::new());
        let impatient = Config { read_timeout: Duration::from_millis(600), ..quick() };
        fixture.fetcher = Fetcher::new(impatient, Arc::clone(&fixture.cache), Handle::current());
        let source = TestSource::new(&blob, |request| Then::Hang(if request == 0 { 10_000 } else { 0 }));
        let error = fixture.stream(&blob, &[source]).await.unwrap_err();
        assert!(matches!(error, StreamFailure::Unavailable { refusal: None, .. }));
        let text = error.to_string();
        assert!(text.starts_with("10000 of ") && text.contains("nothing came for 0.2 s"), "{text}");
        assert!(fixture.stream(&blob, &[]).await.unwrap_err().to_string().contains("no source is known"));
    });
}

#[test]
fn wrong_bytes_are_fetched_from_elsewhere_and_twice_wrong_is_a_failure() {
    runtime().block_on(async {
        for place in [500, 200_000] {
            let (blob, fixture) = (some_blob(1), Fixture::new());
            let liar = TestSource::named("a", &blob, move |_| Then::Flip(place));
            let honest = TestSource::named("b", &blob, |_| Then::Right);
            check(&blob, &fixture.stream(&blob, &[Arc::clone(&liar), Arc::clone(&honest)]).await.unwrap());
            assert_eq!((liar.requests(), honest.requests()), (vec![0], vec![0]));
        }
        // A lone source that lies for good.
        let (blob, fixture) = (some_blob(1), Fixture::new());
        let liar = TestSource::new(&blob, |_| Then::Flip(500));
        let (text, _) = content(fixture.stream(&blob, &[Arc::clone(&liar)]).await);
        assert!(text.contains("gzip") || text.contains("tar"), "{text}");
        assert_eq!(liar.requests(), [0, 0], "what was wrong may have been the way");
        fixture.nothing_is_left(&blob);
        // A lone source that lied once.
        let (blob, fixture) = (some_blob(1), Fixture::new());
        let once = TestSource::new(&blob, |request| if request == 0 { Then::Flip(500) } else { Then::Right });
        check(&blob, &fixture.stream(&blob, &[Arc::clone(&once)]).await.unwrap());
        assert_eq!(once.requests(), [0, 0]);
    });
}

#[test]
fn another_blob_than_the_manifests_is_refused() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        // A good tar, but not the one that was asked for.
        let tar = some_tar(3, 3, 100);
        let other = Blob::new(tar.clone(), &tar, Compression::None);
        let blob = Blob::new(vec![0; tar.len()], &tar, Compression::None);
        let source = Arc::new(TestSource {
            bytes: other.bytes,
            ..Arc::into_inner(TestSource::new(&blob, |_| Then::Right)).unwrap()
        });
        let (text, wrong_blob) = content(fixture.stream(&blob, &[Arc::clone(&source)]).await);
        assert_eq!(source.requests(), [0, 0], "what was wrong may have been the way");
        assert!(wrong_blob && text.contains("the blob that came has digest"), "{text}");
        fixture.nothing_is_left(&blob);
    });
}

#[test]
fn a_lie_about_the_diff_id_is_never_published() {
    runtime().block_on(async {
        let (mut blob, fixture) = (some_blob(1), Fixture::new());
        blob.wanted.identity.diff_id = DiffId::of(b"another image's layer");
        let source = TestSource::new(&blob, |_| Then::Right);
        let (text, wrong_blob) = content(fixture.stream(&blob, &[Arc::clone(&source)]).await);
        assert!(!wrong_blob && text.contains("config says"), "{text}");
        // Whoever sent it is not at fault: asked once.
        assert_eq!(source.requests(), [0]);
        fixture.nothing_is_left(&blob);
    });
}

#[test]
fn what_is_no_tar_fails_with_the_place() {
    runtime().block_on(async {
        let fixture = Fixture::new();
        let mut tar = some_tar(1, 3, 100);
        tar[148] = b'x';
        for (blob, expected) in [
            (Blob::gzip(&tar), "byte 512 of the layer's tar"),
            (Blob::gzip(&some_tar(1, 3, 5000)[..9000]), "the tar ends in the middle of"),
            (Blob::new(b"\x1f\x8b\x08garbage".to_vec(), b"", Compression::Gzip), "gzip"),
            (
                Blob::new([&some_blob(1).bytes[..], b"xx"].concat(), b"", Compression::Gzip),
                "something else follows",
            ),
        ] {
            let source = TestSource::new(&blob, |_| Then::Right);
            let (text, _) = content(fixture.stream(&blob, &[Arc::clone(&source)]).await);
            assert!(text.contains(expected), "{text}");
            // Once, if all of it was here when the decoder gave up.
            assert!([&[0][..], &[0, 0]].contains(&&source.requests()[..]), "{:?}", source.requests());
            fixture.nothing_is_left(&blob);
        }
    });
}

#[test]
fn a_full_disk_says_so_and_leaves_nothing() {
    runtime().block_on(async {
        for file in ["blob", "data"] {
            let (blob, fixture) = (some_blob(1), Fixture::new());
            let folder = fixture.dir.path().join("cache/stream").join(blob.wanted.identity.layer.hex());
            std::fs::create_dir_all(&folder).unwrap();
            // Every write to it fails as on a full disk.
            std::os::unix::fs::symlink("/dev/full", folder.join(file)).unwrap();
            let error = fixture.stream(&blob, &[TestSource::new(&blob, |_| Then::Right)]).await.unwrap_err();
            assert!(matches!(error, StreamFailure::Local { full: true, .. }), "{error:?}");
            let text = error.to_string();
            let place = folder.join(file).display().to_string();
            assert!(text.contains(&place) && text.contains("free disk space"), "{text}");
            fixture.nothing_is_left(&blob);
            // Room again.
            check(&blob, &fixture.stream(&blob, &[TestSource::new(&blob, |_| Then::Right)]).await.unwrap());
        }
    });
}
