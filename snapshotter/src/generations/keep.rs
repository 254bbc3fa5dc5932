//! Devices go to the holder and come back.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
};

use anyhow::Context as _;
use peel_fusefs::{Connection, Handshake, Marks, is_alive};
use tokio::sync::mpsc;

use super::{Generation, Resumed, Serving, path, record::Record};

/// A generation's device has this name, and its number.
const NAME: &str = "fuse-";
/// The memory of [`Marks`] has this one.
const MARKS: &str = "marks";

fn name(generation: Generation) -> String {
    format!("{NAME}{generation}")
}

impl Serving {
    /// Has the holder keep a device. Without it the daemon serves all the same, but its death is the connection's.
    pub(super) fn keep(&self, generation: Generation, device: &OwnedFd) {
        let Some(holder) = &self.holder else { return };
        if let Err(error) = holder.store(&name(generation), device.as_fd()) {
            tracing::error!(
                %error,
                socket = %holder.socket().display(),
                "the holder does not keep the FUSE connection: should this daemon end, containers fail to read"
            );
        }
    }

    /// Has the holder keep what it does not have: it was started anew.
    pub(super) fn keep_again<'fd>(&self, living: impl Iterator<Item = (Generation, BorrowedFd<'fd>)>) {
        let Some(holder) = &self.holder else { return };
        let Ok(names) = holder.names() else { return };
        let devices = living.map(|(generation, device)| (name(generation), device));
        let marks = self.config.marks.iter().map(|marks| (MARKS.to_owned(), marks.memory()));
        for (name, descriptor) in devices.chain(marks).filter(|(name, _)| !names.contains(name)) {
            match holder.store(&name, descriptor) {
                Ok(()) => tracing::warn!(name, "the holder had lost this and has it again"),
                Err(error) => tracing::warn!(name, %error, "the holder does not keep this"),
            }
        }
    }

    /// The connection is dead: nobody needs its device or its record.
    pub(super) fn give_up(&self, generation: Generation) {
        if let Some(holder) = &self.holder
            && let Err(error) = holder.remove(&name(generation))
        {
            tracing::warn!(%generation, %error, "the holder keeps a dead FUSE connection");
        }
        if let Err(error) = generation.forget(&self.metastore) {
            tracing::warn!(%generation, %error, "the record of a dead FUSE connection stays");
        }
    }

    pub(super) fn forget_records(&self, living: &[Generation]) -> anyhow::Result<()> {
        Ok(Generation::keep_only(living, &self.metastore)?)
    }

    /// What the holder kept.
    pub(super) fn kept(&self) -> Vec<(String, OwnedFd)> {
        let Some(holder) = &self.holder else { return Vec::new() };
        holder.get().unwrap_or_else(|error| {
            let socket = holder.socket().display();
            tracing::error!(%error, %socket, "no holder: containers of an earlier daemon fail to read");
            Vec::new()
        })
    }

    /// Where session threads mark what they execute: in the predecessor's memory, to learn what it died of. Without a
    /// holder nothing is sent again to a successor, so nothing can be its death, either.
    pub(super) fn marks(&self, kept: &mut Vec<(String, OwnedFd)>) -> Option<Marks> {
        let holder = self.holder.as_ref()?;
        let begun = match kept.iter().position(|(name, _)| name == MARKS) {
            Some(place) => Marks::begin(kept.swap_remove(place).1),
            None => Marks::new_memory().and_then(|memory| {
                holder.store(MARKS, memory.as_fd())?;
                Marks::begin(memory)
            }),
        };
        begun
            .inspect_err(|error| {
                tracing::warn!(%error, "a request that is this daemon's death will not be known by it");
            })
            .ok()
    }

    /// Serves all that the holder kept and that is alive. The newest that is what is wanted now is the current one;
    /// the others are taken out of sight, and end with their last overlays.
    ///
    /// # Errors
    /// One is alive and cannot be served by this version. It stays with the holder: who waits for it goes on once
    /// the other version is back.
    pub(super) fn resume_kept(
        &self,
        kept: Vec<(String, OwnedFd)>,
        ended: &mpsc::UnboundedSender<Generation>,
    ) -> anyhow::Result<Resumed> {
        let mut living = BTreeMap::new();
        for (name, device) in kept {
            let Some(generation) = name.strip_prefix(NAME).and_then(|number| number.parse().ok()) else {
                continue;
            };
            if let Some(record) = self.recorded(generation, &device)? {
                living.insert(generation, (device, record));
            }
        }
        path::retire_all_but(&self.root, &living.keys().copied().collect::<Vec<_>>());
        let mut handshakes = BTreeMap::new();
        for (generation, (device, record)) in living {
            let second = device.try_clone()?;
            match Handshake::resume(device, &record.init, Arc::clone(&self.source), &self.config) {
                Ok(handshake) => drop(handshakes.insert(generation, (handshake, second))),
                Err(error) if is_alive(second.as_fd()) => {
                    return Err(error).with_context(|| cannot_resume(generation));
                }
                Err(error) => self.bury(generation, &error.to_string()),
            }
        }
        let fits = |handshake: &Handshake| handshake.init_parameters().fits(&self.config);
        let fitting = handshakes.iter().rev().find(|(_, (handshake, _))| fits(handshake));
        let current = fitting.map(|(generation, _)| *generation);
        // From here on nothing fails any more for a reason of one generation: what is served is not given back.
        let mut servers = BTreeMap::new();
        for (generation, (handshake, device)) in handshakes {
            if current == Some(generation) {
                self.attach_again(generation, device.as_fd());
            } else {
                tracing::info!(%generation, "not what is configured now: it ends with its last container");
                path::retire(&self.root, generation);
            }
            let mount_point = path::mount_point(&self.root, generation);
            servers.insert(generation, self.serve(generation, &mount_point, handshake, ended)?);
            tracing::info!(%generation, "FUSE connection resumed");
        }
        Ok(Resumed { current, servers })
    }

    /// What is known of a connection that the holder kept; nothing if nobody needs it any more.
    fn recorded(&self, generation: Generation, device: &OwnedFd) -> anyhow::Result<Option<Record>> {
        let why = if is_alive(device.as_fd()) {
            match generation.load(&self.metastore).with_context(|| cannot_resume(generation))? {
                Some(record) => return Ok(Some(record)),
                None => "nobody was told of it",
            }
        } else {
            "it is dead"
        };
        self.bury(generation, why);
        Ok(None)
    }

    fn bury(&self, generation: Generation, why: &str) {
        tracing::error!(%generation, why, "FUSE connection is given up");
        path::retire(&self.root, generation);
        self.give_up(generation);
    }

    /// Mounts the connection at its path if it is not there. As long as anything uses it, it is the same one then.
    pub(super) fn attach_again(&self, generation: Generation, device: BorrowedFd<'_>) {
        let mount_point = path::mount_point(&self.root, generation);
        let expected = generation.load(&self.metastore).ok().flatten().map(|record| record.number);
        let found = Connection::at(&mount_point).ok().map(Connection::number);
        if found.is_some() && found == expected {
            return;
        }
        let attached =
            std::fs::create_dir_all(&mount_point).and_then(|()| peel_fusefs::attach(device, &mount_point));
        match attached {
            Ok(()) => {
                tracing::warn!(path = %mount_point.display(), "FUSE was unmounted by somebody, and is mounted again")
            }
            // Nothing used it, so it died with its mount; the session's end says so, too.
            Err(error) => {
                tracing::error!(path = %mount_point.display(), %error, "FUSE cannot be mounted again")
            }
        }
    }
}

/// What an operator can do about a connection that is alive and not understood.
fn cannot_resume(generation: Generation) -> String {
    format!(
        "FUSE connection {generation} of an earlier daemon cannot be resumed by this version ({}). It stays with the \
         holder, and its containers wait: start the version again that served it, or remove them and reset \
         (`peel reset`)",
        env!("CARGO_PKG_VERSION")
    )
}
