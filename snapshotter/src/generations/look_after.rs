//! Connections that end are replaced, and what somebody unmounted or a new holder lacks is put right.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{Generation, Generations, Inner, path};

/// How long somebody's umount of the path may go unnoticed: who is in goes on meanwhile.
const MEND: Duration = Duration::from_secs(3);
/// Before another attempt to begin a generation.
const PAUSE: Duration = Duration::from_millis(500);

/// Hears of connections that end.
#[derive(Debug)]
pub struct Ends(pub(super) mpsc::UnboundedReceiver<Generation>);

impl Generations {
    /// A connection ended. If it was the current one, the next begins, and `begun` is told of its mount point; true
    /// then. Blocks on the disk.
    ///
    /// # Errors
    /// The next one cannot be begun. It is tried again with the next call.
    fn replace(&self, generation: Generation, begun: impl Fn(&Path)) -> anyhow::Result<bool> {
        let Inner { serving, served, ended, lost } = &*self.0;
        let mut served = served.lock();
        if served.servers.remove(&generation).is_some() {
            path::retire(&serving.root, generation);
            serving.give_up(generation);
        }
        if served.current != generation || served.servers.contains_key(&generation) {
            tracing::info!(%generation, "FUSE connection ended: nothing used it any more");
            return Ok(false);
        }
        let (next, server) = serving.begin(ended)?;
        served.servers.insert(next, server);
        served.current = next;
        // Before anybody can see that there is a next one: who sees it finds new containers on it.
        begun(&path::mount_point(&serving.root, next));
        lost.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Mounts what somebody unmounted, and has the holder keep what a new holder does not know of. Blocks for this
    /// node only.
    pub fn mend(&self) {
        let served = self.0.served.lock();
        for (generation, server) in &served.servers {
            if *generation == served.current {
                self.0.serving.attach_again(*generation, server.device());
            }
        }
        let living = served.servers.iter().map(|(generation, server)| (*generation, server.device()));
        self.0.serving.keep_again(living);
    }

    /// Replaces the current connection whenever it ends, and tells `begun` of the new mount point. Looks every few
    /// seconds whether the mount is where it belongs. Never comes back.
    pub async fn look_after(self, mut ends: Ends, begun: impl Fn(&Path) + Send + Sync + 'static) {
        let begun = Arc::new(begun);
        loop {
            let ended = tokio::time::timeout(MEND, ends.0.recv()).await;
            let (this, begun) = (self.clone(), Arc::clone(&begun));
            let step = tokio::task::spawn_blocking(move || match ended {
                Err(_) | Ok(None) => {
                    this.mend();
                    Ok(())
                }
                Ok(Some(generation)) => {
                    let outcome = this.replace(generation, &*begun).inspect_err(|_| {
                        // Once more, later.
                        let _ = this.0.ended.send(generation);
                    });
                    if outcome? {
                        this.tell_of(generation);
                    }
                    Ok(())
                }
            });
            match step.await {
                Ok(Ok(())) => {}
                Ok(Err::<(), anyhow::Error>(error)) => {
                    tracing::error!("no FUSE connection for new containers: {error:#}");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => tracing::error!(%error, "looking after the FUSE connection failed"),
            }
        }
    }

    /// Says who is left on a connection that was in use.
    fn tell_of(&self, dead: Generation) {
        match self.stranded() {
            Ok(snapshots) if snapshots.is_empty() => {
                tracing::error!(%dead, "FUSE connection ended and was replaced")
            }
            Ok(snapshots) => tracing::error!(
                %dead,
                ?snapshots,
                "FUSE connection ended and was replaced; containers on it lose what is not in the page cache"
            ),
            Err(error) => {
                tracing::error!(%dead, %error, "FUSE connection ended; its containers cannot be listed")
            }
        }
    }
}
