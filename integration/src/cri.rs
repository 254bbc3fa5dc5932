//! A CRI client as the kubelet is one, with every call bounded.
//!
//! Blocking, see [`crate::runtime`]; a clone may be used from another thread, as for a pull that is meant to wait.
//! A failed call's [`tonic::Status`] is found with `error.downcast_ref::<tonic::Status>()`.

mod pods;

use std::{future::Future, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use peel_proto::{
    at_socket,
    runtime::v1::{
        AuthConfig, FilesystemUsage, Image, ImageFsInfoRequest, ImageSpec, ImageStatusRequest,
        ListImagesRequest, PullImageRequest, RemoveImageRequest, VersionRequest,
        image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
    },
};
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Code, Request, Response, Status, transport::Channel};

pub(crate) use self::pods::unique;
pub use self::pods::{ContainerSpec, ContainerState, Exec, Pod, PodIds, PodSpec};
use crate::runtime::{block_on, runtime};

/// The kubelet's `runtimeRequestTimeout`: what a call that is not a pull may take.
pub const CALL_LIMIT: Duration = Duration::from_secs(120);

/// A pull may take longer; the kubelet gives it no deadline at all, a test must.
pub const PULL_LIMIT: Duration = Duration::from_secs(300);

/// A connection to containerd's CRI plugin.
#[derive(Debug, Clone)]
pub struct Cri {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct Pull {
    /// Credentials as the kubelet passes them.
    pub auth: Option<AuthConfig>,
    /// The client's deadline, [`PULL_LIMIT`] without one. At its end the call is cancelled.
    pub limit: Option<Duration>,
}

impl Pull {
    /// With a user's name and password.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        let auth = AuthConfig { username: user.into(), password: password.into(), ..AuthConfig::default() };
        Self { auth: Some(auth), limit: None }
    }

    /// With a deadline.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self { auth: None, limit: Some(limit) }
    }
}

impl Cri {
    /// A client of the socket. It connects at the first call, and again after a restart.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(socket: &Path) -> Result<Self> {
        let channel = block_on(async { at_socket(socket).connect_lazy() })?;
        Ok(Self {
            runtime: RuntimeServiceClient::new(channel.clone()),
            images: ImageServiceClient::new(channel),
        })
    }

    /// Whether the CRI services answer: they come after containerd's own.
    ///
    /// # Errors
    /// When they do not.
    pub fn version(&self) -> Result<String> {
        let mut client = self.runtime.clone();
        let limit = Duration::from_secs(5);
        Ok(call("Version", limit, VersionRequest::default(), |r| client.version(r))?.runtime_version)
    }

    /// Pulls an image; gives its id.
    ///
    /// # Errors
    /// As containerd says.
    pub fn pull(&self, image: &str) -> Result<String> {
        self.pull_with(image, Pull::default())
    }

    /// Pulls with credentials or a deadline.
    ///
    /// # Errors
    /// As containerd says, or after the deadline.
    pub fn pull_with(&self, image: &str, pull: Pull) -> Result<String> {
        self.start_pull(image, pull)?.wait()
    }

    /// Begins a pull, and does not wait for it.
    ///
    /// # Errors
    /// When the harness's runtime cannot be started.
    pub fn start_pull(&self, image: &str, pull: Pull) -> Result<PendingPull> {
        let (mut client, image) = (self.images.clone(), image.to_owned());
        let request = PullImageRequest { image: Some(spec(&image)), auth: pull.auth, sandbox_config: None };
        let limit = pull.limit.unwrap_or(PULL_LIMIT);
        let task = runtime()?.spawn(async move {
            let answer = ask("PullImage", limit, request, |r| client.pull_image(r)).await;
            Ok(answer.with_context(|| format!("pulling {image}"))?.image_ref)
        });
        Ok(PendingPull { task })
    }

    /// All images that CRI lists.
    ///
    /// # Errors
    /// As containerd says.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut client = self.images.clone();
        Ok(call("ListImages", CALL_LIMIT, ListImagesRequest::default(), |r| client.list_images(r))?.images)
    }

    /// One image, by reference or id; `None` when it is not there.
    ///
    /// # Errors
    /// As containerd says.
    pub fn image(&self, image: &str) -> Result<Option<Image>> {
        let mut client = self.images.clone();
        let request = ImageStatusRequest { image: Some(spec(image)), verbose: false };
        Ok(call("ImageStatus", CALL_LIMIT, request, |r| client.image_status(r))?.image)
    }

    /// Removes an image; containerd collects its garbage before it answers.
    ///
    /// # Errors
    /// As containerd says.
    pub fn remove_image(&self, image: &str) -> Result<()> {
        let mut client = self.images.clone();
        let request = RemoveImageRequest { image: Some(spec(image)) };
        call("RemoveImage", CALL_LIMIT, request, |r| client.remove_image(r)).map(drop)
    }

    /// The image filesystems, default snapshotter first.
    ///
    /// # Errors
    /// As containerd says.
    pub fn image_fs_info(&self) -> Result<Vec<FilesystemUsage>> {
        let mut client = self.images.clone();
        let request = ImageFsInfoRequest::default();
        Ok(call("ImageFsInfo", CALL_LIMIT, request, |r| client.image_fs_info(r))?.image_filesystems)
    }
}

/// A pull under way. Dropping it cancels the call, as a kubelet does that ends.
#[derive(Debug)]
pub struct PendingPull {
    task: JoinHandle<Result<String>>,
}

impl PendingPull {
    /// Whether containerd has answered.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the answer; gives the image's id.
    ///
    /// # Errors
    /// As containerd says, or after the deadline.
    pub fn wait(mut self) -> Result<String> {
        block_on(&mut self.task)?.context("the pull's task")?
    }

    /// Cancels the call.
    pub fn cancel(self) {}
}

impl Drop for PendingPull {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The code of a failed call; `None` for an error that is no answer of a service.
#[must_use]
pub fn code(error: &anyhow::Error) -> Option<Code> {
    error.downcast_ref::<Status>().map(Status::code)
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec { image: image.into(), ..ImageSpec::default() }
}

/// [`ask`], waited for.
fn call<Q, A, F>(
    name: &'static str,
    limit: Duration,
    message: Q,
    send: impl FnOnce(Request<Q>) -> F,
) -> Result<A>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    block_on(ask(name, limit, message, send))?
}

/// One call with a deadline, which the server is told too; the margin lets the server's own answer come first.
async fn ask<Q, A, F>(
    name: &'static str,
    limit: Duration,
    message: Q,
    send: impl FnOnce(Request<Q>) -> F,
) -> Result<A>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    const MARGIN: Duration = Duration::from_secs(5);
    let mut request = Request::new(message);
    request.set_timeout(limit);
    let answer = timeout(limit + MARGIN, send(request)).await;
    let answer = answer.map_err(|_| Status::deadline_exceeded(format!("no answer within {limit:?}")));
    Ok(answer.and_then(|answer| answer).with_context(|| format!("CRI {name}"))?.into_inner())
}
