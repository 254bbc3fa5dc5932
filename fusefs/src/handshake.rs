//! The start of a connection's service: the first, or one after another process's.

use std::{
    fmt, io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::{Arc, OnceLock},
};

use fuser::SessionACL;
use peel_layer::serve::LayerSource;

use crate::{
    Config, Counters, InitParameters, Server, drain::Drain, forest::Forest, hand_over, server,
    session::Session, sys,
};

/// A connection on which all is agreed and nothing served yet. Between the two lies what must not be lost: a
/// successor needs [`Self::init_parameters`], so they are to be durable before [`Self::serve`].
pub struct Handshake {
    session: fuser::Session<Session>,
    device: OwnedFd,
    counters: Arc<Counters>,
    drain: Arc<Drain>,
    init: InitParameters,
    config: Config,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("init", &self.init).finish_non_exhaustive()
    }
}

impl Handshake {
    /// Shakes hands with the kernel over the new connection of `device`.
    ///
    /// # Errors
    /// When that fails, or `config` asks for what cannot be.
    pub fn first(device: OwnedFd, source: Arc<dyn LayerSource>, config: &Config) -> io::Result<Self> {
        let started = Started::new(device.try_clone()?, source, config, None)?;
        started.on(device, config)
    }

    /// Takes over the connection of `device` from a process that is dead, with whom the kernel agreed on `init`. What
    /// that process read and did not answer is sent again. Of `config` counts what is not in `init`.
    ///
    /// # Errors
    /// When `init` is not what a handshake gave, or the connection is gone.
    pub fn resume(
        device: OwnedFd,
        init: &InitParameters,
        source: Arc<dyn LayerSource>,
        config: &Config,
    ) -> io::Result<Self> {
        let (socket, other) = hand_over::rehearsal(init)?;
        let started = Started::new(socket, source, config, Some(*init))?;
        hand_over::discard_reply(&other)?;
        let handshake = started.on(device, config)?;
        if handshake.resends() {
            hand_over::resend(handshake.device.as_fd())?;
        }
        Ok(handshake)
    }

    /// What was agreed with the kernel.
    #[must_use]
    pub fn init_parameters(&self) -> &InitParameters {
        &self.init
    }

    /// Starts to serve; `mount_point` is where the connection is mounted. `ended` is called from the serving thread
    /// once the connection has ended.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn serve(
        self,
        mount_point: &Path,
        ended: impl FnOnce(&io::Result<()>) + Send + 'static,
    ) -> io::Result<Server> {
        server::raise_read_ahead(mount_point, &self.config);
        let coming_to_rest = (!self.resends()).then_some((self.drain, self.config.threads));
        let Self { session, device, counters, init, .. } = self;
        Server::spawn((device, counters, init), coming_to_rest, move || session.run(), ended)
    }

    /// Whether the kernel sends again what a dead process did not answer.
    fn resends(&self) -> bool {
        self.init.resends() && !self.config.assume_no_resend
    }
}

/// A session of the FUSE crate after its handshake, whoever that was with.
struct Started {
    session: fuser::Session<Session>,
    counters: Arc<Counters>,
    drain: Arc<Drain>,
    init: Arc<OnceLock<InitParameters>>,
}

impl Started {
    fn new(
        with: OwnedFd,
        source: Arc<dyn LayerSource>,
        config: &Config,
        recorded: Option<InitParameters>,
    ) -> io::Result<Self> {
        let counters = Arc::new(Counters::default());
        let session = Session::new(Forest::new(source), Arc::clone(&counters), config.clone(), recorded);
        let (init, drain) = (session.init_parameters(), session.drain());
        let mut options = fuser::Config::default();
        options.acl = SessionACL::All;
        options.n_threads = Some(config.threads.get());
        // All threads read one queue: see `hand_over` for what a second one is for.
        options.clone_fd = false;
        let session = fuser::Session::from_fd(session, with, SessionACL::All, options)?;
        Ok(Self { session, counters, drain, init })
    }

    /// Has the session go on with `device`.
    fn on(self, device: OwnedFd, config: &Config) -> io::Result<Handshake> {
        let Self { session, counters, drain, init } = self;
        let init = *init.get().ok_or_else(|| io::Error::other("handshake without INIT"))?;
        let handshake = Handshake { session, device, counters, drain, init, config: config.clone() };
        let number = handshake.session.as_fd();
        if handshake.resends() {
            sys::replace(number, handshake.device.as_fd())?;
        } else {
            sys::replace(number, sys::second_queue(handshake.device.as_fd())?.as_fd())?;
        }
        Ok(handshake)
    }
}
