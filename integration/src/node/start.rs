//! One start of the application, timed from the pull to its first answer.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::Node;
use crate::{cri::ContainerSpec, proxy::Match, wait};

/// An application that has not answered by then never will.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long one attempt may take; a server that accepts and is silent must not hold the measurement up.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);

/// What one start took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Start {
    /// Seconds of CRI's PullImage.
    pub pull_seconds: f64,
    /// Seconds from the beginning of the pull to the first HTTP answer.
    pub ready_seconds: f64,
    /// Bytes that the registry had sent until then, manifest and config included.
    pub fetched_bytes: u64,
}

impl Node {
    /// Pulls `image`, which answers HTTP on `$PORT`, as the kubelet does it, runs it and waits for its answer; the
    /// container is gone afterwards.
    ///
    /// The pod's sandbox is made before the clock starts: the kubelet too has it before it pulls, and it comes from
    /// another image.
    ///
    /// # Errors
    /// As containerd says, or when there is no answer in two minutes.
    pub fn pull_and_start(&self, image: &str) -> Result<Start> {
        measure(self, image)
    }
}

fn measure(node: &Node, image: &str) -> Result<Start> {
    let address = free_address()?;
    let pod = node.run_pod()?;
    drop_page_cache()?;
    node.proxy().clear();
    let begin = Instant::now();
    node.cri().pull(image)?;
    let pull_seconds = begin.elapsed().as_secs_f64();
    let mut container = ContainerSpec::new(image, &[]);
    container.environment = vec![("PORT".into(), address.port().to_string())];
    let id = node.cri().create_container(&pod, &container)?;
    node.cri().start_container(&id)?;
    wait::until("the web application to answer", READY_LIMIT, || Ok(answers(address).then_some(())))?;
    let ready_seconds = begin.elapsed().as_secs_f64();
    let fetched_bytes = node.proxy().bytes_of(&Match::all());
    node.cri().stop_container(&id, Duration::ZERO)?;
    node.cri().remove_container(&id)?;
    node.cri().remove_pod(&pod.id)?;
    Ok(Start { pull_seconds, ready_seconds, fetched_bytes })
}

/// Whether an HTTP request is answered with 200.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, ATTEMPT_LIMIT)?;
        stream.set_read_timeout(Some(ATTEMPT_LIMIT))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer.split_whitespace().nth(1) == Some("200"))
    };
    // Refused until it listens: that is what is waited for.
    ask().unwrap_or(false)
}

/// A loopback port that nobody uses now: pods are in the host's network.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Empties the machine's page cache, so that no start profits from what the one before has read.
fn drop_page_cache() -> Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the page cache")
}
