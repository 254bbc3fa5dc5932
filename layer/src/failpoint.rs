//! Places where a test can make the daemon die.
//!
//! `PEEL_FAILPOINT="<place>=<what>"`: what happens when `place` is reached is a `panic` of that thread, the process's
//! `abort`, or, if it is a path, its abort when nothing is there, which the file made there prevents from then on. Compiled with debug assertions only, so that no release has it. The crate `fail` needs a feature,
//! and with it a build of the daemon apart from the one that all other tests use.
//!
//! | place | is reached when |
//! |---|---|
//! | `decode sha256:…` | the chunk of this digest was decoded, on a thread of the fetcher |
//! | `read sha256:…` | it is about to be read from the cache, on whatever thread |
//! | `inflate sha256:…` | bytes of the streamed layer of this digest are about to be decompressed |
//! | `untar sha256:…` | bytes of its tar are about to be read |
//! | others | the step of that name in a change of the metadata: see who calls [`reach`] |

/// Reached. Does nothing, except where a test wants it.
#[cfg(not(debug_assertions))]
pub fn reach<P: AsRef<str>>(_: impl FnOnce() -> P) {}

/// Reached. Does nothing, except where a test wants it.
///
/// # Panics
/// If a test wants it.
#[cfg(debug_assertions)]
pub fn reach<P: AsRef<str>>(place: impl FnOnce() -> P) {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<(String, String)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("PEEL_FAILPOINT").ok()?;
        text.rsplit_once('=').map(|(place, what)| (place.to_owned(), what.to_owned()))
    });
    let Some((wanted, what)) = wanted else { return };
    if wanted == place().as_ref() {
        assert!(what != "panic", "failpoint {wanted}");
        if what == "abort" || std::fs::File::create_new(what).is_ok() {
            std::process::abort();
        }
    }
}
