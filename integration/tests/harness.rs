//! The harness itself: three containerds that run pods on overlayfs, and a proxy that does what it says.
//!
//! ```text
//! cargo test -p peel-integration --test harness    # as root, on Debian 12
//! ```
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use peel_integration::{
    containerd::Version,
    cri::{self, Pull},
    images::small_app::small_app_image,
    node::{Images, Node, Snapshotter},
    proxy::{Fault, Match, Proxy, Shape},
    wait,
};
use tonic::Code;

const APP: &str = "peel/app:1";

fn node(version: Version) -> Result<Node> {
    let images = Images::start()?;
    images.push_image(&small_app_image("plain")?, APP)?;
    Node::builder(version).snapshotter(Snapshotter::Overlayfs).images(&images).start()
}

fn pod_on_overlayfs(version: Version) -> Result<()> {
    let started = Instant::now();
    let mut node = node(version)?;
    let exact = node.containerd().exact_version()?;
    let up = started.elapsed();
    let image = node.image(APP);
    ensure!(!node.cri().pull(&image)?.is_empty());
    ensure!(node.cri().image(&image)?.is_some());
    ensure!(node.proxy().requests_of(&Match::blobs()).len() == 4, "a config and three layers");
    let container = node.start_container(&image, &["sleep", "1000"])?;
    let exec = node.exec(&container, &["sh", "-c", "echo hello; exit 3"])?;
    ensure!(exec.text() == "hello" && exec.exit_code == 3, "{exec:?}");
    ensure!(container.rootfs.join("bin/busybox").exists(), "{:?}", container.rootfs);
    node.restart_containerd()?;
    ensure!(node.cri().container(&container.id)?.is_running());
    node.remove(&container)?;
    node.cri().remove_image(&image)?;
    ensure!(node.cri().image(&image)?.is_none());
    ensure!(!node.cri().image_fs_info()?.is_empty());
    // Left running on purpose: the node's end must take it along.
    node.cri().pull(&image)?;
    let left = node.start_container(&image, &["sleep", "1000"])?;
    let (dir, done) = (node.dir().path().to_owned(), started.elapsed());
    drop(node);
    let pid = format!("/proc/{}/stat", left.pid);
    wait::until_true("the container to end", Duration::from_secs(30), || {
        !std::path::Path::new(&pid).exists()
    })?;
    ensure!(!dir.exists(), "{dir:?} is still there");
    eprintln!("{exact}: up {up:.1?}, all steps {done:.1?}, gone {:.1?}", started.elapsed());
    Ok(())
}

#[test]
fn debian_12_runs_a_pod() -> Result<()> {
    pod_on_overlayfs(Version::Debian12)
}

#[test]
fn trixie_runs_a_pod() -> Result<()> {
    pod_on_overlayfs(Version::Trixie)
}

#[test]
fn sid_runs_a_pod() -> Result<()> {
    pod_on_overlayfs(Version::Sid)
}

/// `ctr`'s own pull, which is the transfer service's on 2.x.
#[test]
fn ctr_pulls_on_sid() -> Result<()> {
    let node = node(Version::Sid)?;
    node.ctr(&["image", "pull", "--plain-http", &node.image(APP)])?;
    ensure!(node.ctr(&["image", "ls"])?.contains(APP));
    Ok(())
}

#[test]
fn a_held_pull_waits_and_a_refused_one_fails() -> Result<()> {
    let node = node(Version::Debian12)?;
    let image = node.image(APP);
    let hold = node.proxy().hold(Match::blobs());
    thread::scope(|scope| -> Result<()> {
        let pull = scope.spawn(|| node.cri().pull(&image));
        hold.wait_for(1, Duration::from_secs(60))?;
        ensure!(node.cri().image(&image)?.is_none());
        hold.release();
        pull.join().unwrap().map(drop)
    })?;
    node.cri().remove_image(&image)?;

    node.proxy().require_basic("somebody", "secret");
    ensure!(node.cri().pull(&image).is_err());
    node.cri().pull_with(&image, Pull::basic("somebody", "secret"))?;
    node.cri().remove_image(&image)?;

    let _hold = node.proxy().hold(Match::all());
    let pull = Pull { limit: Some(Duration::from_millis(300)), ..Pull::basic("somebody", "secret") };
    let error = node.cri().pull_with(&image, pull).unwrap_err();
    ensure!(matches!(cri::code(&error), Some(Code::DeadlineExceeded | Code::Cancelled)), "{error:#}");
    Ok(())
}

/// What a client gets for a request written by hand: head and body, until the connection closes.
fn get(proxy: SocketAddr, path: &str, headers: &str) -> Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {proxy}\r\nConnection: close\r\n{headers}\r\n")?;
    let mut answer = Vec::new();
    // A cut body ends with a reset or an end of file, as the kernel likes.
    let _ = stream.read_to_end(&mut answer);
    let end =
        answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |place| place + 4);
    Ok((String::from_utf8_lossy(&answer[..end]).into_owned(), answer.split_off(end)))
}

/// The path of the layer with 8 MiB of data.
fn layer_path(images: &Images) -> Result<String> {
    images.push_image(&small_app_image("plain")?, APP)?;
    let (name, tag) = APP.split_once(':').unwrap();
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json\r\n";
    let (_, manifest) = get(images.address(), &format!("/v2/{name}/manifests/{tag}"), accept)?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
    Ok(format!("/v2/{name}/blobs/{}", manifest["layers"][1]["digest"].as_str().unwrap()))
}

#[test]
fn the_proxy_injects_faults_and_keeps_a_log() -> Result<()> {
    let images: Arc<Images> = Images::start()?;
    let proxy = Proxy::start(images.address())?;
    let path = layer_path(&images)?;
    let digest = path.rsplit('/').next().unwrap().to_owned();
    let (_, whole) = get(images.address(), &path, "")?;
    let ask = |headers: &str| get(proxy.address(), &path, headers);

    let (head, part) = ask("Range: bytes=1000-1999\r\n")?;
    ensure!(head.starts_with("HTTP/1.1 206") && part == whole[1000..2000], "{head}");
    let record = proxy.requests().pop().unwrap();
    ensure!(record.request.range == Some(1000..2000) && record.status == 206 && record.bytes == 1000);

    {
        let _fault = proxy.inject(Match::blob(&digest), Fault::Corrupt(1500));
        let (_, part) = ask("Range: bytes=1000-1999\r\n")?;
        ensure!(
            part[500] == !whole[1500] && part[..500] == whole[1000..1500] && part[501..] == whole[1501..2000]
        );
        let (_, part) = ask("Range: bytes=2000-2999\r\n")?;
        ensure!(part == whole[2000..3000]);
    }
    {
        let fault = proxy.inject_times(Match::blobs(), Fault::status(429), 2);
        ensure!(ask("")?.0.starts_with("HTTP/1.1 429") && ask("")?.0.starts_with("HTTP/1.1 429"));
        ensure!(ask("")?.0.starts_with("HTTP/1.1 200") && fault.hits() == 2);
    }
    {
        let _fault = proxy.inject(Match::blobs(), Fault::CutAfter(100_000));
        let (head, part) = ask("")?;
        ensure!(head.starts_with("HTTP/1.1 200") && part.len() <= 100_000, "{} bytes", part.len());
    }
    {
        let _fault = proxy.inject(Match::blobs(), Fault::IgnoreRange);
        let (head, part) = ask("Range: bytes=1000-1999\r\n")?;
        ensure!(head.starts_with("HTTP/1.1 200") && part == whole);
    }
    {
        let _fault = proxy.inject(Match::blobs(), Fault::Disconnect);
        ensure!(ask("")?.0.is_empty());
    }
    proxy.require_basic("somebody", "secret");
    ensure!(ask("")?.0.starts_with("HTTP/1.1 401"));
    ensure!(ask("Authorization: Basic c29tZWJvZHk6c2VjcmV0\r\n")?.1 == whole);
    Ok(())
}

/// A lower bound only: how long it takes is the machine's affair, that it cannot be faster is the proxy's.
#[test]
fn connections_share_the_link() -> Result<()> {
    let images = Images::start()?;
    let proxy = Proxy::start(images.address())?;
    let path = layer_path(&images)?;
    let bytes = get(images.address(), &path, "")?.1.len();
    let rate = u64::try_from(bytes)? * 4;
    proxy.set_shape(Shape { first_byte: Duration::from_millis(50), bytes_per_second: Some(rate) });
    let started = Instant::now();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| get(proxy.address(), &path, ""))).collect();
        for reader in readers {
            assert_eq!(reader.join().unwrap().unwrap().1.len(), bytes);
        }
    });
    // Four times a quarter of a second, in parallel: still a second.
    ensure!(started.elapsed() >= Duration::from_millis(1000), "{:?}", started.elapsed());
    ensure!(proxy.bytes_of(&Match::blobs()) == u64::try_from(bytes)? * 4);
    Ok(())
}
