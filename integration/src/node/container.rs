//! A container that runs on a node.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::Node;
use crate::{
    cri::{ContainerSpec, Exec, Pod},
    wait,
};

/// Longest run of a command that ends by itself.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// A running container in a pod of its own.
#[derive(Debug)]
pub struct Container {
    /// CRI's id.
    pub id: String,
    /// Its pod.
    pub pod: Pod,
    /// Its first process, in the host's numbering.
    pub pid: u32,
    /// Its root filesystem as the host sees it: the overlay mount in its bundle.
    pub rootfs: PathBuf,
}

impl Node {
    /// Starts `command` of a pulled image in a new pod; it has to be one that runs on.
    ///
    /// # Errors
    /// As containerd says.
    pub fn start_container(&self, image: &str, command: &[&str]) -> Result<Container> {
        self.start(&ContainerSpec::new(image, command))
    }

    /// Runs a command of a pulled image in a new pod, to its end, which has to be a good one. (One that may have ended
    /// already is nothing for [`start_container`](Self::start_container), which gives its process.)
    ///
    /// # Errors
    /// As containerd says, or when the command fails.
    pub fn run_to_end(&self, image: &str, command: &[&str]) -> Result<()> {
        let pod = self.run_pod()?;
        let id = self.cri.create_container(&pod, &ContainerSpec::new(image, command))?;
        self.cri.start_container(&id)?;
        let ended = wait::until("the command to end", RUN_LIMIT, || {
            let state = self.cri.container(&id)?;
            Ok(state.has_ended().then_some(state.status))
        })?;
        ensure!(ended.exit_code == 0, "{command:?}: {ended:?}");
        self.cri.remove_container(&id)?;
        self.cri.remove_pod(&pod.id)
    }

    /// Starts a container in a new pod; it has to be one that runs on.
    ///
    /// # Errors
    /// As containerd says.
    pub fn start(&self, spec: &ContainerSpec) -> Result<Container> {
        let pod = self.run_pod()?;
        let id = self.cri.create_container(&pod, spec)?;
        self.cri.start_container(&id)?;
        let state = self.cri.container(&id)?;
        let pid = state.pid.with_context(|| format!("container {id} is not running: {:?}", state.status))?;
        Ok(Container { rootfs: self.containerd.bundle(&id).join("rootfs"), id, pod, pid })
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// As containerd says; a command that fails is not an error.
    pub fn exec(&self, container: &Container, command: &[&str]) -> Result<Exec> {
        self.cri.exec(&container.id, command)
    }

    /// Stops and removes a container and its pod.
    ///
    /// # Errors
    /// As containerd says.
    pub fn remove(&self, container: &Container) -> Result<()> {
        self.cri.stop_container(&container.id, Duration::ZERO)?;
        self.cri.remove_container(&container.id)?;
        self.cri.remove_pod(&container.pod.id)
    }
}
