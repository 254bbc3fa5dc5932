//! Pods and containers.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use peel_proto::runtime::v1::{
    ContainerConfig, ContainerMetadata, ContainerState as ProtoState, ContainerStats, ContainerStatsRequest,
    ContainerStatus, ContainerStatusRequest, CreateContainerRequest, ExecSyncRequest, IdMapping, KeyValue,
    LinuxContainerConfig, LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext,
    Mount, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, RemoveContainerRequest,
    RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StopContainerRequest,
    StopPodSandboxRequest, UserNamespace,
};
use serde_json::Value;

use super::{CALL_LIMIT, Cri, call, spec};
use crate::containerd::idmapping::HANDLER;

/// What a pod is made of.
#[derive(Debug, Clone, Default)]
pub struct PodSpec {
    /// Its name, unique among running pods.
    pub name: String,
    /// Where its processes are counted; see [`TestDir::cgroup`](crate::guard::TestDir::cgroup).
    pub cgroup_parent: String,
    /// Where its containers' logs go.
    pub log_directory: PathBuf,
    /// Annotations, which some versions pass on to the snapshotter.
    pub annotations: BTreeMap<String, String>,
    /// A user namespace of its own, on 2.x. Such a pod cannot use the host's network: the node needs a CNI plugin.
    pub ids: Option<PodIds>,
}

/// The ids of a pod's user namespace: its 0 is `host`, and so on for `length` users and groups.
#[derive(Debug, Clone, Copy)]
pub struct PodIds {
    /// First id outside.
    pub host: u32,
    /// How many.
    pub length: u32,
}

impl PodIds {
    fn options(self) -> UserNamespace {
        let ids = || vec![IdMapping { host_id: self.host, container_id: 0, length: self.length }];
        UserNamespace { mode: NamespaceMode::Pod.into(), uids: ids(), gids: ids() }
    }
}

/// What pod and container say of namespaces.
fn namespaces(ids: Option<PodIds>) -> NamespaceOption {
    let network = if ids.is_some() { NamespaceMode::Pod } else { NamespaceMode::Node };
    NamespaceOption {
        network: network.into(),
        userns_options: ids.map(PodIds::options),
        ..NamespaceOption::default()
    }
}

/// A sandbox that runs.
#[derive(Debug, Clone)]
pub struct Pod {
    /// CRI's id.
    pub id: String,
    config: PodSandboxConfig,
    ids: Option<PodIds>,
}

/// What a container is made of.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    /// The image, which must have been pulled.
    pub image: String,
    /// Replaces the image's entrypoint and command when not empty.
    pub command: Vec<String>,
    /// Environment besides the image's.
    pub environment: Vec<(String, String)>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// The log's file name in the pod's log directory; empty for none.
    pub log_path: String,
}

impl ContainerSpec {
    /// `command` in `image`.
    #[must_use]
    pub fn new(image: &str, command: &[&str]) -> Self {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Self { image: image.into(), command, ..Self::default() }
    }
}

/// A container's state as CRI reports it.
#[derive(Debug, Clone)]
pub struct ContainerState {
    /// CRI's report.
    pub status: ContainerStatus,
    /// Its first process, while it runs.
    pub pid: Option<u32>,
}

impl ContainerState {
    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status.state() == ProtoState::ContainerRunning
    }

    /// Whether its command has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.status.state() == ProtoState::ContainerExited
    }
}

/// What a command in a container printed.
#[derive(Debug, Clone)]
pub struct Exec {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit status.
    pub exit_code: i32,
}

impl Exec {
    /// Standard output as text, without the blank at its end.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl Cri {
    /// Starts a sandbox, in the host's network (no CNI is needed) unless it has a user namespace.
    ///
    /// # Errors
    /// As containerd says.
    pub fn run_pod(&self, pod: &PodSpec) -> Result<Pod> {
        let security = LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces(pod.ids)),
            ..LinuxSandboxSecurityContext::default()
        };
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: pod.name.clone(),
                uid: pod.name.clone(),
                namespace: "default".into(),
                attempt: 0,
            }),
            log_directory: pod.log_directory.display().to_string(),
            annotations: pod.annotations.clone(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: pod.cgroup_parent.clone(),
                security_context: Some(security),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        };
        let runtime_handler = pod.ids.map(|_| HANDLER.to_owned()).unwrap_or_default();
        let request = RunPodSandboxRequest { config: Some(config.clone()), runtime_handler };
        let mut client = self.runtime.clone();
        let id = call("RunPodSandbox", CALL_LIMIT, request, |r| client.run_pod_sandbox(r))?.pod_sandbox_id;
        Ok(Pod { id, config, ids: pod.ids })
    }

    /// Stops and removes a sandbox and its containers.
    ///
    /// # Errors
    /// As containerd says.
    pub fn remove_pod(&self, id: &str) -> Result<()> {
        let mut client = self.runtime.clone();
        let request = StopPodSandboxRequest { pod_sandbox_id: id.into() };
        call("StopPodSandbox", CALL_LIMIT, request, |r| client.stop_pod_sandbox(r))?;
        let mut client = self.runtime.clone();
        let request = RemovePodSandboxRequest { pod_sandbox_id: id.into() };
        call("RemovePodSandbox", CALL_LIMIT, request, |r| client.remove_pod_sandbox(r)).map(drop)
    }

    /// Creates a container; gives its id.
    ///
    /// # Errors
    /// As containerd says.
    pub fn create_container(&self, pod: &Pod, container: &ContainerSpec) -> Result<String> {
        let security = LinuxContainerSecurityContext {
            namespace_options: Some(NamespaceOption {
                pid: NamespaceMode::Container.into(),
                ..namespaces(pod.ids)
            }),
            ..LinuxContainerSecurityContext::default()
        };
        let config = ContainerConfig {
            // The image's name would do for one container; a second one in the pod needs another.
            metadata: Some(ContainerMetadata { name: unique("c"), attempt: 0 }),
            image: Some(spec(&container.image)),
            command: container.command.clone(),
            envs: container
                .environment
                .iter()
                .map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() })
                .collect(),
            mounts: container.mounts.clone(),
            log_path: container.log_path.clone(),
            linux: Some(LinuxContainerConfig { security_context: Some(security), ..Default::default() }),
            ..ContainerConfig::default()
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        let mut client = self.runtime.clone();
        Ok(call("CreateContainer", CALL_LIMIT, request, |r| client.create_container(r))?.container_id)
    }

    /// Starts a created container.
    ///
    /// # Errors
    /// As containerd says.
    pub fn start_container(&self, id: &str) -> Result<()> {
        let mut client = self.runtime.clone();
        let request = StartContainerRequest { container_id: id.into() };
        call("StartContainer", CALL_LIMIT, request, |r| client.start_container(r)).map(drop)
    }

    /// Stops a container: its stop signal, and after `grace` SIGKILL.
    ///
    /// # Errors
    /// As containerd says.
    pub fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        let timeout = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        let request = StopContainerRequest { container_id: id.into(), timeout };
        let mut client = self.runtime.clone();
        call("StopContainer", CALL_LIMIT + grace, request, |r| client.stop_container(r)).map(drop)
    }

    /// Removes a container, running or not.
    ///
    /// # Errors
    /// As containerd says.
    pub fn remove_container(&self, id: &str) -> Result<()> {
        let mut client = self.runtime.clone();
        let request = RemoveContainerRequest { container_id: id.into() };
        call("RemoveContainer", CALL_LIMIT, request, |r| client.remove_container(r)).map(drop)
    }

    /// A container's state.
    ///
    /// # Errors
    /// As containerd says.
    pub fn container(&self, id: &str) -> Result<ContainerState> {
        let mut client = self.runtime.clone();
        let request = ContainerStatusRequest { container_id: id.into(), verbose: true };
        let answer = call("ContainerStatus", CALL_LIMIT, request, |r| client.container_status(r))?;
        // The verbose answer is containerd's own JSON, the same in all versions as far as the pid goes.
        let info = answer.info.get("info").and_then(|text| serde_json::from_str::<Value>(text).ok());
        let pid = info.and_then(|info| info.get("pid")?.as_u64()).and_then(|pid| u32::try_from(pid).ok());
        let status = answer.status.context("CRI ContainerStatus without a status")?;
        Ok(ContainerState { status, pid: pid.filter(|pid| *pid > 0) })
    }

    /// Runs a command in a container to its end.
    ///
    /// # Errors
    /// As containerd says; a command that fails is not an error.
    pub fn exec(&self, id: &str, command: &[&str]) -> Result<Exec> {
        let mut client = self.runtime.clone();
        let limit = CALL_LIMIT / 2;
        let request = ExecSyncRequest {
            container_id: id.into(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            timeout: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        };
        let answer = call("ExecSync", limit, request, |r| client.exec_sync(r))?;
        Ok(Exec { stdout: answer.stdout, stderr: answer.stderr, exit_code: answer.exit_code })
    }

    /// What a container uses; the writable layer is in it.
    ///
    /// # Errors
    /// As containerd says.
    pub fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        let mut client = self.runtime.clone();
        let request = ContainerStatsRequest { container_id: id.into() };
        let answer = call("ContainerStats", CALL_LIMIT, request, |r| client.container_stats(r))?;
        answer.stats.context("CRI ContainerStats without stats")
    }
}

/// A name that this process has not used yet.
pub(crate) fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
