//! What an operator sees: `peel stats`, the metrics, what both say when no daemon runs, and `peel fsck`.
//!
//! ```text
//! cargo test -p peel-integration --test numbers    # as root, on Debian 12, with peel built
//! ```

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use peel_integration::{
    containerd::Version,
    node::{App, Images, Node},
    peel, process, wait,
};
use rustix::fs::{Advice, fadvise};
use serde_json::Value;

/// The daemon answers from memory.
const LIMIT: Duration = Duration::from_secs(60);

/// Status line and body of `GET path`.
fn get(address: SocketAddr, path: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

/// The value of the metric whose line begins with `name`.
fn metric(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name} in\n{text}"))?.parse()?)
}

/// Metrics and their fields in `peel stats`.
const SAME: [(&str, &str); 5] = [
    ("peel_cache_bytes", "cache_bytes"),
    ("peel_layers", "layers"),
    ("peel_oldest_access_seconds", "oldest_access"),
    ("peel_registry_requests_total", "fetch_requests"),
    ("peel_reads_failed_total", "failed_reads"),
];

/// The metrics and `peel stats`, when they say the same: which they do once read-ahead has come to its end.
fn numbers_at_rest(node: &mut Node, address: SocketAddr) -> Result<(String, Value)> {
    let mut last = None;
    let same = wait::until("both to say the same", LIMIT, || {
        let (status, text) = get(address, "/metrics")?;
        ensure!(status.ends_with("200 OK") && text.ends_with("# EOF\n"), "{status}\n{text}");
        let stats = node.peel()?.json("stats")?;
        let mut different = Vec::new();
        for (name, field) in SAME {
            let (is, shown) = (metric(&text, name)?, stats[field].as_u64());
            if shown != Some(is) {
                different.push(format!("{name} {is}, {field} {shown:?}"));
            }
        }
        let same = different.is_empty();
        last = Some(different);
        Ok(same.then_some((text, stats)))
    });
    same.with_context(|| format!("{last:?}"))
}

#[test]
fn stats_and_metrics_say_the_same() -> Result<()> {
    let images = Images::start()?;
    let app = App::push(&images, "numbers")?;
    // Free when it was looked for, and on an address on which nobody else here listens or dials.
    let address = TcpListener::bind("127.0.0.2:0")?.local_addr()?;
    let config = format!("metrics_address = \"{address}\"").parse()?;
    let mut node = Node::builder(Version::Debian12).images(&images).peel_config(config).start()?;
    let image = app.image(&node);
    node.cri().pull(&image)?;
    node.run_to_end(&image, &["cat", "/data/000"])?;

    let (text, stats) = numbers_at_rest(&mut node, address)?;
    ensure!(metric(&text, "peel_fetched_bytes_total{cause=\"demand\"}")? > 0, "{text}");
    ensure!(metric(&text, "peel_events_total{event=\"chunks_stored\"}")? > 0, "{text}");
    ensure!(stats["images"][0]["reference"] == image, "{stats}");
    ensure!(stats["images"][0]["present_bytes"] == stats["cache_bytes"], "{stats}");
    ensure!(stats["freed_by_cause"]["by-hand"] == 0, "{stats}");
    let shown = node.peel()?.command(&["stats"])?;
    ensure!(shown.contains(&image) && shown.contains("saved by sharing"), "{shown}");
    let (status, body) = get(address, "/healthz")?;
    ensure!(status.ends_with("200 OK") && body == "ok\n", "{status} {body}");

    node.peel()?.stop()?;
    for command in [["stats"], ["layers"]] {
        let error = node.peel()?.command(&command).err().context("it answered without a daemon")?;
        ensure!(format!("{error:#}").contains("is `peel serve` running?"), "{error:#}");
    }
    node.peel()?.start_again()
}

/// The file from Peel, not from the page cache.
fn read_anew(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content).with_context(|| format!("reading {}", path.display()))?;
    Ok(content)
}

/// Flips a bit of `content` in the cache below `root`.
fn flip(root: &Path, content: &[u8]) -> Result<()> {
    for layer in fs::read_dir(root.join("cache"))? {
        let path = layer?.path().join("data");
        let Ok(data) = fs::read(&path) else { continue };
        let start = &content[..64];
        if let Some(at) = data.windows(start.len()).position(|window| window == start) {
            let file = File::options().write(true).open(&path)?;
            return Ok(file.write_all_at(&[content[0] ^ 4], u64::try_from(at)?)?);
        }
    }
    anyhow::bail!("the file is not in the cache")
}

#[test]
fn fsck_finds_a_flipped_bit_and_repairs_it() -> Result<()> {
    let images = Images::start()?;
    let app = App::push(&images, "fsck")?;
    let mut node = Node::builder(Version::Debian12).images(&images).start()?;
    let image = app.image(&node);
    node.cri().pull(&image)?;
    let container = node.start_container(&image, &[])?;
    let file = container.rootfs.join("data/000");
    let content = read_anew(&file)?;
    let root = node.peel()?.root();
    let clean = node.peel()?.command(&["fsck"])?;
    ensure!(clean.contains(", 0 findings") && !clean.contains(" 0 chunks"), "{clean}");

    // Beside the daemon; `--root` finds out by itself that there is one.
    flip(&root, &content)?;
    let error = node.peel()?.command(&["fsck"]).err().context("the flipped bit was not found")?;
    let error = format!("{error:#}");
    ensure!(error.contains("1 chunks have not their digest") && error.contains(&image), "{error}");
    let root_argument = root.to_str().context("a path that is no text")?;
    let repaired = node.peel()?.command(&["fsck", "--repair", "--root", root_argument])?;
    ensure!(repaired.contains("repaired: "), "{repaired}");
    ensure!(node.peel()?.command(&["fsck"])?.contains(", 0 findings"));
    ensure!(read_anew(&file)? == content);

    let offline = |arguments: &[&str]| {
        let mut command = Command::new(peel::binary()?);
        command.args(["fsck", "--root", root_argument, "--control", "/nowhere"]).args(arguments);
        process::run(&mut command)
    };
    let error = offline(&[]).err().context("it checked under a running daemon")?;
    ensure!(format!("{error:#}").contains("none answers at /nowhere"), "{error:#}");

    node.remove(&container)?;
    node.peel()?.stop()?;
    flip(&root, &content)?;
    let error = offline(&["--json"]).err().context("the flipped bit was not found")?;
    let error = format!("{error:#}");
    ensure!(error.contains("\"kind\": \"chunks\"") && error.contains(&image), "{error}");
    let repaired = offline(&["--repair"])?;
    ensure!(repaired.contains("repaired: "), "{repaired}");
    ensure!(offline(&[])?.contains(", 0 findings"));
    node.peel()?.start_again()?;
    node.wait_for_peel()?;
    let container = node.start_container(&image, &[])?;
    ensure!(read_anew(&container.rootfs.join("data/000"))? == content);
    node.remove(&container)
}
